"""What is carried from step to step: a network, what a method remembers, and how it predicts."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from mtcil.models import Network, copy_state, in_batches, network_from_state
from mtcil.settings import NetworkSettings


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


RULES: dict[str, Callable[[Learner, Tensor], Tensor]] = {"argmax": _largest_logit}


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
