"""Shared by EWC and MAS: per-clip gradients, and a penalty on changing important parameters."""

from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any, Literal

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor
from torch.func import functional_call, grad, vmap

from mtcil.learning.clips import Clips
from mtcil.learning.fit import Seeds, Steps
from mtcil.learning.learner import Learner
from mtcil.learning.losses import new_class_loss
from mtcil.learning.network import Network, frozen_copy
from mtcil.learning.steps import (
    Cost,
    MethodConfig,
    StepClips,
    StepTraining,
    fit_whole,
    table,
    teacher_and_student,
)
from mtcil.settings.reader import STRICT
from mtcil.settings.sections import Weight

Score = Callable[[Tensor, Tensor], Tensor]  # (logits (n_classes,), label) -> scalar
BATCH = 32  # clips per batch of gradients


@dataclass(frozen=True, kw_only=True, config=STRICT)
class PenaltyConfig(MethodConfig):
    """Settings of EWC and MAS."""

    memory: Literal["exemplars", "none", "all"] = "none"
    strength: Weight  # lambda


def learn_with_penalty(
    learner: Learner,
    clips: StepClips,
    training: StepTraining,
    weight: float,
    seeds: Seeds,
) -> Steps[Learner]:
    """Learn with cross entropy plus `weight` times the penalty.

    Without exemplars, the cross entropy is over the new logits only, as in FACIL's ewc.py and
    mas.py and in PyCIL's ewc.py.
    """
    _, student = teacher_and_student(learner, clips, seeds)
    anchor = {name: value.detach() for name, value in learner.network.named_parameters()}
    student = yield fit_whole(
        student,
        {"seen": table(clips.seen(), training.sgd.batch)},
        penalty_loss,
        clips,
        training,
        seeds,
        numbers={"weight": weight, "anchor": anchor, "importance": dict(learner.tensors)},
        choices=0 if len(clips.memory) else clips.n_old,
    )
    return Learner(student, learner.tensors)


def penalty_loss(
    network: Network, batch: SimpleNamespace, numbers: SimpleNamespace, choices: int
) -> Tensor:
    """Cross entropy over the logits from class `choices` on, plus the weighted penalty."""
    seen = batch.seen
    learnt = new_class_loss(network(seen.features, seen.keep), seen.labels, choices)
    return learnt + numbers.weight * penalty(
        network, vars(numbers.anchor), vars(numbers.importance)
    )


def mean_over_clips(
    network: Network, clips: Clips, score: Score, of_gradient: Callable[[Tensor], Tensor]
) -> dict[str, Tensor]:
    """Mean over clips of `of_gradient`, applied to each clip's gradient of `score`; by parameter.

    The network is in eval mode, so that a clip's gradient does not depend on its batch.
    """
    network = frozen_copy(network)
    parameters = {name: value.detach() for name, value in network.named_parameters()}
    buffers = dict(network.named_buffers())

    def of_clip(parameters: dict[str, Tensor], clip: Tensor, label: Tensor) -> Tensor:
        logits = functional_call(network, (parameters, buffers), (clip.unsqueeze(0),))
        return score(logits.squeeze(0), label)

    gradients = vmap(grad(of_clip), in_dims=(None, 0, 0))
    total = {name: torch.zeros_like(value) for name, value in parameters.items()}
    batches = zip(clips.features.split(BATCH), clips.labels.split(BATCH), strict=True)
    for features, labels in batches:
        for name, value in gradients(parameters, features.contiguous(), labels).items():
            total[name] += of_gradient(value).sum(0)
    return {name: value / len(clips) for name, value in total.items()}


def fused(old: Mapping[str, Tensor], new: Mapping[str, Tensor], n_old: int) -> dict[str, Tensor]:
    """Mean of old and new importances, weighted by their numbers of classes.

    New rows of the head have only new importances.
    """
    if not old:
        return dict(new)
    n_seen = len(new["head.bias"])
    merged = {}
    for name, value in new.items():
        merged[name] = value.clone()
        shared = slice(0, len(old[name]))
        merged[name][shared] = (n_old * old[name] + (n_seen - n_old) * value[shared]) / n_seen
    return merged


def penalty(
    network: Network, anchor: Mapping[str, Tensor], weights: Mapping[str, Tensor]
) -> Tensor:
    """sum_i w_i (theta_i - anchor_i)^2 over the parameters that the old network had.

    Args:
        network: the network in training; its head may have more rows than the anchor's.
        anchor: parameters before the step, by name.
        weights: their importances, in the same shapes.
    """
    moved = [
        (weights[name] * (value[: len(anchor[name])] - anchor[name]).square()).sum()
        for name, value in network.named_parameters()
    ]
    return torch.stack(moved).sum()


def remembered(learner: Learner, importances: Mapping[str, Tensor]) -> Learner:
    """The learner with `importances` fused into its own."""
    n_old = len(learner.tensors["head.bias"]) if learner.tensors else 0
    return Learner(learner.network, fused(learner.tensors, importances, n_old))


def cost_of_importances(network: Network, n_seen: int, config: Any) -> Cost:
    """One float per parameter. The anchor is the network itself, not a copy."""
    return Cost(sum(value.nbytes for value in network.parameters()))
