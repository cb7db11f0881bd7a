"""The contract of a method, and what methods share: a step's clips, teacher and student, tables.

A method is one file of mtcil/methods, found by its name. It defines all members of `Method`:

    Config       a strict dataclass of its own settings (a `MethodConfig`), read from
                 `methods.<name>` of settings.yaml; a section of another name has `kind: <file>`
    learn_step   learn the classes of one incremental step: a generator of `Fit`
    state_after  after each step, base step included: the learner with what the method keeps
    predict      (learner, features) -> labels
    cost         bytes of its state, which reduce the bytes left for exemplars
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
from mtcil.settings.sections import Positive
from mtcil.settings.training import SgdSettings


@settings_class(frozen=True, kw_only=True, config=STRICT)
class MethodConfig:
    """Settings that every method may have."""

    memory: Literal["exemplars", "none", "all"] = "exemplars"  # clips of old classes it may use
    bits: Literal[8, 16, 32] = 32  # per stored feature value
    learning_rate: Positive | None = None  # of `then_all`; null: the stage's own
    length: Positive = 1.0  # updates of each step, as a multiple of the study's


class Cost(NamedTuple):
    """Bytes that a method keeps from step to step in addition to its network and exemplars.

    Attributes:
        fixed: bytes that do not depend on the memory.
        per_exemplar: bytes for each exemplar.
        share: part of K for clips that the method keeps itself, at 32 bits per value: this share
            of each class's clips, rounded up.
    """

    fixed: int = 0
    per_exemplar: int = 0
    share: float = 0.0


@dataclass(frozen=True)
class StepClips:
    """The clips that a method may use in an incremental step.

    Attributes:
        new: training clips of the new classes.
        memory: exemplars of the old classes, grouped by class: equally many of each, or all clips
            of a class that has fewer.
        validation: clips for early stopping; may be empty.
        per_class: exemplars per class, new classes included, in the memory after this step.
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
        head_first: first phase; the first `frozen_blocks` blocks are frozen.
        then_all: second phase; all layers learn.
        frozen_blocks: number of blocks frozen in `head_first`.
        whole: the only phase of other methods; as long as the two together.
    """

    sgd: SgdSettings
    head_first: Phase
    then_all: Phase
    frozen_blocks: int
    whole: Phase


class Method(Protocol):
    """The members of a file of mtcil/methods.

    `state_after` is called after each step, base step included. It receives the learner that
    `learn_step` returns, so `learn_step` must pass on the tensors that are still needed. `clips`
    are the training clips of the step's classes, `memory` the exemplars just chosen of all
    classes seen, grouped by class.
    """

    Config: type[MethodConfig]
    learn_step: Callable[[Learner, StepClips, Any, StepTraining, Seeds], Steps[Learner]]
    state_after: Callable[[Learner, Clips, Clips, Any, Seeds], Steps[Learner]]
    predict: Callable[[Learner, Tensor], Tensor]  # features -> labels (n_clips,) int64
    cost: Callable[[Network, int, Any], Cost]  # (network, n_seen, config)


# Shared by most methods.


def without_training(state: Callable[..., Learner]) -> Callable[..., Steps[Learner]]:
    """Turn a function into a `state_after` that trains nothing."""

    def state_after(
        learner: Learner, clips: Clips, memory: Clips, config: Any, seeds: Seeds
    ) -> Steps[Learner]:
        return state(learner, clips, memory, config, seeds)
        yield  # never reached; makes this function a generator

    state_after.__doc__ = state.__doc__
    return state_after


@without_training
def no_state(learner: Learner, clips: Clips, memory: Clips, config: Any, seeds: Seeds) -> Learner:
    """Keep only the network."""
    return learner


def no_cost(network: Network, n_seen: int, config: Any) -> Cost:
    """The method keeps only the network."""
    return Cost()


def largest_logit(learner: Learner, features: Tensor) -> Tensor:
    """The class of the network's largest logit."""
    return learner.network(features).argmax(1)


def teacher_and_student(
    learner: Learner, clips: StepClips, seeds: Seeds
) -> tuple[Network, Network]:
    """The frozen old network, and a copy with one more head row for each new class."""
    student = widen_head(learner.network, clips.n_new, seeds.generator("weights"))
    return frozen_copy(learner.network), student


def table(
    clips: Clips,
    share: int,
    draw: Callable[[int, torch.Generator], dict[str, Tensor]] | None = None,
    **more: Tensor,
) -> Table | None:
    """Clips as rows of a table, with `more` columns for the loss; None if there are no clips."""
    rows = {"features": clips.features, "labels": clips.labels, **more}
    return Table(rows, share, draw) if len(clips) else None


def logits_of(network: Network, clips: Clips) -> Tensor:
    """(n_clips, n_classes) of a network in eval mode, computed once for all batches of a step."""
    if len(clips) == 0:
        return clips.features.new_zeros(0, network.n_classes)
    return in_batches(network, clips.features)


def validation_on(
    clips: StepClips, logits: Callable[[Any, Tensor], Tensor] | None = None
) -> Validation | None:
    """Early stopping on the step's validation clips; None if there are none."""
    held = clips.validation
    if len(held) == 0:
        return None
    rows = {"features": held.features, "labels": held.labels}
    return Validation(rows, logits or logits_of_network)


def logits_of_network(network: Any, features: Tensor) -> Tensor:
    """The logits of a network without further parts."""
    return network(features)


def fit_whole(
    network: nn.Module,
    tables: Mapping[str, Table | None],
    loss: Callable[..., Tensor],
    clips: StepClips,
    training: StepTraining,
    seeds: Seeds,
    **more: Any,
) -> Fit:
    """The `Fit` of a method with one phase: the whole network learns.

    Args:
        more: other fields of the `Fit`; `phase` is `training.whole` by default.
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
    """The exemplars, and of each new class as many random clips as old ones have on average.

    The balanced set of Mittal et al.; where each old class has its exemplars, "on average" is each.
    """
    m = len(clips.memory) // clips.n_old
    drawn = []
    for label in range(clips.n_old, clips.n_old + clips.n_new):
        rows = of_labels(clips.new, label, label + 1)
        order = torch.randperm(len(rows), generator=generator)[:m]
        drawn.append(rows[order.to(rows.device)])
    return join(clips.memory, clips.new[torch.cat(drawn)])
