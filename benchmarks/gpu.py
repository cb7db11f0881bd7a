"""Many runs at once on one GPU, in one command of under five minutes: `python benchmarks/gpu.py`.

Run-updates a second (runs x updates / seconds) of fleets of 1 to 128 runs, against the plain
autograd loop on the same card, for both inputs, in the base step and in CCIL's `then_all`; other
ways to compute an update; whether the same fleet twice gives the same bits; whole stages. Without a
GPU it says so and ends, except with `--tiny`: then a few updates run on the CPU.
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from unittest import mock

import torch
from made import made_features, shortened
from size import TINY, sized
from torch import Tensor, nn

from mtcil.learning.base_step import BasePlan, base_clips, learn_base
from mtcil.learning.fit import Fit, Seeds, phase_of
from mtcil.learning.learner import Learner
from mtcil.learning.network import Network, backbone_of
from mtcil.learning.trajectory import Run, step_clips
from mtcil.methods import ccil
from mtcil.running import alone
from mtcil.running.base_jobs import BaseJob, Folders, base_jobs
from mtcil.running.batches import BLOCK
from mtcil.running.device import prepare_worker
from mtcil.running.estimate import noise
from mtcil.running.fleet import Fleet
from mtcil.running.jobs import Variant, run_jobs
from mtcil.running.run import learn_all, train_all
from mtcil.settings.files import read_study

ROOT = Path(__file__).parents[1]
STUDY = read_study(ROOT / "params.yaml")
WORDS = shortened(read_study(ROOT / "studies/ten_words/params.yaml"))
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
FLEETS = sized((1, 8, 32, 128), (1, 2))
UPDATES = sized({"gsc": 2 * BLOCK, "us8k": BLOCK}, {"gsc": 2, "us8k": 2})
REPEATS = sized(3, 1)
N_RUNS = sized(32, 2)  # where only one number of runs is tried


def main() -> None:
    if DEVICE == "cpu" and not TINY:
        print("No GPU here. What one measured is in benchmarks/GPU.md.")
        return
    prepare_worker(DEVICE)
    name = torch.cuda.get_device_name() if DEVICE == "cuda" else "CPU"
    print(f"torch {torch.__version__}, {name}")
    for dataset in ("gsc", "us8k"):
        rates(dataset)
    stages()
    determinism()
    ways()


def fits(dataset: str, phase: str, n_runs: int, updates: int) -> list[Fit]:
    """Phases of equal kind: of the base step, or CCIL's `then_all` of the first step."""
    (job, *_) = jobs_of(dataset)
    settings = STUDY.datasets[dataset]
    data = noise(job, STUDY.features[settings.features], torch.device(DEVICE))
    n_base, found = settings.steps[0], []
    for seed in range(n_runs):
        if phase == "base":
            length = phase_of(STUDY.base_training.fit, updates)
            plan = BasePlan(
                [tuple(range(n_base))], "separate", job.network, STUDY.base_training, length
            )
            train = base_clips(data.train, n_base)
            found.append(next(learn_base(train, train[train.labels < 0], plan, Seeds(seed, 0))))
            continue
        (run_job,) = run_jobs(STUDY, [job], [Variant("ccil", settings.exemplars)])
        plan, run = run_job.plan, Run(data, run_job.plan, ccil, seed)
        m = settings.exemplars // n_base
        memory = [torch.nonzero(data.train.labels == k).flatten()[:m] for k in range(n_base)]
        clips = step_clips(run, memory, n_base, n_base + settings.steps[1], m)
        length = replace(plan.training.then_all, updates=updates, patience=None)
        none = replace(plan.training.head_first, updates=0)
        training = replace(plan.training, head_first=none, then_all=length)
        network = Network(job.network, n_base, torch.Generator().manual_seed(seed)).to(DEVICE)
        steps = ccil.learn_step(
            Learner(network.eval()), clips, plan.config, training, Seeds(seed, 1)
        )
        next(steps)
        found.append(steps.send(network_with_head(network, n_base + settings.steps[1])))
    return found


def network_with_head(network: Network, n_classes: int) -> Network:
    """As after `head_first` of no updates."""
    wide = Network(STUDY.networks["gsc"], n_classes, torch.Generator().manual_seed(0)).to(DEVICE)
    wide.blocks = network.blocks
    return wide.eval()


def jobs_of(dataset: str) -> list[BaseJob]:
    with tempfile.TemporaryDirectory() as folder:
        for file in ("features.npy", "clips.csv"):
            (Path(folder) / file).touch()
        folders = Folders(*[Path(folder)] * 3)
        return base_jobs(STUDY, dataset, [("single", "random", [0])], folders, DEVICE)


def one_by_one(dataset: str, phase: str) -> float:
    """Updates a second of the plain loop, without its start: 2n updates take this much longer."""
    n, found = UPDATES[dataset], []
    once, twice = (fits(dataset, phase, 1, length) for length in (n, 2 * n))
    alone.train(*once)
    for _ in range(REPEATS):
        seconds = [clocked(partial(alone.train, *of)) for of in (once, twice)]
        found.append(seconds[1] - seconds[0])
    return n / max(statistics.median(found), 1e-9)


def as_fleet(
    dataset: str, phase: str, n_runs: int, change: Callable[[Fleet], None] = lambda fleet: None
) -> tuple[float, float]:
    """Run-updates a second of a fleet, and the seconds until its first update.

    Args:
        change: what to change in the fleet before its update is captured.
    """
    n = UPDATES[dataset]
    fleet = Fleet(fits(dataset, phase, n_runs, 1 + REPEATS * n))
    change(fleet)
    fleet.draw()
    update = fleet.update

    def begin() -> None:
        nonlocal update
        update = fleet.captured() if DEVICE == "cuda" else fleet.update
        update()

    def go_on() -> None:
        for made in range(n):
            if made % BLOCK == 0:
                fleet.draw()
            update()

    start = clocked(begin)
    return n_runs * n / statistics.median([clocked(go_on) for _ in range(REPEATS)]), start


def clocked(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    if DEVICE == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def rates(dataset: str) -> None:
    print(f"\n| {dataset} | run-updates/s | x one by one | GPU memory, GiB |")
    print("| --- | --- | --- | --- |")
    for phase in ("base", "then_all"):
        plain = one_by_one(dataset, phase)
        print(f"| {phase}, plain loop, one by one | {plain:,.0f} | 1.0 | |")
        for n_runs in FLEETS:
            if DEVICE == "cuda":
                torch.cuda.reset_peak_memory_stats()
            try:
                found, _ = as_fleet(dataset, phase, n_runs)
            except torch.OutOfMemoryError:
                print(f"| {phase}, fleet of {n_runs} | out of memory | | |")
                continue
            used = torch.cuda.max_memory_allocated() / 2**30 if DEVICE == "cuda" else 0.0
            print(
                f"| {phase}, fleet of {n_runs} | {found:,.0f} | {found / plain:.1f} | {used:.1f} |"
            )


class AsProduct(nn.Conv2d):
    """The same convolution as one matrix product per run, for stride 1 and odd kernels."""

    def forward(self, x: Tensor) -> Tensor:
        (n, _, height, width), (size, _), (pad, _) = x.shape, self.kernel_size, self.padding
        padded = nn.functional.pad(x, [int(pad)] * 4).transpose(0, 1)
        views = [
            padded[:, :, i : i + height, j : j + width] for i in range(size) for j in range(size)
        ]
        maps = self.weight.flatten(1) @ torch.stack(views, 1).reshape(-1, n * height * width)
        return (maps + self.bias[:, None]).view(-1, n, height, width).transpose(0, 1)


def products(fleet: Fleet, n_blocks: int) -> None:
    """Compute the first convolutions of a fleet as matrix products."""
    network = backbone_of(fleet.module)
    assert network is not None  # noqa: S101
    for block in list(network.blocks)[:n_blocks]:
        block[0].__class__ = AsProduct


def compile_gradient(fleet: Fleet) -> None:
    fleet.gradient = torch.compile(fleet.gradient)


WAYS: dict[str, tuple[Callable[[Fleet], None], dict[str, bool]]] = {
    "convolutions in TF32, PyTorch's default": (lambda fleet: None, {}),
    "all in float32": (lambda fleet: None, {"allow_tf32": False}),
    "cuDNN tries its algorithms": (lambda fleet: None, {"benchmark": True}),
    "first block as a matrix product": (lambda fleet: products(fleet, 1), {}),
    "all blocks as matrix products": (lambda fleet: products(fleet, 4), {}),
    "torch.compile": (compile_gradient, {}),
}


def ways() -> None:
    """Other ways to compute a fleet's update. vmap takes no weights in channels_last order."""
    print(
        f"\n| base, fleet of {N_RUNS} | gsc | us8k | s to start (us8k) |\n| --- | --- | --- | --- |"
    )
    for way, (change, flags) in WAYS.items():
        with torch.backends.cudnn.flags(**{"enabled": True, "allow_tf32": True} | flags):
            try:
                gsc, us8k = (as_fleet(name, "base", N_RUNS, change) for name in ("gsc", "us8k"))
            except RuntimeError as error:  # out of memory, or torch.compile
                print(f"| {way} | {type(error).__name__} | | |", flush=True)
                continue
        print(f"| {way} | {gsc[0]:,.0f} | {us8k[0]:,.0f} | {us8k[1]:.1f} |", flush=True)


def determinism() -> None:
    print(f"\n| gsc, base, fleet of {N_RUNS} | s | largest difference of two times |")
    print("| --- | --- | --- |")
    modes = {
        "default": (False, False),
        "deterministic algorithms": (True, False),
        "the same, and PyTorch fills new memory": (True, True),
    }
    for name, (wanted, filled) in modes.items():
        torch.use_deterministic_algorithms(wanted, warn_only=True)
        torch.utils.deterministic.fill_uninitialized_memory = filled
        of = fits("gsc", "base", N_RUNS, UPDATES["gsc"])
        Fleet(of).train()
        start = time.perf_counter()
        first, again = (Fleet(of).train() for _ in range(2))
        seconds = (time.perf_counter() - start) / 2
        gap = max(
            (a - b).abs().max().item()
            for one, two in zip(first, again, strict=True)
            for a, b in zip(one.module.parameters(), two.module.parameters(), strict=True)
        )
        print(f"| {name} | {seconds:.2f} | {gap:.1e} |")
    prepare_worker(DEVICE)


def stages() -> None:
    """`train_base` and `learn_steps` of the single task on ten words, as fleets and one by one."""
    settings = WORDS.datasets["gsc"]
    print("\n| ten words | train_base, s | learn_steps, s |\n| --- | --- | --- |")
    for name, one_by_one, n_seeds in (("fleets", False, 10), ("one by one", True, 2)):
        seeds = list(range(sized(n_seeds, 2)))
        with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
            made_features(Path(folder), WORDS)
            if one_by_one or DEVICE == "cpu":
                stack.enter_context(mock.patch.object(BaseJob, "is_on_gpu", not one_by_one))
            machine = replace(WORDS.machine, jobs=1, device=DEVICE)
            folders = Folders(Path(folder) / "gsc", Path(folder) / "models", Path(folder) / "runs")
            starts = [("single", "random", seeds)]
            bases = base_jobs(WORDS, "gsc", starts, folders, DEVICE)
            start = time.perf_counter()
            train_all(bases, machine)
            middle = time.perf_counter()
            learn_all(run_jobs(WORDS, bases, [Variant("ccil", settings.exemplars)]), machine, {})
            seconds = middle - start, time.perf_counter() - middle
            print(f"| {name}, {len(seeds)} seeds | {seconds[0]:.1f} | {seconds[1]:.1f} |")


if __name__ == "__main__":
    main()
