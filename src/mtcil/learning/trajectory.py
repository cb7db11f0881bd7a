"""One run: from a base model through every incremental step, with a measure after each."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mtcil.core.randomness import numpy_generator
from mtcil.learning.clips import Clips, join, of_labels
from mtcil.learning.fit import Fit, Phase, Seeds, Training, logged
from mtcil.learning.learner import Learner
from mtcil.learning.memory import choose, held_apart, hold_out, per_class, stored
from mtcil.learning.network import in_batches
from mtcil.learning.split import SplitData
from mtcil.learning.steps import Method, StepClips, StepTraining
from mtcil.records.measures import confusion_counts
from mtcil.settings.sections import MemorySettings, NetworkSettings


@dataclass(frozen=True)
class Plan:
    """The settings in force in one run.

    Attributes:
        method: its file in mtcil/methods.
        config: of the method's own class.
        validation: clips for early stopping: all_seen, new_only, memory.
        validation_share: of the exemplars, under `memory`.
        exemplars: K.
        measured: clips that each step is measured on.
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
    measured: Literal["test", "validation"] = "test"


@dataclass(frozen=True)
class StepResult:
    """What came out of one step.

    Attributes:
        confusion: counts over the test clips of all classes seen.
        updates: of each phase, by name.
        clips_passed: clips passed forward in training.
        memory_bytes: of the exemplars that the step could replay.
        state_bytes: of what else the method kept from the step before.
        validation_bytes: of kept validation clips of old classes, which are memory too.
        teacher_bytes: of the old model that distils; 0 in the base step.
    """

    confusion: NDArray[np.int64]
    updates: dict[str, int]
    clips_passed: int = 0
    memory_bytes: int = 0
    state_bytes: int = 0
    validation_bytes: int = 0
    teacher_bytes: int = 0


@dataclass(frozen=True)
class Run:
    """What a run never changes."""

    data: SplitData
    plan: Plan
    method: Method
    seed: int


def trajectory(run: Run, base: Learner, base_updates: int) -> Training[list[StepResult]]:
    """Learn every incremental step from a base model; the results, the base step's first."""
    memory, learner = yield from _after_step(run, base, (), step=0)
    confusion = measure(run, learner, run.plan.steps[0])
    results = [StepResult(confusion, {"base": base_updates})]
    for step in range(1, len(run.plan.steps)):
        learner, memory, result = yield from _learn_step(run, learner, memory, step)
        results.append(result)
    return results


def _learn_step(
    run: Run, learner: Learner, memory: tuple[Tensor, ...], step: int
) -> Training[tuple[Learner, tuple[Tensor, ...], StepResult]]:
    """Learn one incremental step, bring the memory up to date, and measure it once."""
    data, plan = run.data, run.plan
    n_old = sum(plan.steps[:step])
    n_seen = n_old + plan.steps[step]
    kept, m = memory, per_class(exemplar_budget(run, learner, n_seen), n_seen)
    if plan.memory.selection == "official":  # Mittal et al. cut the memory before the step
        kept = tuple(rows[:m] for rows in kept)
    clips = step_clips(run, kept, n_old, n_seen, m)
    log: list[tuple[Fit, int]] = []
    steps = run.method.learn_step(
        learner, clips, plan.config, _with_rate(plan), Seeds(run.seed, step)
    )
    learnt = yield from logged(steps, log)
    new_memory, after = yield from _after_step(run, learnt, memory, step)
    old_clips = len(of_labels(data.validation, 0, n_old)) if plan.validation == "all_seen" else 0
    result = StepResult(
        measure(run, after, n_seen),
        {fit.name: updates for fit, updates in log},
        clips_passed=sum(updates * fit.clips_per_update for fit, updates in log),
        memory_bytes=sum(len(rows) for rows in kept) * stored_bytes(data.train, plan),
        state_bytes=sum(tensor.nbytes for tensor in learner.tensors.values()),
        validation_bytes=old_clips * clip_bytes(data.train),
        teacher_bytes=sum(p.nbytes for p in learner.network.state_dict().values()),
    )
    return after, new_memory, result


def _with_rate(plan: Plan) -> StepTraining:
    """The training in force: the method's own learning rate, if its settings have one."""
    rate = plan.config.learning_rate
    if rate is None:
        return plan.training

    def at_rate(phase: Phase) -> Phase:
        return replace(phase, learning_rate=rate)

    return replace(
        plan.training,
        then_all=at_rate(plan.training.then_all),
        whole=at_rate(plan.training.whole),
    )


def _after_step(
    run: Run, learner: Learner, old: tuple[Tensor, ...], step: int
) -> Training[tuple[tuple[Tensor, ...], Learner]]:
    """What is carried out of a step: exemplars, and whatever else the method keeps."""
    memory = choose_exemplars(run, learner, old, step)
    clips = run.data.train[of_labels(run.data.train, len(old), len(memory))]
    exemplars = exemplar_clips(run, memory)
    steps = run.method.state_after(
        learner, clips, exemplars, run.plan.config, Seeds(run.seed, step)
    )
    learner = yield from logged(steps, [])
    return memory, learner


def step_clips(run: Run, exemplars: Sequence[Tensor], n_old: int, n_seen: int, m: int) -> StepClips:
    """The clips that a step may use, with the validation clips that the plan allows.

    The memory will hold `m` of each class after it.
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
    """Rows of the training clips kept of each class seen, best first.

    Old classes are cut to their first m clips, and as many of each new class are chosen. m is
    K // classes seen, where each clip takes its 32 bits a value and nothing else is kept.
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
        embeddings = in_batches(learner.network.embed, train.features[rows])
        chosen = choose(embeddings.cpu().numpy(), m, plan.memory.selection, rng)
        memory.append(rows[torch.from_numpy(chosen).to(rows.device)])
    return tuple(memory)


def exemplar_budget(run: Run, learner: Learner, n_seen: int) -> int:
    """Exemplars in all that fit into the bytes of K clips, beside what else the method keeps.

    State smaller than a clip takes none away. None for a method without memory, every clip for
    one that may keep all.
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
    """Confusion counts over the test clips of all classes seen."""
    measured = run.data.test if run.plan.measured == "test" else run.data.validation
    clips = measured[of_labels(measured, 0, n_seen)]
    predicted = in_batches(lambda part: run.method.predict(learner, part), clips.features)
    return confusion_counts(clips.labels.cpu().numpy(), predicted.cpu().numpy(), n_seen)


def clip_bytes(clips: Clips) -> int:
    """Bytes of one clip's features, float32."""
    return clips.features[0].nbytes


def stored_bytes(clips: Clips, plan: Plan) -> int:
    """Bytes of one clip's features as the memory keeps them."""
    return clip_bytes(clips) * plan.config.bits // 32
