"""Seconds per epoch of base training, by heads (paper, Table 1)."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from mtcil.core.randomness import numpy_generator
from mtcil.learning.base_step import train_base
from mtcil.learning.clips import Clips
from mtcil.learning.fit import Streams
from mtcil.learning.protocol import draw_tasks
from mtcil.settings.sections import BaseTrainingSettings, Heads, NetworkSettings


@dataclass(frozen=True)
class Timing:
    """One epoch of one heads setting.

    Attributes:
        round: in which turn it was timed.
        seconds: of the clock.
        cpu_seconds: of this process; what to compare where the machine does other work.
    """

    heads: str
    passes: str
    round: int
    seconds: float
    cpu_seconds: float


def time_heads(
    train: Clips,
    heads: Sequence[str],
    rounds: int,
    network: NetworkSettings,
    settings: BaseTrainingSettings,
) -> list[Timing]:
    """Time an epoch of every heads setting in turns, so that a slow minute falls on all alike.

    Each is timed with `separate` passes and with a `shared` one, except for `all`, where separate
    passes are what the paper calls infeasible. Validation is left out; the epoch timed comes
    after one that is not.

    Args:
        train: training clips of the base classes.
    """
    n_base = int(train.labels.max()) + 1
    cases = [
        (text, passes)
        for text in heads
        for passes in ("separate", "shared")
        if (text, passes) != ("all", "separate")
    ]
    fit = replace(settings.fit, epochs=2, patience=None)
    none = train[train.labels.new_empty(0)]
    found = []
    for turn in range(rounds):
        for text, passes in cases:
            tasks = draw_tasks(Heads.parse(text, n_base), n_base, numpy_generator(0, "tasks"))
            ends: list[tuple[float, float]] = []

            def epoch_ended(_: str, ends: list[tuple[float, float]] = ends) -> None:
                if train.features.is_cuda:
                    torch.cuda.synchronize()
                ends.append((time.perf_counter(), time.process_time()))

            train_base(
                train, none, tasks, passes, network, replace(settings, fit=fit),
                Streams(0, 0), epoch_ended,
            )  # fmt: skip
            (wall, cpu), (wall_2, cpu_2) = ends
            found.append(Timing(text, passes, turn, wall_2 - wall, cpu_2 - cpu))
    return found
