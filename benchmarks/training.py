"""Training: heads per epoch, the fast step against the obvious one, whole runs, two jobs.

One thread per process, CPU seconds, interleaved, medians. `python benchmarks/training.py [--tiny]`
prints Markdown; the clips are made here: speed does not depend on what they hold.
"""

import math
import os
import statistics
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"
ROOT = Path(__file__).parents[1]

import straightforward  # noqa: E402
import torch  # noqa: E402
from size import sized  # noqa: E402

from mtcil.core.randomness import numpy_generator  # noqa: E402
from mtcil.learning.base_step import BasePlan, base_clips, learn_base  # noqa: E402
from mtcil.learning.clips import Clips, of_labels  # noqa: E402
from mtcil.learning.fit import Phase, Phases, Seeds, logged, phase_of  # noqa: E402
from mtcil.learning.learner import Learner  # noqa: E402
from mtcil.learning.network import Network  # noqa: E402
from mtcil.learning.protocol import draw_tasks  # noqa: E402
from mtcil.learning.split import load_split  # noqa: E402
from mtcil.learning.steps import StepClips  # noqa: E402
from mtcil.learning.trajectory import Plan, Run, trajectory  # noqa: E402
from mtcil.methods import ccil  # noqa: E402
from mtcil.running.alone import follow  # noqa: E402
from mtcil.running.device import prepare_worker  # noqa: E402
from mtcil.running.jobs import method_settings, own_training  # noqa: E402
from mtcil.running.parallel import run_all  # noqa: E402
from mtcil.settings.files import read_study  # noqa: E402
from mtcil.settings.sections import Heads  # noqa: E402
from mtcil.settings.study import MULTITASK, SINGLE  # noqa: E402

STUDY = read_study(ROOT / "studies/ten_words/params.yaml")
REPEATS = sized(3, 1)
NETWORK = STUDY.networks["gsc"]
TABLE_1 = ("5", "5-4", "5-4-3", "5-4-3-2", "5-4-4", "5-4-4-4", "5-4-4-4-4", "5-4-4-4-4-4", "all")
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def now() -> float:
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()
        return time.perf_counter()
    return time.process_time()


def clips(n_per_class: int, n_classes: int) -> Clips:
    """Noise with one bright patch per class."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(n_classes).repeat_interleave(n_per_class)
    x = torch.randn(len(labels), 1, 32, 32, generator=generator)
    for row, label in enumerate(labels.tolist()):
        x[row, 0, 3 * label : 3 * label + 3] += 1
    return Clips(x.to(DEVICE, memory_format=torch.channels_last), labels.to(DEVICE))


def base(train: Clips, tasks, passes: str, phase: Phase, seed: int = 0):  # type: ignore[no-untyped-def]
    """A base model, without validation clips."""
    plan = BasePlan(tasks, passes, NETWORK, STUDY.base_training, phase)
    steps = learn_base(train, train[:0], plan, Seeds(seed, 0))
    return follow(logged(steps, Phases()))


def epoch_seconds(train: Clips, heads: str, passes: str) -> float:
    """Seconds of one epoch: what a second epoch adds."""
    tasks = draw_tasks(Heads.parse(heads, 5), 5, numpy_generator(0, "tasks"))
    updates = math.ceil(len(train) / STUDY.base_training.sgd.batch)

    def measure(epochs: int) -> float:
        start = now()
        base(train, tasks, passes, Phase(epochs * updates, 0.05, "cosine"))
        return now() - start

    return measure(3) - measure(1)


def heads_table() -> None:
    train = clips(sized(320, 16), 5)
    table = sized(TABLE_1, ("5", "5-4", "all"))
    cases = [(h, p) for h in table for p in ("separate", "shared") if (h, p) != ("all", "separate")]
    found: dict[tuple[str, str], list[float]] = {case: [] for case in cases}
    for _ in range(REPEATS):
        for case in cases:
            found[case].append(epoch_seconds(train, *case))
    one = statistics.median(found["5", "separate"])
    print("\n| heads | separate, x one head | shared, x one head |\n| --- | --- | --- |")
    for heads in table:
        cells = [
            f"{statistics.median(found[heads, p]) / one:.2f}" if (heads, p) in found else ""
            for p in ("separate", "shared")
        ]
        print(f"| {heads} | {' | '.join(cells)} |")


def step_table() -> None:
    """The fast step and the obvious one with the same epochs, on the same clips."""
    train, validation = clips(sized(336, 32), 6), clips(48, 6)
    memory = torch.cat([of_labels(train, c, c + 1)[:25] for c in range(4)])
    step = StepClips(
        train[of_labels(train, 4, 6)], train[memory], validation, per_class=16, n_old=4, n_new=2
    )
    old = Learner(Network(NETWORK, 4, torch.Generator().manual_seed(0)).to(DEVICE).eval())
    training, (_, config) = own_training(STUDY, "gsc"), method_settings(STUDY, "ccil")
    first, then = sized((training.head_first.updates, training.then_all.updates), (4, 4))

    def phases(first: int, then: int):  # type: ignore[no-untyped-def]
        """Validated at each check, never stopped."""
        return replace(
            training,
            head_first=replace(training.head_first, updates=first, patience=first or None),
            then_all=replace(training.then_all, updates=then, patience=then or None),
        )

    print("\n| step | obvious, s | ours, s | obvious / ours | largest difference of logits |")
    print("| --- | --- | --- | --- | --- |")
    for name, used in (
        (f"head_first, {first} updates", phases(first, 0)),
        (f"then_all, {then} updates", phases(0, then)),
        ("both", phases(first, then)),
    ):
        seconds: dict[str, list[float]] = {"obvious": [], "ours": []}
        for _ in range(REPEATS):
            start = now()
            networks = [straightforward.learn_step(old, step, config, used, Seeds(0, 1)).network]
            seconds["obvious"].append(now() - start)
            start = now()
            steps = ccil.learn_step(old, step, config, used, Seeds(0, 1))
            networks.append(follow(logged(steps, Phases())).network)
            seconds["ours"].append(now() - start)
        with torch.no_grad():
            logits = [network(validation.features) for network in networks]
        obvious, ours = (statistics.median(s) for s in seconds.values())
        gap = (logits[0] - logits[1]).abs().max().item()
        print(f"| {name} | {obvious:.2f} | {ours:.2f} | {obvious / ours:.2f} | {gap:.1e} |")


def runs_table(seeds: Sequence[int]) -> None:
    """Whole runs of the studies on real audio, where their features have been extracted."""
    print("\n| study | heads | base, s | all incremental steps, s | seeds |")
    print("| --- | --- | --- | --- | --- |")
    for folder in (ROOT / "studies" / name for name in ("ten_words", "urban_fold1")):
        study = read_study(folder / "params.yaml")
        ((name, dataset),) = study.datasets.items()
        features = folder / "data/features" / name
        if not features.is_dir():
            print(f"| {folder.name} | | not extracted here | | |")
            continue
        n_base = dataset.steps[0]
        for heads in (row.heads for row in map(study.base_models[name].get, (SINGLE, MULTITASK))):
            spent = []
            for seed in seeds:
                data = load_split(features, dataset, study.split_of("random"), seed, DEVICE)
                tasks = draw_tasks(
                    Heads.parse(heads, n_base), n_base, numpy_generator(seed, "tasks")
                )
                start = now()
                plan = BasePlan(
                    tasks, "separate", study.networks[dataset.network], study.base_training,
                    phase_of(study.base_training.fit, dataset.updates.base),
                )  # fmt: skip
                learning = learn_base(
                    base_clips(data.train, n_base), base_clips(data.validation, n_base), plan,
                    Seeds(seed, 0),
                )  # fmt: skip
                network = follow(logged(learning, Phases()))
                between = now()
                _, config = method_settings(study, "ccil")
                plan = Plan(
                    dataset.steps, "ccil", config, own_training(study, name),
                    study.step_training.validation, study.step_training.validation_share,
                    study.memory, dataset.exemplars, study.networks[dataset.network],
                )  # fmt: skip
                follow(trajectory(Run(data, plan, ccil, seed), Learner(network), 0))
                spent.append((between - start, now() - between))
            of_base, steps = (statistics.median(s) for s in zip(*spent, strict=True))
            print(f"| {folder.name} | {heads} | {of_base:.1f} | {steps:.1f} | {len(seeds)} |")


def one_base(seed: int) -> int:
    device = prepare_worker(DEVICE.type)
    phase = Phase(25 * sized(12, 1), 0.05)
    base(clips(160, 5), [(0, 1, 2, 3, 4)], "shared", phase, seed)
    return int(device.type == "cuda")


def jobs_table() -> None:
    print("\n| runs at once | wall s for 8 runs | x one job |\n| --- | --- | --- |")
    first = 0.0
    for jobs in (1, 2, 4) if DEVICE.type == "cuda" else (1, 2):
        machine = replace(STUDY.machine, jobs=jobs)
        list(run_all(one_base, [(0,), (1,)], machine))  # workers are warm
        start = time.perf_counter()
        list(run_all(one_base, [(seed,) for seed in range(sized(8, 2))], machine))
        seconds = time.perf_counter() - start
        first = first or seconds
        print(f"| {jobs} | {seconds:.1f} | {first / seconds:.2f} |")


if __name__ == "__main__":
    prepare_worker(DEVICE.type)
    device = torch.cuda.get_device_name() if DEVICE.type == "cuda" else "CPU, one thread"
    print(f"torch {torch.__version__}, {device}")
    heads_table()
    step_table()
    runs_table(seeds=sized((100, 101), ()))
    jobs_table()
