"""BiC: distil, then fit a linear correction of the new classes' logits on held-out exemplars.

Wu et al.: Large Scale Incremental Learning (CVPR 2019), section 3: (1 - l) CE + l KD with
l = n_old / n_seen; then, with the network frozen, alpha and beta of alpha * logit + beta for the
new classes, by cross entropy on clips not used in training, equally many of each class. As in
FACIL's bic.py, a class's clips for the correction are held out when the class is first learnt, and
stay held out; old ones are cut to the new classes' number before the correction. Those of the
base classes were used in training, because the base model is given. Both parts of K are whole
numbers of clips of each class, so that up to one clip of each class is left free.
"""

import math
from types import SimpleNamespace

import torch
import torch.nn.functional as F
from pydantic.dataclasses import dataclass
from torch import Tensor

from mtcil.learning.clips import Clips, join, of_labels, rows_not_in
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
    held_share: Share  # for the correction: share of each class's clips that fit into K


def learn_step(
    learner: Learner, clips: StepClips, config: Config, training: StepTraining, seeds: Seeds
) -> Steps[Learner]:
    """Learn the classes of one incremental step."""
    teacher, student = teacher_and_student(learner, clips, seeds)
    n_old = clips.n_old
    of_new = some_of_each(clips.new, clips.per_class, config, seeds.generator("held"))
    held = of_new
    if learner.apart is not None:
        held = join(first_of_each(learner.apart, n_old, n_held(clips.per_class, config)), of_new)
    others = clips.new[rows_not_in(clips.new.features, of_new.features)]
    seen = join(others, clips.memory)
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
    return Learner(student, {"scale": scale, "shift": shift}, held)


def bic_loss(
    network: Network, batch: SimpleNamespace, numbers: SimpleNamespace, choices: float
) -> Tensor:
    """Cross entropy and distillation of corrected logits, blended by the share of old classes."""
    seen = batch.seen
    logits = network(seen.features, seen.keep) * numbers.scale + numbers.shift
    return blended_loss(logits, seen.labels, seen.logits, temperature=choices)


@without_training
def state_after(
    learner: Learner, clips: Clips, memory: Clips, config: Config, seeds: Seeds
) -> Learner:
    """After the base step, start without correction; later, cut held-out clips with the memory."""
    tensors, held = learner.tensors, learner.apart
    m = len(memory) // learner.n_classes
    if held is None:
        scale = torch.ones(learner.n_classes, device=clips.features.device)
        tensors = {"scale": scale, "shift": 0 * scale}
        kept = stored(clips.features, config.bits)
        others = clips[rows_not_in(kept, memory.features)]
        held = some_of_each(others, m, config, seeds.generator("held"))
    held = first_of_each(held, learner.n_classes, n_held(m, config))
    return Learner(learner.network, tensors, held)


def predict(learner: Learner, features: Tensor) -> Tensor:
    """The largest corrected logit."""
    scale, shift = learner.tensors["scale"], learner.tensors["shift"]
    return (learner.network(features) * scale + shift).argmax(1)


def cost(network: Network, n_seen: int, config: Config) -> Cost:
    """A factor and a shift per class, and the held-out clips."""
    return Cost(8 * n_seen, share=config.held_share)


def n_held(m: int, config: Config) -> int:
    """Number of held-out clips per class, if the memory has `m` exemplars per class.

    This is the smallest number that leaves `m` exemplars (see `held_apart`), so that K holds
    both. Held-out clips keep 32 bits per value, whatever the exemplars keep.
    """
    left = m * config.bits / 32  # the exemplars' bytes, in clips of 32 bits per value
    return math.ceil(left * config.held_share / (1 - config.held_share) - 1e-9)


def some_of_each(clips: Clips, m: int, config: Config, generator: torch.Generator) -> Clips:
    """Random clips of each class to hold out: at most the share of its clips."""
    drawn = [clips.labels.new_empty(0)]
    for label in clips.labels.unique().tolist():
        rows = of_labels(clips, label, label + 1)
        n = min(n_held(m, config), held_apart(len(rows), config.held_share))
        drawn.append(rows[torch.randperm(len(rows), generator=generator)[:n].to(rows.device)])
    return clips[torch.cat(drawn)]


def first_of_each(clips: Clips, n_classes: int, n: int) -> Clips:
    """The first n clips of each class, or all of a class that has fewer."""
    return clips[torch.cat([of_labels(clips, k, k + 1)[:n] for k in range(n_classes)])]


def fit_correction(logits: Tensor, labels: Tensor, n_old: int) -> tuple[float, float]:
    """Find the alpha and beta that minimise the cross entropy of the corrected logits.

    Ours: ((alpha - 1)^2 + beta^2) / 20 is added; without it no minimum exists
    when the held-out clips are perfectly separable.

    Args:
        logits: (n_clips, n_seen) of held-out clips.
        labels: (n_clips,) int64.
        n_old: index of the first corrected logit.
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
