"""What a method is, and what methods share: the clips of a step, teacher and student, tables.

A method is one file of mtcil/methods, found by its name. It states everything of `Method`:

    Config       a strict dataclass of its own settings (a `MethodConfig`), read from
                 `methods.<name>` of settings.yaml; a section of another name says `kind: <file>`
    learn_step   learn the classes of one incremental step: a generator of `Fit`
    state_after  after each step, the base step too: the learner with what the method keeps
    predict      (learner, features) -> labels
    cost         bytes of what it keeps, which leave fewer for exemplars
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol

import torch
from pydantic.dataclasses import dataclass as settings_class
from torch import Tensor, nn

from mtcil.learning.clips import Clips, join, of_labels
from mtcil.learning.fit import Fit, Phase, Seeds, Steps, Table, Validation
from mtcil.learning.learner import Learner
from mtcil.learning.network import Network, frozen_copy, in_batches, widen_head
from mtcil.settings.reader import STRICT
from mtcil.settings.sections import Positive, SgdSettings


@settings_class(frozen=True, kw_only=True, config=STRICT)
class MethodConfig:
    """What the settings of every method may say."""

    memory: Literal["exemplars", "none", "all"] = "exemplars"  # clips of old classes it may see
    bits: Literal[8, 16, 32] = 32  # of each stored feature value
    learning_rate: Positive | None = None  # of the phase `then_all`; null: step_training's


class Cost(NamedTuple):
    """Bytes that a method keeps from step to step in addition to its network and exemplars.

    Attributes:
        fixed: whatever the memory holds.
        per_exemplar: for each exemplar.
        share: of K, for clips that the method keeps itself, at 32 bits a value: of each class's
            clips, this share, rounded up.
    """

    fixed: int = 0
    per_exemplar: int = 0
    share: float = 0.0


@dataclass(frozen=True)
class StepClips:
    """What a method may see in an incremental step.

    Attributes:
        new: training clips of the new classes.
        memory: exemplars of the old classes, the same number of each, class by class.
        validation: clips for early stopping; may be empty.
        per_class: exemplars of each class, the new ones too, that the memory holds afterwards.
        n_old: number of old classes.
        n_new: number of new classes.
    """

    new: Clips
    memory: Clips
    validation: Clips
    per_class: int
    n_old: int
    n_new: int

    def seen(self) -> Clips:
        """New clips and exemplars."""
        return join(self.new, self.memory)


@dataclass(frozen=True)
class StepTraining:
    """How an incremental step is learnt: two-step fine-tuning (paper, section 3.3).

    Attributes:
        head_first: the first `frozen_blocks` blocks are frozen.
        then_all: everything learns.
        frozen_blocks: of `head_first`.
        whole: for methods with one phase: as long as the two together.
    """

    sgd: SgdSettings
    head_first: Phase
    then_all: Phase
    frozen_blocks: int
    whole: Phase


class Method(Protocol):
    """What a file of mtcil/methods states.

    `state_after` is called after each step, the base step too. It sees the learner that
    `learn_step` gives, so `learn_step` must hand on the tensors that are still needed. `clips` are
    the training clips of the step's classes, `memory` the exemplars of all classes seen, class by
    class, as just chosen.
    """

    Config: type[MethodConfig]
    learn_step: Callable[[Learner, StepClips, Any, StepTraining, Seeds], Steps[Learner]]
    state_after: Callable[[Learner, Clips, Clips, Any, Seeds], Steps[Learner]]
    predict: Callable[[Learner, Tensor], Tensor]  # features -> labels (n_clips,) int64
    cost: Callable[[Network, int, Any], Cost]  # (network, n_seen, config)


# What most methods say.


def without_training(state: Callable[..., Learner]) -> Callable[..., Steps[Learner]]:
    """`state_after` of a method whose state takes no training."""

    def state_after(
        learner: Learner, clips: Clips, memory: Clips, config: Any, seeds: Seeds
    ) -> Steps[Learner]:
        return state(learner, clips, memory, config, seeds)
        yield  # makes it a generator, of nothing

    state_after.__doc__ = state.__doc__
    return state_after


@without_training
def no_state(learner: Learner, clips: Clips, memory: Clips, config: Any, seeds: Seeds) -> Learner:
    """Nothing is kept but the network."""
    return learner


def no_cost(network: Network, n_seen: int, config: Any) -> Cost:
    """Nothing is kept but the network."""
    return Cost()


def largest_logit(learner: Learner, features: Tensor) -> Tensor:
    """The class of the network's largest logit."""
    return learner.network(features).argmax(1)


def teacher_and_student(
    learner: Learner, clips: StepClips, seeds: Seeds
) -> tuple[Network, Network]:
    """The frozen old network, and a copy whose head has one more row for each new class."""
    student = widen_head(learner.network, clips.n_new, seeds.generator("weights"))
    return frozen_copy(learner.network), student


def table(
    clips: Clips,
    share: int,
    draw: Callable[[int, torch.Generator], dict[str, Tensor]] | None = None,
    **more: Tensor,
) -> Table | None:
    """Clips as rows of a table, with what else the loss needs for each; None without clips."""
    rows = {"features": clips.features, "labels": clips.labels, **more}
    return Table(rows, share, draw) if len(clips) else None


def logits_of(network: Network, clips: Clips) -> Tensor:
    """(n_clips, n_classes) of a network in eval mode, once for all batches of a step."""
    if len(clips) == 0:
        return clips.features.new_zeros(0, network.n_classes)
    return in_batches(network, clips.features)


def validation_on(
    clips: StepClips, logits: Callable[[Any, Tensor], Tensor] | None = None
) -> Validation | None:
    """Early stopping on the step's validation clips; None where there are none."""
    held = clips.validation
    if len(held) == 0:
        return None
    rows = {"features": held.features, "labels": held.labels}
    return Validation(rows, logits or (lambda network, features: network(features)))


def fit_whole(
    network: nn.Module,
    tables: Mapping[str, Table | None],
    loss: Callable[..., Tensor],
    clips: StepClips,
    training: StepTraining,
    seeds: Seeds,
    **more: Any,
) -> Fit:
    """One phase in which the whole network learns: what methods with one phase yield.

    Args:
        more: other fields of the `Fit`; `phase` is `training.whole` unless given.
    """
    fields: dict[str, Any] = {
        "name": "then_all",
        "phase": training.whole,
        "validation": validation_on(clips),
    }
    return Fit(
        network=network, tables=tables, loss=loss, sgd=training.sgd, seeds=seeds, **fields | more
    )


def balanced_set(clips: StepClips, generator: torch.Generator) -> Clips:
    """The exemplars and, drawn at random, as many clips of each new class (Mittal et al.)."""
    m = len(clips.memory) // clips.n_old
    drawn = []
    for label in range(clips.n_old, clips.n_old + clips.n_new):
        rows = of_labels(clips.new, label, label + 1)
        order = torch.randperm(len(rows), generator=generator)[:m]
        drawn.append(rows[order.to(rows.device)])
    return join(clips.memory, clips.new[torch.cat(drawn)])
