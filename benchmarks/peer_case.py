"""Our side of the comparison with Avalanche: the case that both run, and our trajectory."""

import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from size import sized

from mtcil.learning.base_step import train_base
from mtcil.learning.clips import Clips, of_labels
from mtcil.learning.fit import Streams
from mtcil.learning.learner import Learner
from mtcil.learning.split import SplitData
from mtcil.learning.trajectory import Plan, advance, start
from mtcil.methods import ccil
from mtcil.running.jobs import method_settings
from mtcil.settings.files import read_study
from mtcil.settings.sections import PhaseSettings

ROOT = Path(__file__).parents[1]
BASE_EPOCHS = sized(10, 1)  # and the study's own 20 + 15 in each step
STUDY = read_study(ROOT / "studies/ten_words/params.yaml")
DATASET, NETWORK = STUDY.datasets["gsc"], STUDY.networks["gsc"]
BASE = replace(STUDY.base_training.fit, epochs=BASE_EPOCHS, patience=None)


def without_end(phase: PhaseSettings) -> PhaseSettings:
    """All its epochs, whatever the validation clips say."""
    return replace(phase, patience=None, epochs=sized(phase.epochs, 1))


HEAD_FIRST = without_end(STUDY.step_training.head_first)
THEN_ALL = without_end(STUDY.step_training.then_all)
STEP = replace(STUDY.step_training, head_first=HEAD_FIRST, then_all=THEN_ALL)
SGD = STUDY.base_training.sgd
now = time.process_time


@dataclass
class Times:
    """CPU seconds of one whole trajectory, and of its epochs by phase."""

    total: float = 0.0
    epochs: dict[str, list[float]] = field(default_factory=dict)
    rows: dict[str, int] = field(default_factory=dict)  # clips passed forward in an epoch
    accuracy: float = 0.0  # 0..1, over all ten classes: did it learn at all?
    begun: float = 0.0

    def epoch_ends(self, phase: str) -> None:
        self.epochs.setdefault(phase, []).append(now() - self.begun)
        self.begun = now()


def clips(n_per_class: int, seed: int) -> Clips:
    """Noise with one bright patch per class, as in benchmarks/training.py."""
    labels = torch.arange(len(DATASET.classes)).repeat_interleave(n_per_class)
    x = torch.randn(len(labels), 1, 32, 32, generator=torch.Generator().manual_seed(seed))
    for row, label in enumerate(labels.tolist()):
        x[row, 0, 3 * label : 3 * label + 3] += 1
    return Clips(x.to(memory_format=torch.channels_last), labels)


TRAIN, TEST = clips(sized(336, 24), seed=0), clips(sized(96, 8), seed=1)


def ours(seed: int) -> Times:
    """Our base step with one head, then our CCIL, as `mtcil.running.run` does it."""
    times, begun = Times(), now()
    data = SplitData(DATASET.classes, {}, TRAIN, TEST, TRAIN[torch.empty(0, dtype=torch.int64)])
    _, config = method_settings(STUDY, "ccil")
    plan = Plan(DATASET.steps, "ccil", config, STEP, STUDY.memory, DATASET.exemplars, NETWORK)
    n_base = DATASET.steps[0]
    base, task = replace(STUDY.base_training, fit=BASE), tuple(range(n_base))
    train = TRAIN[of_labels(TRAIN, 0, n_base)]
    times.begun = now()
    network, _ = train_base(
        train, train[:0], [task], "separate", NETWORK, base, Streams(seed, 0),
        lambda _: times.epoch_ends("base"),
    )  # fmt: skip
    state = start(Learner(network), data, plan, ccil, seed)
    done = [0]

    def report(_: str) -> None:
        done[0] += 1
        first = (done[0] - 1) % (HEAD_FIRST.epochs + THEN_ALL.epochs) < HEAD_FIRST.epochs
        times.epoch_ends("head_first" if first else "then_all")

    for _ in DATASET.steps[1:]:
        times.begun = now()
        state = advance(state, data, plan, ccil, seed, report)
    times.total = now() - begun
    confusion = state.results[-1].confusion
    times.accuracy = float(confusion.trace() / confusion.sum())
    return times
