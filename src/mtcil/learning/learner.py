"""The state passed from step to step: a network, and whatever else a method keeps."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from mtcil.learning.clips import Clips
from mtcil.learning.network import Network


@dataclass(frozen=True)
class Learner:
    """The state of a method after a step.

    Attributes:
        network: in eval mode; later steps do not change it.
        tensors: other tensors that the method keeps, by name (importances, means, ...).
        apart: training clips that the method keeps itself; never exemplars.
    """

    network: Network
    tensors: Mapping[str, Tensor] = field(default_factory=dict)
    apart: Clips | None = None

    @property
    def n_classes(self) -> int:
        return self.network.n_classes

    @property
    def state_bytes(self) -> int:
        """Bytes that the method keeps in addition to its network and the exemplars."""
        apart = 0 if self.apart is None else self.apart.features.nbytes
        return apart + sum(tensor.nbytes for tensor in self.tensors.values())


def cosines(embeddings: Tensor, weights: Tensor) -> Tensor:
    """Cosine similarity: (batch, d) and (n_classes, d) -> (batch, n_classes)."""
    return F.normalize(embeddings) @ F.normalize(weights).T


def class_means(embeddings: Tensor, labels: Tensor, n_classes: int) -> Tensor:
    """Unit mean of each class's unit embeddings (iCaRL): (n_clips, d) -> (n_classes, d)."""
    unit = F.normalize(embeddings)
    means = [unit[labels == label].mean(0) for label in range(n_classes)]
    return F.normalize(torch.stack(means))


def nearest_mean(learner: Learner, features: Tensor) -> Tensor:
    """The class with the mean nearest to the unit embedding (iCaRL, algorithm 1)."""
    embeddings = F.normalize(learner.network.embed(features))
    return torch.cdist(embeddings, learner.tensors["class_means"]).argmin(1)
