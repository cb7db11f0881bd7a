"""One run: from a base model through every incremental step, with a measure after each."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from types import ModuleType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mtcil.clips import Clips, join, of_labels
from mtcil.data import SplitData
from mtcil.learner import Learner, from_plain, predict, to_plain
from mtcil.memory import choose, hold_out, per_class
from mtcil.methods import StepClips
from mtcil.metrics import confusion_counts
from mtcil.models import in_batches
from mtcil.randomness import numpy_generator
from mtcil.settings import MemorySettings, NetworkSettings, StepTrainingSettings
from mtcil.training import Streams


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


@dataclass(frozen=True)
class StepResult:
    """What came out of one step.

    Attributes:
        confusion: counts over the test clips of all classes seen.
        epochs: epochs of each phase.
        memory_bytes: of the exemplars that the step could replay.
        validation_bytes: of kept validation clips of old classes, which are memory too.
        teacher_bytes: of the old model that distils; 0 in the base step.
    """

    confusion: NDArray[np.int64]
    epochs: dict[str, int]
    memory_bytes: int
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


def start(learner: Learner, data: SplitData, plan: Plan, seed: int) -> State:
    """After the base step: measure it and keep exemplars of the base classes."""
    memory = keep_exemplars((), learner, data, plan, seed, step=0)
    confusion = measure(learner, data, plan.steps[0])
    return State(learner, memory, (StepResult(confusion, dict(learner.epochs), 0, 0, 0),))


def advance(
    state: State,
    data: SplitData,
    plan: Plan,
    method: ModuleType,
    seed: int,
    report: Callable[[str], None] | None = None,
) -> State:
    """Learn the next incremental step, measure it once, and bring the memory up to date."""
    step = len(state.results)
    n_old = sum(plan.steps[:step])
    n_seen = n_old + plan.steps[step]
    kept = state.memory
    if plan.memory.selection == "official":  # Mittal et al. cut the memory before the step
        kept = tuple(rows[: per_class(plan.exemplars, n_seen)] for rows in kept)
    clips = step_clips(kept, data, plan.training, n_old, n_seen)
    learner = method.learn_step(
        state.learner, clips, plan.training, plan.config, Streams(seed, step), report
    )
    memory = keep_exemplars(state.memory, learner, data, plan, seed, step)
    result = StepResult(
        measure(learner, data, n_seen),
        dict(learner.epochs),
        memory_bytes=sum(len(rows) for rows in kept) * clip_bytes(data.train),
        validation_bytes=kept_validation_clips(data, plan.training, n_old) * clip_bytes(data.train),
        teacher_bytes=sum(p.nbytes for p in state.learner.network.state_dict().values()),
    )
    return State(learner, memory, (*state.results, result))


def step_clips(
    kept: tuple[Tensor, ...],
    data: SplitData,
    training: StepTrainingSettings,
    n_old: int,
    n_seen: int,
) -> StepClips:
    """The clips that a step may use, with the validation clips that `validation` allows."""
    new = data.train[of_labels(data.train, n_old, n_seen)]
    first = 0 if training.validation == "all_seen" else n_old
    validation = data.validation[of_labels(data.validation, first, n_seen)]
    if training.validation == "memory":
        held = [hold_out(len(rows), training.validation_share) for rows in kept]
        tails = [rows[len(rows) - n :] for rows, n in zip(kept, held, strict=True)]
        validation = join(validation, data.train[torch.cat(tails)])
        kept = tuple(rows[: len(rows) - n] for rows, n in zip(kept, held, strict=True))
    return StepClips(new, data.train[torch.cat(kept)], validation)


def keep_exemplars(
    old: tuple[Tensor, ...], learner: Learner, data: SplitData, plan: Plan, seed: int, step: int
) -> tuple[Tensor, ...]:
    """Cut old classes to their first K // classes seen clips; choose as many of each new class."""
    n_old, n_seen = len(old), sum(plan.steps[: step + 1])
    m = per_class(plan.exemplars, n_seen)
    memory = [rows[:m] for rows in old]
    rng = numpy_generator(seed, "memory", step)
    for label in range(n_old, n_seen):
        rows = of_labels(data.train, label, label + 1)
        embeddings = in_batches(learner.network.embed, data.train.features[rows])
        chosen = choose(embeddings.cpu().numpy(), m, plan.memory.selection, rng)
        memory.append(rows[torch.from_numpy(chosen).to(rows.device)])
    return tuple(memory)


def measure(learner: Learner, data: SplitData, n_seen: int) -> NDArray[np.int64]:
    """Confusion counts over the test clips of all classes seen."""
    test = data.test[of_labels(data.test, 0, n_seen)]
    predicted = predict(learner, test.features)
    return confusion_counts(test.labels.cpu().numpy(), predicted.cpu().numpy(), n_seen)


def clip_bytes(clips: Clips) -> int:
    """Bytes of one clip's features, float32."""
    return clips.features[0].nbytes


def kept_validation_clips(data: SplitData, training: StepTrainingSettings, n_old: int) -> int:
    """Validation clips of old classes that are kept outside the exemplar memory."""
    return len(of_labels(data.validation, 0, n_old)) if training.validation == "all_seen" else 0


def state_to_plain(state: State) -> dict[str, Any]:
    """Tensors, text and numbers only, to be saved after each step."""
    return {
        "learner": to_plain(state.learner),
        "memory": [rows.cpu() for rows in state.memory],
        "results": [
            {**result.__dict__, "confusion": torch.from_numpy(result.confusion)}
            for result in state.results
        ],
    }


def state_from_plain(
    plain: dict[str, Any], network: NetworkSettings, device: torch.device
) -> State:
    """The state that `state_to_plain` was given, on `device`."""
    results = [
        replace(StepResult(**result), confusion=result["confusion"].numpy())
        for result in plain["results"]
    ]
    memory = tuple(rows.to(device) for rows in plain["memory"])
    return State(from_plain(plain["learner"], network, device), memory, tuple(results))
