"""LwF: learn the new classes, and keep the old model's outputs on the new clips.

Li and Hoiem: Learning without Forgetting (ECCV 2016), equations 1 to 4: cross entropy over the
new logits and distillation of the old ones. With exemplars, the cross entropy is over all logits,
as in FACIL (Masana et al. 2022). Our distillation has the factor T**2 of Hinton et al., FACIL's
does not: its weight of 1 is a weight of 1 / T**2 here. Their warm-up of the new head is left out.
"""

from types import SimpleNamespace
from typing import Literal, NamedTuple

from pydantic.dataclasses import dataclass
from torch import Tensor

from mtcil.learning.fit import Seeds, Steps
from mtcil.learning.learner import Learner
from mtcil.learning.losses import distillation_loss, new_class_loss
from mtcil.learning.network import Network
from mtcil.learning.steps import (
    MethodConfig,
    StepClips,
    StepTraining,
    fit_whole,
    largest_logit,
    logits_of,
    no_cost,
    no_state,
    table,
    teacher_and_student,
)
from mtcil.settings.reader import STRICT
from mtcil.settings.sections import Positive, Weight


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Config(MethodConfig):
    """Settings of this method only."""

    memory: Literal["exemplars", "none", "all"] = "none"
    kd_weight: Weight  # of the distillation
    temperature: Positive


class Choices(NamedTuple):
    """The first competing class, and the distillation's temperature."""

    first: int
    temperature: float


def learn_step(
    learner: Learner, clips: StepClips, config: Config, training: StepTraining, seeds: Seeds
) -> Steps[Learner]:
    """Learn the classes of one incremental step."""
    teacher, student = teacher_and_student(learner, clips, seeds)
    seen = clips.seen()
    student = yield fit_whole(
        student,
        {"seen": table(seen, training.sgd.batch, logits=logits_of(teacher, seen))},
        lwf_loss,
        clips,
        training,
        seeds,
        numbers={"kd_weight": config.kd_weight},
        choices=Choices(0 if len(clips.memory) else clips.n_old, config.temperature),
    )
    return Learner(student)


def lwf_loss(
    network: Network, batch: SimpleNamespace, numbers: SimpleNamespace, choices: Choices
) -> Tensor:
    """Cross entropy from the first competing class on, plus distillation on the old ones."""
    seen = batch.seen
    logits = network(seen.features, seen.keep)
    kept = distillation_loss(logits[:, : seen.logits.shape[1]], seen.logits, choices.temperature)
    learnt = new_class_loss(logits, seen.labels, choices.first)
    return learnt + numbers.kd_weight * kept


state_after, predict, cost = no_state, largest_logit, no_cost
