"""Seconds per epoch of base training, by heads (paper, Table 1)."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from mtcil.core.randomness import numpy_generator
from mtcil.learning.base_step import BasePlan, learn_base
from mtcil.learning.clips import Clips
from mtcil.learning.fit import Phases, Seeds, logged, phase_of
from mtcil.learning.protocol import draw_tasks
from mtcil.running.alone import follow
from mtcil.settings.sections import Heads, NetworkSettings
from mtcil.settings.training import BaseTrainingSettings


@dataclass(frozen=True)
class Timing:
    """Time of one epoch with one heads setting.

    Attributes:
        round: number of the round.
        seconds: wall-clock time.
        cpu_seconds: CPU time of this process; compare this if the machine has other work.
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
    """Time an epoch of every heads setting in turn, so that a slow minute affects all equally.

    In an epoch, all training clips pass through the full head once. Each setting is timed with
    `separate` passes and with a `shared` one, except for `all`: the paper calls its separate
    passes infeasible. Validation is not timed. The start-up time is subtracted: two epochs
    and one epoch are timed. The first round is not kept, since new shapes cost more then.

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
    fit = replace(settings.fit, patience=None)
    found = []
    for turn in range(-1, rounds):
        for text, passes in cases:
            tasks = draw_tasks(Heads.parse(text, n_base), n_base, numpy_generator(0, "tasks"))
            plan = BasePlan(tasks, passes, network, settings, phase_of(fit, epoch))
            wall, cpu = _clocks(train, plan)
            plan = replace(plan, phase=phase_of(fit, 2 * epoch))
            wall_2, cpu_2 = _clocks(train, plan)
            found.append(Timing(text, passes, turn, wall_2 - wall, cpu_2 - cpu))
    return [timing for timing in found if timing.round >= 0]


def _clocks(train: Clips, plan: BasePlan) -> tuple[float, float]:
    """Wall-clock and CPU seconds for one base model."""
    steps = learn_base(train, train[train.labels.new_empty(0)], plan, Seeds(0, 0))
    wall, cpu = time.perf_counter(), time.process_time()
    follow(logged(steps, Phases()))
    if train.features.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - wall, time.process_time() - cpu
