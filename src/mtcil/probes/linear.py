"""Linear probe: logistic regression on all clips of all classes seen, refitted at each step.

This is an upper reference for linear classifiers and not incremental: it keeps every clip's
embedding, which its bytes include. Alain and Bengio: Understanding Intermediate Layers Using
Linear Classifier Probes (2016).
"""

import numpy as np
from pydantic.dataclasses import dataclass

from mtcil.learning.logistic import LogisticConfig, fit_logistic, largest_logit
from mtcil.learning.probe import Array, Kept, Labels, add_rows
from mtcil.settings.reader import STRICT


@dataclass(frozen=True, config=STRICT)
class Config(LogisticConfig):
    """Settings of this probe only."""


def learn(
    kept: Kept, embeddings: Array, labels: Labels, config: Config, generator: np.random.Generator
) -> Kept:
    """Fit to the new clips and all clips of earlier steps."""
    clips = {
        "embeddings": add_rows(kept, "embeddings", embeddings),
        "labels": add_rows(kept, "labels", labels),
    }
    return clips | fit_logistic(clips["embeddings"], clips["labels"], config)


def predict(kept: Kept, embeddings: Array, config: Config) -> Labels:
    """Predict the class of the largest logit."""
    return largest_logit(kept, embeddings)
