"""What is carried from step to step: a network, what a method remembers, and how it predicts."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from mtcil.learning.network import Network, copy_state, in_batches, network_from_state
from mtcil.settings.sections import NetworkSettings


@dataclass(frozen=True)
class Learner:
    """The state of a method after a step.

    Attributes:
        network: in eval mode; not changed by later steps.
        tensors: what the method remembers besides, by name (importances, means, ...).
        rule: name of its prediction rule, a key of `RULES`.
        epochs: epochs of each phase of the step just learnt, by name.
    """

    network: Network
    tensors: Mapping[str, Tensor] = field(default_factory=dict)
    rule: str = "argmax"
    epochs: Mapping[str, int] = field(default_factory=dict)

    @property
    def n_classes(self) -> int:
        return self.network.n_classes


def _largest_logit(learner: Learner, features: Tensor) -> Tensor:
    return learner.network(features).argmax(1)


def _largest_corrected_logit(learner: Learner, features: Tensor) -> Tensor:
    """BiC (Wu et al. 2019): each class's logit has its own factor and shift."""
    scale, shift = learner.tensors["scale"], learner.tensors["shift"]
    return (learner.network(features) * scale + shift).argmax(1)


def _largest_cosine(learner: Learner, features: Tensor) -> Tensor:
    """LUCIR (Hou et al. 2019): angle to the head's row, lengths and biases apart."""
    return cosines(learner.network.embed(features), learner.network.head.weight).argmax(1)


def _nearest_mean(learner: Learner, features: Tensor) -> Tensor:
    """iCaRL (Rebuffi et al. 2017, algorithm 1): the class mean nearest to the unit embedding."""
    embeddings = F.normalize(learner.network.embed(features))
    return torch.cdist(embeddings, learner.tensors["class_means"]).argmin(1)


# How a method predicts, by name: (learner, features of a batch) -> labels of the batch.
RULES: dict[str, Callable[[Learner, Tensor], Tensor]] = {
    "argmax": _largest_logit,
    "corrected": _largest_corrected_logit,
    "cosine": _largest_cosine,
    "nearest_mean": _nearest_mean,
}


def cosines(embeddings: Tensor, weights: Tensor) -> Tensor:
    """(batch, d) and (n_classes, d) -> the cosines of their angles (batch, n_classes)."""
    return F.normalize(embeddings) @ F.normalize(weights).T


def class_means(embeddings: Tensor, labels: Tensor, n_classes: int) -> Tensor:
    """Unit mean of each class's unit embeddings (iCaRL): (n_clips, d) -> (n_classes, d)."""
    unit = F.normalize(embeddings)
    means = [unit[labels == label].mean(0) for label in range(n_classes)]
    return F.normalize(torch.stack(means))


def predict(learner: Learner, features: Tensor) -> Tensor:
    """Predicted labels (n_clips,) int64 of features (n_clips, 1, frames, bins)."""
    return in_batches(lambda part: RULES[learner.rule](learner, part), features)


def to_plain(learner: Learner) -> dict[str, object]:
    """Tensors, text and numbers only, so that loading executes nothing."""
    return {
        "network": {name: value.cpu() for name, value in copy_state(learner.network).items()},
        "tensors": {name: value.cpu() for name, value in learner.tensors.items()},
        "rule": learner.rule,
        "epochs": dict(learner.epochs),
    }


def from_plain(plain: dict, settings: NetworkSettings, device: torch.device) -> Learner:
    """The learner that `to_plain` was given, on `device`."""
    network = network_from_state(settings, plain["network"]).to(device).eval()
    tensors = {name: value.to(device) for name, value in plain["tensors"].items()}
    return Learner(network, tensors, plain["rule"], plain["epochs"])
