"""What is carried from step to step: a network, and what a method keeps with it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from mtcil.learning.network import Network


@dataclass(frozen=True)
class Learner:
    """The state of a method after a step.

    Attributes:
        network: in eval mode; not changed by later steps.
        tensors: what else the method keeps, by name (importances, means, ...).
    """

    network: Network
    tensors: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def n_classes(self) -> int:
        return self.network.n_classes


def cosines(embeddings: Tensor, weights: Tensor) -> Tensor:
    """(batch, d) and (n_classes, d) -> the cosines of their angles (batch, n_classes)."""
    return F.normalize(embeddings) @ F.normalize(weights).T


def class_means(embeddings: Tensor, labels: Tensor, n_classes: int) -> Tensor:
    """Unit mean of each class's unit embeddings (iCaRL): (n_clips, d) -> (n_classes, d)."""
    unit = F.normalize(embeddings)
    means = [unit[labels == label].mean(0) for label in range(n_classes)]
    return F.normalize(torch.stack(means))


def nearest_mean(learner: Learner, features: Tensor) -> Tensor:
    """The class whose kept mean is nearest to the unit embedding (iCaRL, algorithm 1)."""
    embeddings = F.normalize(learner.network.embed(features))
    return torch.cdist(embeddings, learner.tensors["class_means"]).argmin(1)
