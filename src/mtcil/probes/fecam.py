"""FeCAM: the nearest class by Mahalanobis distance, each class with its own covariance.

Goswami et al.: FeCAM: Exploiting the Heterogeneity of Class Distributions in Exemplar-Free
Continual Learning (NeurIPS 2023), equations 3 to 7. As in their code, embeddings and means are
scaled to length 1 before they are subtracted. Their Tukey transform (a power of each value) is
left out: it needs values >= 0, and our embeddings, averages of BatchNorm outputs, are signed.
"""

import numpy as np
from pydantic.dataclasses import dataclass

from mtcil.learning.probe import Array, Kept, Labels, add_rows, class_means, unit
from mtcil.settings.reader import STRICT
from mtcil.settings.sections import require


@dataclass(frozen=True, config=STRICT)
class Config:
    """Settings of this probe only."""

    variance_shrinkage: float  # gamma_1, on the diagonal
    covariance_shrinkage: float  # gamma_2, off the diagonal

    def __post_init__(self) -> None:
        require(
            0 <= self.covariance_shrinkage <= self.variance_shrinkage > 0,
            "variance_shrinkage must be above 0, and covariance_shrinkage from 0 to it: "
            "otherwise a covariance may have no inverse.",
        )


def shrink(covariance: Array, on_diagonal: float, beside: float) -> Array:
    """Add shares of the mean variance and of the mean covariance (equation 5): (d, d)."""
    d = len(covariance)
    variance = np.trace(covariance) / d
    between = (covariance.sum() - np.trace(covariance)) / max(d * (d - 1), 1)
    identity = np.eye(d)
    return covariance + on_diagonal * variance * identity + beside * between * (1 - identity)


def correlations(covariance: Array) -> Array:
    """Divide by both standard deviations (equation 7) to make classes comparable: (d, d)."""
    std = np.sqrt(np.diag(covariance))
    return covariance / np.outer(std, std)


def squared_distances(embeddings: Array, mean: Array, correlation: Array) -> Array:
    """(u - m)^T correlation^-1 (u - m) of unit embeddings u and unit mean m: (n_clips,)."""
    gaps = unit(embeddings) - unit(mean[None])
    return (gaps * np.linalg.solve(correlation, gaps.T).T).sum(axis=1)


def learn(
    kept: Kept, embeddings: Array, labels: Labels, config: Config, generator: np.random.Generator
) -> Kept:
    """Add the mean and covariance of each new class."""
    clips = [embeddings[labels == label] for label in np.unique(labels)]
    covariances = np.stack([np.cov(of_class, rowvar=False, bias=True) for of_class in clips])
    return {
        "means": add_rows(kept, "means", class_means(embeddings, labels)),
        "covariances": add_rows(kept, "covariances", covariances),
    }


def predict(kept: Kept, embeddings: Array, config: Config) -> Labels:
    """Predict the class of the smallest distance."""
    distances = []
    for mean, covariance in zip(kept["means"], kept["covariances"], strict=True):
        shrunk = shrink(covariance, config.variance_shrinkage, config.covariance_shrinkage)
        distances.append(squared_distances(embeddings, mean, correlations(shrunk)))
    return np.stack(distances, axis=1).argmin(axis=1)
