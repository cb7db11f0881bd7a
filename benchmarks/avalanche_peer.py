"""Peer: Avalanche's replay and our CCIL on one network, the same clips, batches and epochs.

`python benchmarks/avalanche_peer.py [directory]` prints Markdown. Avalanche is no dependency of
this project: the script makes an environment of its own in `directory` (.venv/avalanche unless
given; needs the network once) and runs itself there, both sides in one process of one thread.
CPU seconds, interleaved, medians. Below the tables it prints what is equal and what is not.

Avalanche's wheel asks for more than it uses. What `avalanche.training` imports is installed;
torchvision without its dependencies, as it is published for CUDA only. With a CPU build of torch
its binary does not load, and importing it fails because the operators `nms` and `qnms` are not
there. They are *declared* here, without code, so that the import passes: nothing calls them.
"""

import os
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import environment

os.environ["OMP_NUM_THREADS"] = "1"
ROOT = Path(__file__).parents[1]
WITH_DEPENDENCIES = (
    "torch==2.13.0", "numpy==2.4.6", "pandas==3.1.1", "joblib==1.6.0", "ruamel.yaml==0.19.1",
    "dill==0.4.1", "gdown==6.5.1", "gputil==1.4.0", "matplotlib==3.11.2", "packaging==26.3",
    "psutil==7.2.2", "qpsolvers==4.13.0", "scikit-learn==1.9.1", "setuptools==84.2.1",
    "tensorboard==2.21.0", "tqdm==4.70.1", "wandb==0.31.0",
)  # fmt: skip
ALONE = (
    "avalanche-lib==0.6.0", "torchvision==0.28.0", "torchmetrics==1.9.0", "pytorchcv==0.0.74",
    "lightning-utilities==0.15.3", "pillow==13.0.0",
)  # fmt: skip
REPEATS = 3
BASE_EPOCHS = 10  # and the study's own 20 + 15 in each step


if __name__ == "__main__" and sys.argv[1:] != ["--inside"]:
    directory = Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / ".venv/avalanche")
    python = environment.make(directory, WITH_DEPENDENCIES, ALONE)
    command = [str(python), __file__, "--inside"]
    sys.exit(subprocess.run(command, env=environment.variables()).returncode)

import torch  # noqa: E402

if torch.version.cuda is None:
    OPERATORS = torch.library.Library("torchvision", "DEF")
    for operator in ("nms", "qnms"):
        OPERATORS.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
for message in ("no QP solver found", "No loggers specified"):  # GEM's, not used; meant so
    warnings.filterwarnings("ignore", message=message)

from avalanche.benchmarks import tensors_benchmark  # noqa: E402
from avalanche.evaluation.metrics import accuracy_metrics  # noqa: E402
from avalanche.models import IncrementalClassifier  # noqa: E402
from avalanche.training import Naive  # noqa: E402
from avalanche.training.plugins import (  # noqa: E402
    EvaluationPlugin,
    ReplayPlugin,
    SupervisedPlugin,
)

from mtcil.base import train_base  # noqa: E402
from mtcil.clips import Clips, of_labels  # noqa: E402
from mtcil.data import SplitData  # noqa: E402
from mtcil.learner import Learner  # noqa: E402
from mtcil.methods import ccil  # noqa: E402
from mtcil.models import Network, train_mode  # noqa: E402
from mtcil.runs import method_settings, prepare_worker  # noqa: E402
from mtcil.settings import PhaseSettings  # noqa: E402
from mtcil.study import read_study  # noqa: E402
from mtcil.training import Streams, learning_rate  # noqa: E402
from mtcil.trajectory import Plan, advance, start  # noqa: E402

STUDY = read_study(ROOT / "studies/ten_words/params.yaml")
DATASET, NETWORK = STUDY.datasets["gsc"], STUDY.networks["gsc"]
BASE = replace(STUDY.base_training.fit, epochs=BASE_EPOCHS, patience=None)
HEAD_FIRST = replace(STUDY.step_training.head_first, patience=None)
THEN_ALL = replace(STUDY.step_training.then_all, patience=None)
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


TRAIN, TEST = clips(336, seed=0), clips(96, seed=1)


def ours(seed: int) -> Times:
    """Our base step with one head, then our CCIL, as `mtcil.runs` does it."""
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


class Recipe(SupervisedPlugin):
    """Our learning rates, epoch by epoch; our frozen blocks too, where `frozen` is not 0.

    Each phase starts with no momentum, as ours does. It also reads the clock.
    """

    def __init__(self, times: Times, frozen: int):
        super().__init__()
        self.times, self.frozen, self.phase = times, frozen, ""

    def before_training_epoch(self, strategy: Any, **_: Any) -> None:
        step, epoch = strategy.experience.current_experience, strategy.clock.train_exp_epochs
        phase, settings, frozen = "base", BASE, 0
        if step and epoch < HEAD_FIRST.epochs:
            phase, settings, frozen = "head_first", HEAD_FIRST, self.frozen
        elif step:
            phase, settings, epoch = "then_all", THEN_ALL, epoch - HEAD_FIRST.epochs
        if epoch == 0:
            strategy.optimizer.state.clear()
        train_mode(strategy.model, frozen)
        strategy.optimizer.param_groups[0]["lr"] = learning_rate(settings, epoch)
        self.phase, self.times.rows[phase], self.times.begun = phase, 0, now()

    def after_training_iteration(self, strategy: Any, **_: Any) -> None:
        self.times.rows[self.phase] += len(strategy.mb_x)

    def after_training_epoch(self, strategy: Any, **_: Any) -> None:
        self.times.epoch_ends(self.phase)


def avalanche(frozen: int, seed: int) -> Times:
    """Naive and ReplayPlugin; the head grows with Avalanche's IncrementalClassifier."""
    times, begun = Times(), now()
    torch.manual_seed(seed)
    network = Network(NETWORK, DATASET.steps[0], Streams(seed, 0).generator("weights"))
    head = IncrementalClassifier(network.head.in_features, DATASET.steps[0], masking=False)
    head.classifier = network.head
    network.head = head
    ends = [sum(DATASET.steps[: step + 1]) for step in range(len(DATASET.steps))]
    parts = [
        [
            (part.features, part.labels)
            for end, n in zip(ends, DATASET.steps, strict=True)
            for part in [whole[of_labels(whole, end - n, end)]]
        ]
        for whole in (TRAIN, TEST)
    ]
    benchmark = tensors_benchmark(
        train_tensors=parts[0], test_tensors=parts[1], task_labels=[0] * len(DATASET.steps)
    )
    optimiser = torch.optim.SGD(
        network.parameters(), BASE.learning_rate, SGD.momentum, weight_decay=SGD.weight_decay
    )
    strategy = Naive(
        model=network,
        optimizer=optimiser,
        train_mb_size=SGD.batch,
        train_epochs=BASE.epochs,
        eval_mb_size=256,
        plugins=[ReplayPlugin(mem_size=DATASET.exemplars), Recipe(times, frozen)],
        evaluator=EvaluationPlugin(accuracy_metrics(stream=True), loggers=[]),
    )
    measured: dict[str, Any] = {}
    for step, experience in enumerate(benchmark.train_stream):
        strategy.train_epochs = HEAD_FIRST.epochs + THEN_ALL.epochs if step else BASE.epochs
        strategy.train(experience, num_workers=0)
        measured = strategy.eval(benchmark.test_stream[: step + 1], num_workers=0)
    times.total = now() - begun
    times.accuracy = next(v for k, v in measured.items() if k.startswith("Top1_Acc_Stream"))
    return times


CASES: dict[str, Callable[[int], Times]] = {
    "ours, CCIL": ours,
    "Avalanche, Naive and ReplayPlugin": partial(avalanche, 0),
    "the same, our frozen blocks": partial(avalanche, STEP.frozen_blocks),
}


def middle(runs: list[Times], phase: str) -> float:
    return statistics.median(t for run in runs for t in run.epochs[phase])


def describe(phase: PhaseSettings) -> str:
    return f"{phase.epochs} at {phase.learning_rate} ({phase.schedule})"


NOTES = """
Equal: the network (`mtcil.models.Network`, the same first weights, dropout at the same rate), \
the clips and their order of classes, SGD with the same momentum and weight decay, the learning \
rates, epochs and batch ({batch}), K = {k} exemplars, no early stopping, one test of all classes \
seen after each step, one thread, denormals flushed and memory kept (`prepare_worker`), the \
process. A batch of a step holds {batch} new clips on both sides; an epoch has as many batches.

Not equal:
- What is learnt. Theirs: one cross entropy over new clips and exemplars. Ours: cross entropy of \
the new clips among the new classes, of a balanced set (exemplars and as many new clips) among \
all, and distillation of both from the old network, whose logits are computed once per step.
- The clips beside the new ones: ours are always {batch}, of the balanced set; theirs are up to \
{batch} exemplars, fewer where a pass over the memory ends. One epoch of a step passes \
{our_rows} clips forward in ours, {rows} in theirs: per clip, a then_all epoch of theirs takes \
{per_clip:.2f} x ours.
- `head_first` freezes all blocks in ours, and what they make of the clips is computed once per \
phase. Naive has no such phase: it trains everything in those epochs. The last row freezes the \
same blocks by a plugin of this file, and still passes every batch forward through them.
- Exemplars: theirs chosen at random, {k} shared by the steps seen; ours by herding, {k} // \
classes of each class seen.
- Batches: theirs are gathered clip by clip by a DataLoader (no workers); ours by one index.
- Avalanche is lightened: its logger is off and one metric is left of the default ones.
- The medians of epochs leave out what a step does once (the teacher's logits, the frozen blocks' \
maps, choosing exemplars, testing); the trajectory holds all of it.
- Accuracy is on noise with an easy mark: it says that both sides learn, nothing more.
"""


def main() -> None:
    prepare_worker("cpu")
    names = ("avalanche-lib", "torch", "torchvision", "numpy")
    print(f"{', '.join(f'{name} {version(name)}' for name in names)}; CPU, one thread")
    steps = "-".join(map(str, DATASET.steps))
    print(
        f"{steps} classes, {len(TRAIN) // sum(DATASET.steps)} clips each; epochs: base "
        f"{describe(BASE)}, each step {describe(HEAD_FIRST)} then {describe(THEN_ALL)}; "
        f"medians of {REPEATS} runs, and of all epochs in them\n"
    )
    found: dict[str, list[Times]] = {name: [] for name in CASES}
    for seed in range(REPEATS):
        for name, run in CASES.items():
            found[name].append(run(seed))
    first = found["ours, CCIL"]
    total = statistics.median(run.total for run in first)
    print(
        "| CPU s (x ours, CCIL) | base epoch | head_first epoch | then_all epoch "
        "| trajectory | accuracy |\n| --- | --- | --- | --- | --- | --- |"
    )
    for name, runs in found.items():
        cells = [name]
        for phase in ("base", "head_first", "then_all"):
            seconds = middle(runs, phase)
            cells.append(f"{seconds:.3f} ({seconds / middle(first, phase):.2f})")
        seconds = statistics.median(run.total for run in runs)
        spread = f"{min(r.total for r in runs):.1f} to {max(r.total for r in runs):.1f}"
        cells.append(f"{seconds:.1f}, {spread} ({seconds / total:.2f})")
        cells.append(f"{statistics.median(run.accuracy for run in runs):.2f}")
        print(f"| {' | '.join(cells)} |")
    theirs = found["Avalanche, Naive and ReplayPlugin"]
    rows, n_new = theirs[0].rows["then_all"], len(of_labels(TRAIN, 0, DATASET.steps[-1]))
    our_rows = n_new + -(-n_new // SGD.batch) * SGD.batch
    per_clip = middle(theirs, "then_all") / rows / (middle(first, "then_all") / our_rows)
    print(
        NOTES.format(
            batch=SGD.batch, k=DATASET.exemplars, rows=rows, our_rows=our_rows, per_clip=per_clip
        )
    )


if __name__ == "__main__":
    main()
