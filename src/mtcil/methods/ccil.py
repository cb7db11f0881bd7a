"""CCIL: cross entropy and distillation on new clips and on a balanced set.

Mittal, Galesso, Brox: Essentials for Class Incremental Learning (CVPRW 2021), the incremental
method of the paper, learnt in two steps of fine-tuning (paper, section 3.3).

    L = CE_N + CE_O + lambda_t (KD_N + KD_O)
"""

from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic.dataclasses import dataclass
from torch import Tensor

from mtcil.learning.fit import Streams, fit, validator
from mtcil.learning.learner import Learner
from mtcil.learning.losses import distillation_loss, distillation_weight, new_class_loss
from mtcil.learning.network import frozen_copy, in_batches, widen_head
from mtcil.learning.phases import Rows, balanced_set, batches_of
from mtcil.learning.steps import MethodConfig, StepClips
from mtcil.settings.reader import STRICT
from mtcil.settings.sections import (
    PhaseSettings,
    Positive,
    StepTrainingSettings,
    Weight,
    parse_losses,
)


@dataclass(frozen=True, config=STRICT)
class Config(MethodConfig):
    """Settings of this method alone."""

    losses: str  # any of the four terms, joined by +; CE_N among them
    order: Literal["together", "in_turn"]  # one loss, or new clips first, the balanced set after
    kd_weight: Weight  # lambda_0
    kd_exponent: float  # of n_seen / n_new
    kd_reduction: Literal["batchmean", "mean"]
    temperature: Positive

    def __post_init__(self) -> None:
        parse_losses(self.losses)


def learn_step(
    learner: Learner,
    clips: StepClips,
    training: StepTrainingSettings,
    config: Config,
    streams: Streams,
    report: Callable[[str], None] | None = None,
) -> Learner:
    """Learn the classes of one incremental step.

    Args:
        learner: after the step before; its network is the teacher.
        clips: new clips, exemplars and validation clips of this step.
        training: phases and optimiser.
        config: loss terms and their weights.
        streams: draws the new head rows, the balanced set, batches and dropout.
        report: is told of each epoch.
    """
    teacher = frozen_copy(learner.network)
    n_old, n_new = teacher.n_classes, len(clips.new.labels.unique())
    network = widen_head(learner.network, n_new, streams.generator("weights"))
    balanced = balanced_set(clips, n_old, streams.generator("balanced set"))
    kd_weight = distillation_weight(config.kd_weight, n_old + n_new, n_new, config.kd_exponent)
    # The teacher does not change during the step: its logits are computed once.
    teacher_new = in_batches(teacher, clips.new.features)
    teacher_balanced = in_batches(teacher, balanced.features)

    def learn_phase(name: str, phase: PhaseSettings, terms: set[str]) -> int:
        frozen = training.frozen_blocks if name == "head_first" else 0
        # Nor do frozen blocks: what they make of the clips is computed once per phase.
        new_x, balanced_x, validation_x = (
            in_batches(lambda x: network.maps(x, 0, frozen), part.features)
            if frozen
            else part.features
            for part in (clips.new, balanced, clips.validation)
        )

        def loss(rows: Rows) -> Tensor:
            new, old = rows
            maps = network.maps(torch.cat([new_x[new], balanced_x[old]]), frozen)
            logits = network.head(network.pool(maps))
            new_logits, old_logits = logits[: len(new)], logits[len(new) :]
            total = logits.new_zeros(())
            if "CE_N" in terms:
                total = total + new_class_loss(new_logits, clips.new.labels[new], n_old)
            if "CE_O" in terms and len(old):
                total = total + F.cross_entropy(old_logits, balanced.labels[old])
            if "KD_N" in terms:
                total = total + kd_weight * distil(new_logits, teacher_new[new])
            if "KD_O" in terms and len(old):
                total = total + kd_weight * distil(old_logits, teacher_balanced[old])
            return total

        n_rows = (
            len(clips.new) if terms & {"CE_N", "KD_N"} else 0,
            len(balanced) if terms & {"CE_O", "KD_O"} else 0,
        )
        generator = streams.generator("batches", name)
        return fit(
            network,
            lambda: batches_of(n_rows, training.sgd.batch, generator),
            loss,
            validator(network, validation_x, clips.validation.labels, frozen)
            if len(clips.validation)
            else None,
            training.sgd,
            phase,
            streams.number("dropout", name),
            frozen,
            report=report,
        )

    def distil(new_logits: Tensor, old_logits: Tensor) -> Tensor:
        return distillation_loss(
            new_logits[:, :n_old], old_logits, config.temperature, config.kd_reduction
        )

    terms = set(parse_losses(config.losses))
    epochs = {}
    for name, wanted in phases(config.order, terms):
        phase = training.head_first if name == "head_first" else training.then_all
        epochs[name] = learn_phase(name, phase, wanted)
    return Learner(network, epochs=epochs)


def phases(order: str, terms: set[str]) -> list[tuple[str, set[str]]]:
    """The phases of a step and the loss terms of each.

    `in_turn` first learns the new clips, then the balanced set (our reading of the paper's
    wording); `together` sums all terms, as Mittal et al. do.
    """
    if order == "together":
        return [("head_first", terms), ("then_all", terms)]
    new, old = terms & {"CE_N", "KD_N"}, terms & {"CE_O", "KD_O"}
    return [("head_first", new), ("then_all", new), *([("balanced", old)] if old else [])]
