"""EEIL: distil each earlier step's classes, then fine-tune on the balanced set.

Castro et al.: End-to-End Incremental Learning (ECCV 2018), equations 1 to 3 and section 4.3: cross
entropy and distillation; then fine-tuning at a smaller learning rate on the balanced set, where
all classes are distilled from the model before this fine-tuning (in FACIL's code the old classes
from the old model). Left out: the paper's gradient noise and data augmentation. Ours: the weight of
the distillation, and its factor T**2.
"""

from dataclasses import replace
from types import SimpleNamespace
from typing import NamedTuple

import torch.nn.functional as F
from pydantic.dataclasses import dataclass
from torch import Tensor

from mtcil.learning.clips import Clips
from mtcil.learning.fit import Fit, Seeds, Steps
from mtcil.learning.groups import cost_of_steps, distil_by_step, with_steps
from mtcil.learning.learner import Learner
from mtcil.learning.network import Network
from mtcil.learning.steps import (
    MethodConfig,
    StepClips,
    StepTraining,
    balanced_set,
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
    balanced_rate: Positive  # learning rate on the balanced set, relative to that before


class Choices(NamedTuple):
    """Number of classes of each distilled step, and the temperature."""

    steps: tuple[int, ...]
    temperature: float


def learn_step(
    learner: Learner, clips: StepClips, config: Config, training: StepTraining, seeds: Seeds
) -> Steps[Learner]:
    """Learn the classes of one incremental step; half of the updates use the balanced set."""
    teacher, student = teacher_and_student(learner, clips, seeds)
    old_steps = tuple(learner.tensors["steps"].tolist())
    whole = training.whole
    first = whole.updates if len(clips.memory) == 0 else whole.updates - whole.updates // 2

    def part(network: Network, teacher: Network, clips_of: Clips, **more: object) -> Fit:
        rows = table(clips_of, training.sgd.batch, logits=logits_of(teacher, clips_of))
        numbers = {"kd_weight": config.kd_weight}
        return fit_whole(
            network, {"seen": rows}, eeil_loss, clips, training, seeds, numbers=numbers, **more
        )

    student = yield part(
        student,
        teacher,
        clips.seen(),
        phase=replace(whole, updates=first),
        choices=Choices(old_steps, config.temperature),
    )
    if len(clips.memory):
        rate = config.balanced_rate * whole.learning_rate
        student = yield part(
            student,
            student,
            balanced_set(clips, seeds.generator("balanced set")),
            name="balanced",
            phase=replace(whole, updates=whole.updates // 2, learning_rate=rate),
            choices=Choices((*old_steps, clips.n_new), config.temperature),
        )
    return Learner(student, learner.tensors)


def eeil_loss(
    network: Network, batch: SimpleNamespace, numbers: SimpleNamespace, choices: Choices
) -> Tensor:
    """Cross entropy, and distillation within the classes of each step."""
    seen = batch.seen
    logits = network(seen.features, seen.keep)
    kept = distil_by_step(logits, seen.logits, choices.steps, choices.temperature)
    return F.cross_entropy(logits, seen.labels) + numbers.kd_weight * kept


state_after, predict, cost = with_steps, largest_logit, cost_of_steps
