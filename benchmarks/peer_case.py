"""Our side of the comparison with Avalanche: the case that both run, and our trajectory."""

import math
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from size import sized

from mtcil.learning.base_step import BasePlan, base_clips, learn_base
from mtcil.learning.clips import Clips
from mtcil.learning.fit import Phase, Phases, Seeds, Training, logged, phase_of
from mtcil.learning.learner import Learner
from mtcil.learning.split import SplitData
from mtcil.learning.trajectory import Plan, Run, trajectory
from mtcil.methods import ccil
from mtcil.running.alone import train
from mtcil.running.jobs import method_settings
from mtcil.running.schedules import step_training
from mtcil.settings.files import read_study

ROOT = Path(__file__).parents[1]
STUDY = read_study(ROOT / "studies/ten_words/params.yaml")
DATASET, NETWORK = STUDY.datasets["gsc"], STUDY.networks["gsc"]
SGD = STUDY.base_training.sgd
now = time.process_time


def clips(n_per_class: int, seed: int) -> Clips:
    """Noise with one bright patch per class, as in benchmarks/training.py."""
    labels = torch.arange(len(DATASET.classes)).repeat_interleave(n_per_class)
    x = torch.randn(len(labels), 1, 32, 32, generator=torch.Generator().manual_seed(seed))
    for row, label in enumerate(labels.tolist()):
        x[row, 0, 3 * label : 3 * label + 3] += 1
    return Clips(x.to(memory_format=torch.channels_last), labels)


TRAIN, TEST = clips(sized(336, 24), seed=0), clips(sized(96, 8), seed=1)
# Updates are counted in epochs here, which is how Avalanche counts.
PER_EPOCH = math.ceil(len(base_clips(TRAIN, DATASET.steps[-1])) / SGD.batch)
BASE_EPOCHS, HEAD_FIRST_EPOCHS, THEN_ALL_EPOCHS = sized((10, 20, 15), (1, 1, 1))
BASE = replace(
    phase_of(STUDY.base_training.fit, BASE_EPOCHS * DATASET.steps[0] // 2 * PER_EPOCH),
    patience=None,
)
STEP = step_training(
    STUDY.step_training, HEAD_FIRST_EPOCHS * PER_EPOCH, THEN_ALL_EPOCHS * PER_EPOCH
)
STEP = replace(
    STEP,
    head_first=replace(STEP.head_first, patience=None),
    then_all=replace(STEP.then_all, patience=None),
)


@dataclass
class Times:
    """CPU seconds of one whole trajectory, and of its phases with their updates."""

    total: float = 0.0
    seconds: Counter = field(default_factory=Counter)
    updates: Counter = field(default_factory=Counter)
    rows: Counter = field(default_factory=Counter)  # clips passed forward
    accuracy: float = 0.0  # 0..1, over all ten classes: did it learn at all?

    def per_update(self, phase: str) -> float:
        """CPU seconds of one update of a phase."""
        return self.seconds[phase] / self.updates[phase]


def follow(training: Training, times: Times):  # type: ignore[no-untyped-def]
    """As `mtcil.running.alone.follow`, with a clock."""
    try:
        fit = next(training)
        while True:
            begun = now()
            trained = train(fit)
            times.seconds[fit.name] += now() - begun
            times.updates[fit.name] += trained.updates
            times.rows[fit.name] += trained.updates * fit.clips_per_update
            fit = training.send(trained)
    except StopIteration as ended:
        return ended.value


def ours(seed: int) -> Times:
    """Our base step with one head, then our CCIL, as `mtcil.running.run` does it."""
    times, begun = Times(), now()
    none = TRAIN[torch.empty(0, dtype=torch.int64)]
    data = SplitData(DATASET.classes, {}, TRAIN, TEST, none)
    _, config = method_settings(STUDY, "ccil")
    plan = Plan(
        DATASET.steps, "ccil", config, STEP, "new_only", 0.2, STUDY.memory, DATASET.exemplars,
        NETWORK,
    )  # fmt: skip
    n_base = DATASET.steps[0]
    how = BasePlan([tuple(range(n_base))], "separate", NETWORK, STUDY.base_training, BASE)
    base = learn_base(base_clips(TRAIN, n_base), none, how, Seeds(seed, 0))
    network = follow(logged(base, Phases()), times)
    run = Run(data, plan, ccil, seed)
    results = follow(trajectory(run, Learner(network), BASE.updates), times)
    times.total = now() - begun
    confusion = results[-1].confusion
    times.accuracy = float(confusion.trace() / confusion.sum())
    return times


def describe(phase: Phase) -> str:
    """Length and rate of a phase."""
    return f"{phase.updates} at {phase.learning_rate} ({phase.schedule})"
