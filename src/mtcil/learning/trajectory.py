"""One run: from a base model through every incremental step, with a measure after each."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from types import ModuleType
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mtcil.core.randomness import numpy_generator
from mtcil.learning.clips import Clips, join, of_labels
from mtcil.learning.fit import Streams
from mtcil.learning.learner import Learner, predict
from mtcil.learning.memory import choose, hold_out, per_class, stored
from mtcil.learning.network import in_batches
from mtcil.learning.split import SplitData
from mtcil.learning.steps import Cost, StepClips
from mtcil.records.measures import confusion_counts
from mtcil.settings.sections import MemorySettings, NetworkSettings, StepTrainingSettings


@dataclass(frozen=True)
class Plan:
    """The settings in force in one run."""

    steps: tuple[int, ...]
    method: str
    config: Any  # of the method's own class
    training: StepTrainingSettings
    memory: MemorySettings
    exemplars: int  # K
    network: NetworkSettings
    measured: Literal["test", "validation"] = "test"  # clips that each step is measured on


@dataclass(frozen=True)
class StepResult:
    """What came out of one step.

    Attributes:
        confusion: counts over the test clips of all classes seen.
        epochs: epochs of each phase.
        memory_bytes: of the exemplars that the step could replay.
        state_bytes: of what the method kept from the step before besides them.
        validation_bytes: of kept validation clips of old classes, which are memory too.
        teacher_bytes: of the old model that distils; 0 in the base step.
    """

    confusion: NDArray[np.int64]
    epochs: dict[str, int]
    memory_bytes: int
    state_bytes: int
    validation_bytes: int
    teacher_bytes: int


@dataclass(frozen=True)
class State:
    """Everything after a step that the next one needs.

    Attributes:
        memory: rows of the training clips kept of each class seen, best first.
        results: of all steps so far.
    """

    learner: Learner
    memory: tuple[Tensor, ...]
    results: tuple[StepResult, ...] = field(default=())


def start(learner: Learner, data: SplitData, plan: Plan, method: ModuleType, seed: int) -> State:
    """After the base step: keep exemplars of the base classes, and measure it."""
    state = remember(learner, (), data, plan, method, seed, step=0)
    confusion = measure(state.learner, data, plan, plan.steps[0])
    result = StepResult(confusion, dict(learner.epochs), 0, 0, 0, 0)
    return replace(state, results=(result,))


def advance(
    state: State,
    data: SplitData,
    plan: Plan,
    method: ModuleType,
    seed: int,
    report: Callable[[str], None] | None = None,
) -> State:
    """Learn the next incremental step, bring the memory up to date, and measure it once."""
    step = len(state.results)
    n_old = sum(plan.steps[:step])
    n_seen = n_old + plan.steps[step]
    kept = state.memory
    m = per_class(affordable(state.learner, data.train, plan, method, n_seen), n_seen)
    if plan.memory.selection == "official":  # Mittal et al. cut the memory before the step
        kept = tuple(rows[:m] for rows in kept)
    clips = step_clips(kept, data, plan, n_old, n_seen, m)
    training = plan.training
    if plan.config.learning_rate is not None:
        then_all = replace(training.then_all, learning_rate=plan.config.learning_rate)
        training = replace(training, then_all=then_all)
    learner = method.learn_step(
        state.learner, clips, training, plan.config, Streams(seed, step), report
    )
    after = remember(learner, state.memory, data, plan, method, seed, step)
    result = StepResult(
        measure(after.learner, data, plan, n_seen),
        dict(learner.epochs),
        memory_bytes=sum(len(rows) for rows in kept) * stored_bytes(data.train, plan),
        state_bytes=sum(kept.nbytes for kept in state.learner.tensors.values()),
        validation_bytes=kept_validation_clips(data, plan.training, n_old) * clip_bytes(data.train),
        teacher_bytes=sum(p.nbytes for p in state.learner.network.state_dict().values()),
    )
    return replace(after, results=(*state.results, result))


def remember(
    learner: Learner,
    old: tuple[Tensor, ...],
    data: SplitData,
    plan: Plan,
    method: ModuleType,
    seed: int,
    step: int,
) -> State:
    """What is carried out of a step: exemplars, and whatever else the method keeps."""
    memory = keep_exemplars(old, learner, data, plan, method, seed, step)
    if hasattr(method, "keep"):
        clips = data.train[of_labels(data.train, len(old), len(memory))]
        exemplars = replayed(memory, data.train, plan)
        learner = method.keep(learner, clips, exemplars, plan.config, Streams(seed, step))
    return State(learner, memory)


def step_clips(
    kept: tuple[Tensor, ...], data: SplitData, plan: Plan, n_old: int, n_seen: int, m: int
) -> StepClips:
    """The clips that a step may use, with the validation clips that `validation` allows.

    The memory will hold `m` of each class after it.
    """
    training = plan.training
    new = data.train[of_labels(data.train, n_old, n_seen)]
    first = 0 if training.validation == "all_seen" else n_old
    validation = data.validation[of_labels(data.validation, first, n_seen)]
    if training.validation == "memory":
        held = [hold_out(len(rows), training.validation_share) for rows in kept]
        tails = [rows[len(rows) - n :] for rows, n in zip(kept, held, strict=True)]
        validation = join(validation, replayed(tuple(tails), data.train, plan))
        kept = tuple(rows[: len(rows) - n] for rows, n in zip(kept, held, strict=True))
    return StepClips(new, replayed(kept, data.train, plan), validation, m)


def replayed(memory: tuple[Tensor, ...], train: Clips, plan: Plan) -> Clips:
    """The clips of the memory, class by class, as precise as it keeps them."""
    clips = train[torch.cat(memory)]
    return Clips(stored(clips.features, plan.config.bits), clips.labels)


def keep_exemplars(
    old: tuple[Tensor, ...],
    learner: Learner,
    data: SplitData,
    plan: Plan,
    method: ModuleType,
    seed: int,
    step: int,
) -> tuple[Tensor, ...]:
    """Cut old classes to their first m clips; choose as many of each new class.

    m is K // classes seen, where each clip takes its 32 bits a value and nothing else is kept.
    """
    n_old, n_seen = len(old), sum(plan.steps[: step + 1])
    m = per_class(affordable(learner, data.train, plan, method, n_seen), n_seen)
    memory = [rows[:m] for rows in old]
    rng = numpy_generator(seed, "memory", step)
    for label in range(n_old, n_seen):
        rows = of_labels(data.train, label, label + 1)
        if plan.config.memory == "all":
            memory.append(rows)
            continue
        embeddings = in_batches(learner.network.embed, data.train.features[rows])
        chosen = choose(embeddings.cpu().numpy(), m, plan.memory.selection, rng)
        memory.append(rows[torch.from_numpy(chosen).to(rows.device)])
    return tuple(memory)


def affordable(learner: Learner, train: Clips, plan: Plan, method: ModuleType, n_seen: int) -> int:
    """Exemplars in all that fit into the bytes of K clips, beside what else the method keeps.

    None for a method without memory, every clip for one that may keep all.
    """
    if plan.config.memory == "none":
        return 0
    if plan.config.memory == "all":
        return n_seen * len(train)
    has_cost = hasattr(method, "cost")
    cost = method.cost(learner.network, n_seen, plan.config) if has_cost else Cost(0)
    left = plan.exemplars * clip_bytes(train) - cost.fixed
    return max(0, left) // (stored_bytes(train, plan) + cost.per_exemplar)


def measure(learner: Learner, data: SplitData, plan: Plan, n_seen: int) -> NDArray[np.int64]:
    """Confusion counts over the test clips of all classes seen."""
    measured = data.test if plan.measured == "test" else data.validation
    clips = measured[of_labels(measured, 0, n_seen)]
    predicted = predict(learner, clips.features)
    return confusion_counts(clips.labels.cpu().numpy(), predicted.cpu().numpy(), n_seen)


def clip_bytes(clips: Clips) -> int:
    """Bytes of one clip's features, float32."""
    return clips.features[0].nbytes


def stored_bytes(clips: Clips, plan: Plan) -> int:
    """Bytes of one clip's features as the memory keeps them."""
    return clip_bytes(clips) * plan.config.bits // 32


def kept_validation_clips(data: SplitData, training: StepTrainingSettings, n_old: int) -> int:
    """Validation clips of old classes that are kept outside the exemplar memory."""
    return len(of_labels(data.validation, 0, n_old)) if training.validation == "all_seen" else 0
