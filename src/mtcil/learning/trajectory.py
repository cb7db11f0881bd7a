"""One run: every incremental step from a base model, with a measurement after each."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mtcil.core.randomness import numpy_generator
from mtcil.learning.clips import Clips, join, of_labels, rows_not_in
from mtcil.learning.fit import Phase, Phases, Seeds, Training, logged
from mtcil.learning.learner import Learner
from mtcil.learning.memory import choose, held_apart, hold_out, per_class, stored
from mtcil.learning.network import in_batches
from mtcil.learning.split import SplitData
from mtcil.learning.steps import Method, StepClips, StepTraining
from mtcil.records.measures import confusion_counts
from mtcil.settings.sections import NetworkSettings
from mtcil.settings.training import MemorySettings


@dataclass(frozen=True)
class Plan:
    """The settings of one run.

    Attributes:
        method: a file of mtcil/methods.
        config: the method's own `Config`.
        validation: clips for early stopping: all_seen, new_only, memory.
        validation_share: share of the exemplars, only for `memory`.
        exemplars: K, the memory budget.
        measured: the clips that each step is measured on; `held_out`: validation and test clips
            together, to tune with in a study that reports nothing.
    """

    steps: tuple[int, ...]
    method: str
    config: Any
    training: StepTraining
    validation: Literal["all_seen", "new_only", "memory"]
    validation_share: float
    memory: MemorySettings
    exemplars: int
    network: NetworkSettings
    measured: Literal["test", "held_out"] = "test"


@dataclass(frozen=True)
class StepResult:
    """The result of one step.

    Attributes:
        confusion: counts over the measured clips of all classes seen.
        updates: of each phase, by name.
        clips_passed: clips in the forward passes of training.
        diverged: whether a weight of the network is NaN or infinite.
        memory_bytes: exemplars that the step could replay.
        state_bytes: other state that the method kept from the previous step.
        validation_bytes: validation clips of old classes; keeping them costs memory too.
        teacher_bytes: the old model, the teacher; 0 in the base step.
    """

    confusion: NDArray[np.int64]
    updates: dict[str, int]
    clips_passed: int = 0
    diverged: bool = False
    memory_bytes: int = 0
    state_bytes: int = 0
    validation_bytes: int = 0
    teacher_bytes: int = 0


@dataclass(frozen=True)
class Run:
    """The inputs of a run, which it does not change."""

    data: SplitData
    plan: Plan
    method: Method
    seed: int


def trajectory(run: Run, base: Learner, base_updates: int) -> Training[list[StepResult]]:
    """Learn every incremental step from a base model; return all results, base step first."""
    phases = Phases()
    memory, learner = yield from _after_step(run, base, (), 0, phases)
    confusion = measure(run, learner, run.plan.steps[0])
    results = [
        StepResult(confusion, {"base": base_updates} | phases.updates, diverged=phases.diverged)
    ]
    for step in range(1, len(run.plan.steps)):
        learner, memory, result = yield from _learn_step(run, learner, memory, step)
        results.append(result)
    return results


def _learn_step(
    run: Run, learner: Learner, memory: tuple[Tensor, ...], step: int
) -> Training[tuple[Learner, tuple[Tensor, ...], StepResult]]:
    """Learn one incremental step, update the memory, and measure once."""
    data, plan = run.data, run.plan
    n_old = sum(plan.steps[:step])
    n_seen = n_old + plan.steps[step]
    kept, m = memory, per_class(exemplar_budget(run, learner, n_seen), n_seen)
    if plan.memory.selection == "official":  # Mittal et al. cut the memory before the step
        kept = tuple(rows[:m] for rows in kept)
    clips = step_clips(run, kept, n_old, n_seen, m)
    phases = Phases()
    steps = run.method.learn_step(
        learner, clips, plan.config, training_of(plan), Seeds(run.seed, step)
    )
    learnt = yield from logged(steps, phases)
    new_memory, after = yield from _after_step(run, learnt, memory, step, phases)
    old_clips = len(of_labels(data.validation, 0, n_old)) if plan.validation == "all_seen" else 0
    result = StepResult(
        measure(run, after, n_seen),
        phases.updates,
        clips_passed=phases.clips_passed,
        diverged=phases.diverged,
        memory_bytes=sum(len(rows) for rows in kept) * stored_bytes(data.train, plan),
        state_bytes=learner.state_bytes,
        validation_bytes=old_clips * clip_bytes(data.train),
        teacher_bytes=sum(p.nbytes for p in learner.network.state_dict().values()),
    )
    return after, new_memory, result


def training_of(plan: Plan) -> StepTraining:
    """The training of a step, with the method's own learning rate and length."""
    rate, length = plan.config.learning_rate, plan.config.length

    def own(phase: Phase, rate: float | None) -> Phase:
        updates = round(length * phase.updates)
        return replace(phase, updates=updates, learning_rate=rate or phase.learning_rate)

    return replace(
        plan.training,
        head_first=own(plan.training.head_first, None),
        then_all=own(plan.training.then_all, rate),
        whole=own(plan.training.whole, rate),
    )


def _after_step(
    run: Run, learner: Learner, old: tuple[Tensor, ...], step: int, phases: Phases
) -> Training[tuple[tuple[Tensor, ...], Learner]]:
    """What a step passes on: exemplars, and whatever else the method keeps."""
    memory = choose_exemplars(run, learner, old, step)
    clips = run.data.train[of_labels(run.data.train, len(old), len(memory))]
    exemplars = exemplar_clips(run, memory)
    steps = run.method.state_after(
        learner, clips, exemplars, run.plan.config, Seeds(run.seed, step)
    )
    learner = yield from logged(steps, phases)
    return memory, learner


def step_clips(run: Run, exemplars: Sequence[Tensor], n_old: int, n_seen: int, m: int) -> StepClips:
    """The clips that a step may use, with the validation clips that the plan allows.

    The memory holds `m` clips of each class after the step.
    """
    data, plan = run.data, run.plan
    new = data.train[of_labels(data.train, n_old, n_seen)]
    first = 0 if plan.validation == "all_seen" else n_old
    validation = data.validation[of_labels(data.validation, first, n_seen)]
    if plan.validation == "memory":
        held = [hold_out(len(rows), plan.validation_share) for rows in exemplars]
        tails = [rows[len(rows) - n :] for rows, n in zip(exemplars, held, strict=True)]
        validation = join(validation, exemplar_clips(run, tails))
        exemplars = [rows[: len(rows) - n] for rows, n in zip(exemplars, held, strict=True)]
    memory = exemplar_clips(run, exemplars)
    return StepClips(new, memory, validation, m, n_old, n_seen - n_old)


def exemplar_clips(run: Run, exemplars: Sequence[Tensor]) -> Clips:
    """The stored exemplars, grouped by class, at their stored precision."""
    clips = run.data.train[torch.cat(list(exemplars))]
    return Clips(stored(clips.features, run.plan.config.bits), clips.labels)


def choose_exemplars(
    run: Run, learner: Learner, old: tuple[Tensor, ...], step: int
) -> tuple[Tensor, ...]:
    """Rows of the training clips to keep, for each class seen, best first.

    Old classes are cut to their first m clips, and m clips of each new class are chosen. m is
    K // classes seen, assuming 32-bit features and no other state.
    """
    train, plan = run.data.train, run.plan
    n_old, n_seen = len(old), sum(plan.steps[: step + 1])
    m = per_class(exemplar_budget(run, learner, n_seen), n_seen)
    memory = [rows[:m] for rows in old]
    rng = numpy_generator(run.seed, "memory", step)
    for label in range(n_old, n_seen):
        rows = of_labels(train, label, label + 1)
        if plan.config.memory == "all":
            memory.append(rows)
            continue
        if learner.apart is not None:
            rows = rows[rows_not_in(train.features[rows], learner.apart.features)]
        embeddings = in_batches(learner.network.embed, train.features[rows])
        chosen = choose(embeddings.cpu().numpy(), m, plan.memory.selection, rng)
        memory.append(rows[torch.from_numpy(chosen).to(rows.device)])
    return tuple(memory)


def exemplar_budget(run: Run, learner: Learner, n_seen: int) -> int:
    """Number of exemplars that fit into the bytes of K clips, with the method's other state.

    State smaller than one clip does not count. A method without memory gets 0; with
    `memory: all` every clip is kept.
    """
    train, plan = run.data.train, run.plan
    if plan.config.memory == "none":
        return 0
    if plan.config.memory == "all":
        return n_seen * len(train)
    cost = run.method.cost(learner.network, n_seen, plan.config)
    fixed = cost.fixed if cost.fixed >= clip_bytes(train) else 0
    left = max(0, plan.exemplars * clip_bytes(train) - fixed)
    if cost.share:
        whole = left // clip_bytes(train) // n_seen  # clips of each class
        left = n_seen * (whole - held_apart(whole, cost.share)) * clip_bytes(train)
    return left // (stored_bytes(train, plan) + cost.per_exemplar)


def measure(run: Run, learner: Learner, n_seen: int) -> NDArray[np.int64]:
    """Confusion counts over the measured clips of all classes seen."""
    clips = run.data.test
    if run.plan.measured == "held_out":
        clips = join(run.data.validation, clips)
    clips = clips[of_labels(clips, 0, n_seen)]
    predicted = in_batches(lambda part: run.method.predict(learner, part), clips.features)
    return confusion_counts(clips.labels.cpu().numpy(), predicted.cpu().numpy(), n_seen)


def clip_bytes(clips: Clips) -> int:
    """Bytes of one clip's features, float32."""
    return clips.features[0].nbytes


def stored_bytes(clips: Clips, plan: Plan) -> int:
    """Bytes of one clip's features at the precision of the memory."""
    return clip_bytes(clips) * plan.config.bits // 32
