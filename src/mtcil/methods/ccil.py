"""CCIL: cross entropy and distillation on new clips and on a balanced set.

Mittal, Galesso, Brox: Essentials for Class Incremental Learning (CVPRW 2021), the paper's
incremental method, learnt by two-step fine-tuning (paper, section 3.3).

    L = CE_N + CE_O + lambda_t (KD_N + KD_O)

New clips and the balanced set have separate forward passes, as in the authors' main_cifar.py, so
that BatchNorm does not mix them.
"""

from types import SimpleNamespace
from typing import Literal, NamedTuple

from pydantic.dataclasses import dataclass
from torch import Tensor

from mtcil.learning.fit import Fit, Seeds, Steps
from mtcil.learning.learner import Learner
from mtcil.learning.losses import (
    distillation_loss,
    distillation_weight,
    new_class_loss,
)
from mtcil.learning.network import Network
from mtcil.learning.steps import (
    MethodConfig,
    StepClips,
    StepTraining,
    balanced_set,
    largest_logit,
    logits_of,
    no_cost,
    no_state,
    table,
    teacher_and_student,
    validation_on,
)
from mtcil.settings.reader import STRICT
from mtcil.settings.sections import Positive, Weight, parse_losses


@dataclass(frozen=True, config=STRICT)
class Config(MethodConfig):
    """Settings of this method only."""

    losses: str  # some of the four terms, joined by +; must include CE_N
    order: Literal["together", "in_turn"]  # one loss, or first new clips, then the balanced set
    kd_weight: Weight  # lambda_0
    kd_exponent: float  # of n_seen / n_new
    kd_reduction: Literal["batchmean", "mean"]
    temperature: Positive

    def __post_init__(self) -> None:
        parse_losses(self.losses)


class Choices(NamedTuple):
    """The chosen terms, and the reduction of the distillation."""

    terms: frozenset[str]
    kd_reduction: Literal["batchmean", "mean"]
    temperature: float


def learn_step(
    learner: Learner, clips: StepClips, config: Config, training: StepTraining, seeds: Seeds
) -> Steps[Learner]:
    """Learn the classes of one incremental step."""
    teacher, student = teacher_and_student(learner, clips, seeds)
    balanced = balanced_set(clips, seeds.generator("balanced set"))
    n_seen = clips.n_old + clips.n_new
    weight = distillation_weight(config.kd_weight, n_seen, clips.n_new, config.kd_exponent)
    half = training.sgd.batch // 2
    new = table(clips.new, half, logits=logits_of(teacher, clips.new))
    old = table(balanced, half, logits=logits_of(teacher, balanced))
    for name, terms in phases(config.order, frozenset(parse_losses(config.losses))):
        is_first = name == "head_first"
        tables = {
            "new": new if terms & {"CE_N", "KD_N"} else None,
            "balanced": old if terms & {"CE_O", "KD_O"} else None,
        }
        if not any(tables.values()):
            continue  # `balanced` without exemplars
        student = yield Fit(
            name=name,
            network=student,
            tables=tables,
            loss=ccil_loss,
            phase=training.head_first if is_first else training.then_all,
            sgd=training.sgd,
            seeds=seeds,
            numbers={"kd_weight": weight},
            choices=Choices(terms, config.kd_reduction, config.temperature),
            frozen_blocks=training.frozen_blocks if is_first else 0,
            validation=validation_on(clips),
        )
    return Learner(student)


def ccil_loss(
    network: Network, batch: SimpleNamespace, numbers: SimpleNamespace, choices: Choices
) -> Tensor:
    """The sum of the chosen terms; the method itself has all four."""
    total = network.head.weight.new_zeros(())
    for rows, is_new in ((batch.new, True), (batch.balanced, False)):
        if rows is None:
            continue
        n_old, suffix = rows.logits.shape[1], "N" if is_new else "O"
        logits = network(rows.features, rows.keep)
        if f"CE_{suffix}" in choices.terms:
            learnt = new_class_loss(logits, rows.labels, n_old if is_new else 0)
            total = total + learnt
        if f"KD_{suffix}" in choices.terms:
            kept = distillation_loss(
                logits[:, :n_old], rows.logits, choices.temperature, choices.kd_reduction
            )
            total = total + numbers.kd_weight * kept
    return total


def phases(order: str, terms: frozenset[str]) -> list[tuple[str, frozenset[str]]]:
    """The phases of a step and the loss terms of each.

    `in_turn` first learns the new clips, then the balanced set (our reading of the paper's
    wording); `together` sums all terms, as Mittal et al. do.
    """
    if order == "together":
        return [("head_first", terms), ("then_all", terms)]
    new, old = terms & {"CE_N", "KD_N"}, terms & {"CE_O", "KD_O"}
    return [("head_first", new), ("then_all", new), *([("balanced", old)] if old else [])]


state_after, predict, cost = no_state, largest_logit, no_cost
