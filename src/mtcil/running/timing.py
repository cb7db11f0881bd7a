"""Seconds per epoch of base training, by heads (paper, Table 1)."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from mtcil.core.randomness import numpy_generator
from mtcil.learning.base_step import learn_base
from mtcil.learning.clips import Clips
from mtcil.learning.fit import Seeds, logged, phase_of
from mtcil.learning.protocol import draw_tasks
from mtcil.running.alone import follow
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

    An epoch is as many updates as pass all training clips through the full head. Each setting is
    timed with `separate` passes and with a `shared` one, except for `all`, where separate passes
    are what the paper calls infeasible. Validation is left out; what starting takes is
    subtracted: two epochs are timed, and one.

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
    epoch = math.ceil(len(train) / settings.sgd.batch)
    none = train[train.labels.new_empty(0)]
    found = []
    for turn in range(rounds):
        for text, passes in cases:
            tasks = draw_tasks(Heads.parse(text, n_base), n_base, numpy_generator(0, "tasks"))

            def clocks(
                n_epochs: int, tasks: list[tuple[int, ...]] = tasks, passes: str = passes
            ) -> tuple[float, float]:
                phase = phase_of(replace(settings.fit, patience=None), n_epochs * epoch)
                steps = learn_base(
                    train, none, tasks, passes, network, settings, phase, Seeds(0, 0)
                )
                wall, cpu = time.perf_counter(), time.process_time()
                follow(logged(steps, []))
                if train.features.is_cuda:
                    torch.cuda.synchronize()
                return time.perf_counter() - wall, time.process_time() - cpu

            (wall, cpu), (wall_2, cpu_2) = clocks(1), clocks(2)
            found.append(Timing(text, passes, turn, wall_2 - wall, cpu_2 - cpu))
    return found
