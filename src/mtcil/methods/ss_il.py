"""SS-IL: separated softmax, and distillation within each earlier step's classes.

Ahn et al.: SS-IL: Separated Softmax for Incremental Learning (ICCV 2021), equations 3 to 5. New
clips compete among the new classes, exemplars among the old ones. Each batch is half new clips,
half exemplars; the authors' code has four new clips for each exemplar.
"""

from types import SimpleNamespace
from typing import NamedTuple

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor

from mtcil.learning.fit import Seeds, Steps
from mtcil.learning.groups import cost_of_steps, distil_by_step, with_steps
from mtcil.learning.learner import Learner
from mtcil.learning.network import Network
from mtcil.learning.steps import (
    MethodConfig,
    StepClips,
    StepTraining,
    fit_whole,
    largest_logit,
    logits_of,
    table,
    teacher_and_student,
)
from mtcil.settings.reader import STRICT
from mtcil.settings.sections import Positive, Weight


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Config(MethodConfig):
    """Settings of this method only."""

    kd_weight: Weight
    temperature: Positive


class Choices(NamedTuple):
    """Number of classes of each earlier step, and the temperature."""

    steps: tuple[int, ...]
    temperature: float


def learn_step(
    learner: Learner, clips: StepClips, config: Config, training: StepTraining, seeds: Seeds
) -> Steps[Learner]:
    """Learn the classes of one incremental step."""
    teacher, student = teacher_and_student(learner, clips, seeds)
    half = training.sgd.batch // 2
    student = yield fit_whole(
        student,
        {
            "new": table(clips.new, half, logits=logits_of(teacher, clips.new)),
            "memory": table(clips.memory, half, logits=logits_of(teacher, clips.memory)),
        },
        ss_il_loss,
        clips,
        training,
        seeds,
        numbers={"kd_weight": config.kd_weight},
        choices=Choices(tuple(learner.tensors["steps"].tolist()), config.temperature),
    )
    return Learner(student, learner.tensors)


def ss_il_loss(
    network: Network, batch: SimpleNamespace, numbers: SimpleNamespace, choices: Choices
) -> Tensor:
    """Separated softmax, and distillation within each earlier step's classes."""
    parts = [rows for rows in (batch.new, batch.memory) if rows is not None]
    features, labels, old_logits = (
        torch.cat([getattr(rows, name) for rows in parts])
        for name in ("features", "labels", "logits")
    )
    keep = None if parts[0].keep is None else torch.cat([rows.keep for rows in parts])
    logits = network(features, keep)
    kept = distil_by_step(logits, old_logits, choices.steps, choices.temperature)
    return separated_loss(logits, labels, sum(choices.steps)) + numbers.kd_weight * kept


def separated_loss(logits: Tensor, labels: Tensor, n_old: int) -> Tensor:
    """Cross entropy among the old classes for old labels, among the new ones for new labels.

    Args:
        logits: (batch, n_seen).
        labels: (batch,) int64.
        n_old: number of old classes.

    Returns:
        Scalar, averaged over the batch.
    """
    own = logits.gather(1, labels.unsqueeze(1)).squeeze(1)
    old, new = logits[:, :n_old].logsumexp(1), logits[:, n_old:].logsumexp(1)
    return (torch.where(labels < n_old, old, new) - own).mean()


state_after, predict, cost = with_steps, largest_logit, cost_of_steps
