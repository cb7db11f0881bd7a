"""BiC: distil, then fit a linear correction of the new classes' logits on held-out exemplars.

Wu et al.: Large Scale Incremental Learning (CVPR 2019), section 3: (1 - l) CE + l KD with
l = n_old / n_seen; then, all else frozen, alpha and beta of alpha * logit + beta for the new
classes, by cross entropy on clips that no training has seen. As in FACIL's bic.py, a class's
clips for the correction are set apart when the class is first learnt, and stay apart. Only those of
the base classes were seen in training: the base model is given.
"""

import math
from collections.abc import Mapping
from types import SimpleNamespace

import torch
import torch.nn.functional as F
from pydantic.dataclasses import dataclass
from torch import Tensor

from mtcil.learning.clips import Clips, join, of_labels
from mtcil.learning.fit import Seeds, Steps
from mtcil.learning.learner import Learner
from mtcil.learning.losses import blended_loss
from mtcil.learning.memory import held_apart, stored
from mtcil.learning.network import Network
from mtcil.learning.steps import (
    Cost,
    MethodConfig,
    StepClips,
    StepTraining,
    fit_whole,
    logits_of,
    table,
    teacher_and_student,
    without_training,
)
from mtcil.settings.reader import STRICT
from mtcil.settings.sections import Positive, Share


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Config(MethodConfig):
    """Settings of this method only."""

    temperature: Positive
    held_share: Share  # of each class's clips that fit into K, for the correction


def learn_step(
    learner: Learner, clips: StepClips, config: Config, training: StepTraining, seeds: Seeds
) -> Steps[Learner]:
    """Learn the classes of one incremental step."""
    teacher, student = teacher_and_student(learner, clips, seeds)
    n_old = clips.n_old
    of_old = held_of(learner.tensors, clips.new)
    of_new = some_of_each(clips.new, clips.per_class, config, seeds.generator("held"))
    held = join(of_old, of_new)
    stored_held = Clips(stored(of_old.features, config.bits), of_old.labels)
    seen = join(without(clips.new, of_new), without(clips.memory, stored_held))
    ones = torch.ones(clips.n_new, device=seen.features.device)
    scale = torch.cat([learner.tensors["scale"], ones])  # new classes: not corrected yet
    shift = torch.cat([learner.tensors["shift"], 0 * ones])
    old_logits = logits_of(teacher, seen) * scale[:n_old] + shift[:n_old]
    student = yield fit_whole(
        student,
        {"seen": table(seen, training.sgd.batch, logits=old_logits)},
        bic_loss,
        clips,
        training,
        seeds,
        numbers={"scale": scale, "shift": shift},
        choices=config.temperature,
    )
    if len(held):
        logits = logits_of(student, held) * scale + shift
        alpha, beta = fit_correction(logits, held.labels, n_old)
        scale = torch.cat([scale[:n_old], alpha * ones])
        shift = torch.cat([shift[:n_old], beta * ones])
    tensors = {"held features": held.features, "held labels": held.labels}
    return Learner(student, {"scale": scale, "shift": shift, **tensors})


def bic_loss(
    network: Network, batch: SimpleNamespace, numbers: SimpleNamespace, choices: float
) -> Tensor:
    """Cross entropy and distillation of the corrected logits, blended by the old share."""
    seen = batch.seen
    logits = network(seen.features, seen.keep) * numbers.scale + numbers.shift
    return blended_loss(logits, seen.labels, seen.logits, temperature=choices)


@without_training
def state_after(
    learner: Learner, clips: Clips, memory: Clips, config: Config, seeds: Seeds
) -> Learner:
    """After the base step no logit is corrected; later the held clips are cut with the memory."""
    tensors = dict(learner.tensors)
    if "scale" not in tensors:
        scale = torch.ones(learner.n_classes, device=clips.features.device)
        tensors |= {"scale": scale, "shift": 0 * scale}
    m = len(memory) // learner.n_classes
    held = held_of(tensors, clips)
    if "held labels" not in tensors:
        held = some_of_each(clips, m, config, seeds.generator("held"))
    rows = [of_labels(held, k, k + 1)[: n_held(m, config)] for k in held.labels.unique().tolist()]
    held = held[torch.cat(rows)] if rows else held
    tensors |= {"held features": held.features, "held labels": held.labels}
    return Learner(learner.network, tensors)


def predict(learner: Learner, features: Tensor) -> Tensor:
    """The largest corrected logit."""
    scale, shift = learner.tensors["scale"], learner.tensors["shift"]
    return (learner.network(features) * scale + shift).argmax(1)


def cost(network: Network, n_seen: int, config: Config) -> Cost:
    """A factor and a shift per class, and the clips that are held apart."""
    return Cost(8 * n_seen, share=config.held_share)


def n_held(m: int, config: Config) -> int:
    """Clips of each class held apart, where the memory has `m` exemplars of each.

    The fewest for which so many exemplars are left (`held_apart`), so that K holds both. They
    keep 32 bits a value, whatever the exemplars keep.
    """
    left = m * config.bits / 32  # as many whole clips' bytes
    return math.ceil(left * config.held_share / (1 - config.held_share) - 1e-9)


def held_of(tensors: Mapping[str, Tensor], clips: Clips) -> Clips:
    """The clips held apart so far; none before there are any."""
    if "held labels" not in tensors:
        return clips[clips.labels.new_empty(0)]
    return Clips(tensors["held features"], tensors["held labels"])


def some_of_each(clips: Clips, m: int, config: Config, generator: torch.Generator) -> Clips:
    """Clips of each class to hold apart, drawn at random: at most the share of its clips."""
    drawn = []
    for label in clips.labels.unique().tolist():
        rows = of_labels(clips, label, label + 1)
        n = min(n_held(m, config), held_apart(len(rows), config.held_share))
        drawn.append(rows[torch.randperm(len(rows), generator=generator)[:n].to(rows.device)])
    return clips[torch.cat(drawn)]


def without(clips: Clips, others: Clips) -> Clips:
    """The clips whose features are not those of one of the others."""
    if len(clips) == 0 or len(others) == 0:
        return clips
    a, b = clips.features.flatten(1), others.features.flatten(1)
    equal = torch.stack([(a == row).all(1) for row in b]).any(0)
    return clips[torch.nonzero(~equal).flatten()]


def fit_correction(logits: Tensor, labels: Tensor, n_old: int) -> tuple[float, float]:
    """alpha and beta that minimise the cross entropy of the corrected logits.

    Ours: ((alpha - 1)^2 + beta^2) / 20 is added; without it no minimum exists
    when the held-out clips are perfectly separable.

    Args:
        logits: (n_clips, n_seen) of held-out clips.
        labels: (n_clips,) int64.
        n_old: the logits from here on are corrected.
    """
    fixed = logits.double()
    values = torch.tensor([1.0, 0.0], dtype=torch.float64, device=logits.device).requires_grad_()
    optimiser = torch.optim.LBFGS(
        [values], max_iter=200, tolerance_change=0, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimiser.zero_grad()
        corrected = torch.cat([fixed[:, :n_old], values[0] * fixed[:, n_old:] + values[1]], dim=1)
        restraint = ((values[0] - 1).square() + values[1].square()) / 20
        total = F.cross_entropy(corrected, labels) + restraint
        total.backward()
        return total

    optimiser.step(closure)
    alpha, beta = values.tolist()
    return alpha, beta
