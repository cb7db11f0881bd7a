"""Nearest class mean on embeddings of length 1 (Mensink et al. 2013; iCaRL's rule on all clips).

The mean of unit embeddings is not scaled to length 1 again. scikit-learn's NearestCentroid does
not either; iCaRL does.
"""

import numpy as np
from pydantic.dataclasses import dataclass

from mtcil.learning.probe import Array, Kept, Labels, add_rows, class_means, unit
from mtcil.settings.reader import STRICT


@dataclass(frozen=True, config=STRICT)
class Config:
    """This probe has no settings."""


def learn(
    kept: Kept, embeddings: Array, labels: Labels, config: Config, generator: np.random.Generator
) -> Kept:
    """Add one mean per new class."""
    return {"means": add_rows(kept, "means", class_means(unit(embeddings), labels))}


def predict(kept: Kept, embeddings: Array, config: Config) -> Labels:
    """Predict the class with the nearest mean."""
    gaps = unit(embeddings)[:, None] - kept["means"]
    return np.square(gaps).sum(axis=2).argmin(axis=1)
