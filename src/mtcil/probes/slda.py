"""Streaming LDA: class means and one covariance shared by all classes, kept as running sums.

Hayes and Kanan: Lifelong Machine Learning with Deep Streaming Linear Discriminant Analysis
(CVPR Workshops 2020), equations 1 to 4. They update the covariance clip by clip and weight a clip
by t / (t + 1), where t counts the clips of all classes. We add each class's scatter about its final
mean, which gives the exact within-class covariance for any order of classes. They start from a
shrunk estimate (OAS) of the base classes' covariance; we start from none.
"""

from typing import Annotated

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass

from mtcil.learning.probe import Array, Kept, Labels, add_rows, class_means
from mtcil.settings.reader import STRICT


@dataclass(frozen=True, config=STRICT)
class Config:
    """Settings of this probe only."""

    shrinkage: Annotated[float, Field(gt=0, le=1)]  # towards the identity


def scatter_within(embeddings: Array, labels: Labels) -> Array:
    """Sum over clips of (z - mean of its class)(z - mean of its class)^T: (d, d)."""
    centred = embeddings - class_means(embeddings, labels)[labels - labels.min()]
    return centred.T @ centred


def discriminant(means: Array, covariance: Array, shrinkage: float) -> tuple[Array, Array]:
    """Weights (n_classes, d) and biases (n_classes,) of equally likely classes.

    w = L mean and b = -1/2 mean . w, where L inverts (1 - shrinkage) covariance + shrinkage I.
    """
    shrunk = (1 - shrinkage) * covariance + shrinkage * np.eye(len(covariance))
    weights = np.linalg.solve(shrunk, means.T).T
    return weights, -0.5 * (means * weights).sum(axis=1)


def learn(
    kept: Kept, embeddings: Array, labels: Labels, config: Config, generator: np.random.Generator
) -> Kept:
    """Add the new classes' means, scatter and number of clips to the sums."""
    return {
        "means": add_rows(kept, "means", class_means(embeddings, labels)),
        "scatter": kept.get("scatter", 0.0) + scatter_within(embeddings, labels),
        "n_clips": kept.get("n_clips", np.zeros(1)) + len(labels),
    }


def predict(kept: Kept, embeddings: Array, config: Config) -> Labels:
    """Predict the class of the largest discriminant."""
    covariance = kept["scatter"] / kept["n_clips"]
    weights, biases = discriminant(kept["means"], covariance, config.shrinkage)
    return (embeddings @ weights.T + biases).argmax(axis=1)
