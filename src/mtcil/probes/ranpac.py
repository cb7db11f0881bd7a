"""RanPAC: a fixed random projection with ReLU, then ridge regression from running sums.

McDonnell et al.: RanPAC: Random Projections and Pre-trained Models for Continual Learning
(NeurIPS 2023), equations 1 to 6, without their fine-tuning of the backbone in the first step. The
projection could be drawn again from the seed; its bytes are counted anyway.
"""

import numpy as np
from numpy.typing import NDArray
from pydantic.dataclasses import dataclass

from mtcil.learning.probe import Array, Kept, Labels
from mtcil.settings.reader import STRICT
from mtcil.settings.sections import Positive, Share, Whole, require_unique


@dataclass(frozen=True, config=STRICT)
class Config:
    """Settings of this probe only."""

    width: Whole  # M: dimensions of the projection
    ridges: tuple[Positive, ...]  # candidates
    held_share: Share  # share of a step's clips, for choosing the ridge

    def __post_init__(self) -> None:
        require_unique(self.ridges, "ridges")


def project(embeddings: Array, projection: Array) -> Array:
    """(n_clips, d) and (d, M) -> ReLU of the projected clips (n_clips, M)."""
    return np.maximum(embeddings @ projection, 0.0)


def one_hot(labels: Labels) -> Array:
    """(n_clips, n_classes) of 0 and 1, for labels 0 .. n_classes - 1."""
    return np.eye(int(labels.max()) + 1)[labels]


def ridge_weights(gram: Array, class_sums: Array, ridge: float) -> Array:
    """(G + ridge I)^-1 C (equation 6): (M, M) and (M, n_classes) -> (M, n_classes)."""
    return np.linalg.solve(gram + ridge * np.eye(len(gram)), class_sums)


def choose_ridge(
    projected: Array, targets: Array, ridges: tuple[Positive, ...], held: NDArray[np.bool_]
) -> float:
    """Choose the ridge with the smallest squared error on the held clips, fitted to the others.

    Args:
        projected: (n_clips, M), the clips of one step.
        targets: (n_clips, n_classes) of 0 and 1.
        held: (n_clips,), true for held clips.
    """
    fitted, wanted = projected[~held], targets[~held]
    gram, class_sums = fitted.T @ fitted, fitted.T @ wanted
    losses = []
    for ridge in ridges:
        answers = projected[held] @ ridge_weights(gram, class_sums, ridge)
        losses.append(np.square(answers - targets[held]).mean())
    return ridges[int(np.argmin(losses))]


def learn(
    kept: Kept, embeddings: Array, labels: Labels, config: Config, generator: np.random.Generator
) -> Kept:
    """Add the new clips to the Gram matrix and to the class sums; choose the ridge on them."""
    d = embeddings.shape[1]
    projection = kept["projection"] if kept else generator.standard_normal((d, config.width))
    projected, targets = project(embeddings, projection), one_hot(labels)
    held = generator.permutation(len(labels)) < round(config.held_share * len(labels))
    ridge = choose_ridge(projected, targets, config.ridges, held)
    class_sums = projected.T @ targets
    if kept:
        class_sums[:, : kept["class_sums"].shape[1]] += kept["class_sums"]
    return {
        "projection": projection,
        "gram": kept.get("gram", 0.0) + projected.T @ projected,
        "class_sums": class_sums,
        "ridge": np.array([ridge]),
    }


def predict(kept: Kept, embeddings: Array, config: Config) -> Labels:
    """Predict the class of the largest output."""
    weights = ridge_weights(kept["gram"], kept["class_sums"], float(kept["ridge"][0]))
    return (project(embeddings, kept["projection"]) @ weights).argmax(axis=1)
