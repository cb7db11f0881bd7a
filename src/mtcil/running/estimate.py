"""Estimate the cost of a study before it starts: time a few updates of each phase, and scale."""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

import torch

from mtcil.core.lookup import find
from mtcil.learning.clips import Clips
from mtcil.learning.fit import Fit, Trained, Training
from mtcil.learning.learner import Learner
from mtcil.learning.network import Network
from mtcil.learning.split import SplitData
from mtcil.learning.trajectory import Run, trajectory
from mtcil.running import alone
from mtcil.running.base_jobs import BaseJob
from mtcil.running.device import prepare_worker
from mtcil.running.jobs import RunJob
from mtcil.running.parallel import run_all
from mtcil.running.run import base_training
from mtcil.running.together import is_on_gpu, train_together
from mtcil.settings.sections import DatasetSettings, FeatureSettings, MachineSettings
from mtcil.settings.study import Study

UPDATES = 8  # timed updates of each phase, on a CPU
GPU_UPDATES = 100  # on a GPU, where the start of a fleet takes as long as some updates
COPIES = 32  # runs at once on a GPU
PROCESS_BYTES = 400e6  # of Python and PyTorch, measured
CLIPS = {"train": 64, "test": 8, "validation": 8}  # per class; an update costs the same with more


@dataclass(frozen=True)
class Cost:
    """Number of runs of a stage, their largest number of updates, and the time of these.

    Attributes:
        seconds: of one core, or of a GPU.
    """

    runs: int
    updates: int
    seconds: float


def cost_of(
    jobs: Sequence[BaseJob] | Sequence[RunJob],
    features: FeatureSettings,
    machine: MachineSettings,
    share: float = 0.0,
) -> Cost:
    """Cost of the jobs of one dataset; each kind of job is timed once.

    Kinds are timed as runs are trained: several at once on a CPU, where each then is slower than
    alone, because they share memory and caches.

    Args:
        share: share of each phase's updates to time, at least `UPDATES` updates.
    """
    tasks = [(job, features, share) for job in {kind_of(job): job for job in jobs}.values()]
    on_gpu = any((job.base if isinstance(job, RunJob) else job).is_on_gpu for job in jobs)
    timed = (_timed_kind(*task) for task in tasks)
    seconds = dict(timed if on_gpu else run_all(_timed_kind, tasks, machine))
    return Cost(
        runs=len(jobs),
        updates=sum(job.size() for job in jobs),
        seconds=sum(seconds[kind_of(job)] for job in jobs),
    )


def kind_of(job: BaseJob | RunJob) -> str:
    """Jobs of equal text take the same time: the number of exemplars makes no difference."""
    if isinstance(job, BaseJob):
        return job.likeness()
    return f"{job.plan.method} {job.plan.config} {job.plan.training}"


def _timed_kind(
    job: BaseJob | RunJob, features: FeatureSettings, share: float
) -> tuple[str, float]:
    return kind_of(job), seconds_of(job, features, share)


def sum_of(costs: Sequence[Cost]) -> Cost:
    """Total cost of several stages."""
    return Cost(*(sum(getattr(cost, name) for cost in costs) for name in Cost.__annotations__))


HEADER = f"{'stage':16} {'dataset':22} {'runs':>6} {'updates':>12} {'hours':>9}"


def line(stage: str, dataset: str, cost: Cost) -> str:
    """A line of the table below `HEADER`."""
    hours = cost.seconds / 3600
    return f"{stage:16} {dataset:22} {cost.runs:6} {cost.updates:12,} {hours:9.2f}"


def print_costs(study: Study, stages: Iterable[ModuleType], share: float = 0.0) -> Cost:
    """Print a line for each stage and dataset as it is timed, and for all; the total.

    Only training is timed. Runs and base models shared by several stages are counted once.

    Args:
        stages: modules with a `SECTION` of the study and `jobs(study, dataset)`.
        share: as in `cost_of`.
    """
    costs, seen = [], set[str]()
    print(HEADER)
    for stage in stages:
        for name in getattr(study, stage.SECTION):
            jobs = {job.key: job for job in stage.jobs(study, name) if job.key not in seen}
            bases = {job.base.key: job.base for job in jobs.values() if isinstance(job, RunJob)}
            own = [base for key, base in bases.items() if key not in seen]  # e.g. tune_methods'
            seen |= {*jobs, *bases}
            features = study.features[study.datasets[name].features]
            parts = list(jobs.values()), own
            costs.append(sum_of([cost_of(part, features, study.machine, share) for part in parts]))
            print(line(stage.__name__, name, costs[-1]), flush=True)
    total = sum_of(costs)
    print(line("all", "", total))
    return total


def conclusion(total: Cost, device: str, n_jobs: int, process_bytes: float) -> str:
    """What the hours mean, and how much memory simultaneous runs need."""
    if device.startswith("cuda"):
        return "Hours are of this GPU, without the start of stages and checks on validation clips."
    hours = total.seconds / 3600 / n_jobs
    return (
        f"Hours are of one core; with {n_jobs} jobs at once about {hours:.1f}, "
        f"in {n_jobs * process_bytes / 1e9:.1f} GB of memory."
    )


def bytes_of(dataset: DatasetSettings, features: FeatureSettings) -> float:
    """Memory of a process that trains on a dataset: its clips, and the methods' copies of them."""
    clip = 4 * features.n_frames * features.n_bins
    return PROCESS_BYTES + 3 * clip * dataset.clips_per_class * len(dataset.classes)


def seconds_of(job: BaseJob | RunJob, features: FeatureSettings, share: float) -> float:
    """Seconds of all phases of one job: its base step, or all its incremental steps."""
    base = job.base if isinstance(job, RunJob) else job
    device = prepare_worker(base.device)
    data = noise(base, features, device)
    n_copies = COPIES if base.is_on_gpu else 1
    runs: list[Training[Any]] = [
        base_training(replace(job, seed=seed), lambda _: data, lambda _: data.train)
        if isinstance(job, BaseJob)
        else trajectory(
            Run(data, job.plan, find("methods", job.plan.method), seed),
            Learner(_untrained(base, device)),
            0,
        )
        for seed in range(n_copies)
    ]
    by_step = _seconds_by_step(runs, share)
    n_steps = len(base.dataset.steps) - 1
    return (by_step.get(0, 0.0) + n_steps * by_step.get(1, 0.0)) / n_copies


def noise(job: BaseJob, features: FeatureSettings, device: torch.device) -> SplitData:
    """Random features of the right shape, in place of a dataset's."""
    generator, n_classes = torch.Generator().manual_seed(0), len(job.dataset.classes)

    def clips(n: int) -> Clips:
        labels = torch.arange(n_classes).repeat_interleave(n)
        shape = (len(labels), 1, features.n_frames, features.n_bins)
        x = torch.randn(shape, generator=generator)
        return Clips(x.to(device, memory_format=torch.channels_last), labels.to(device))

    return SplitData(job.dataset.classes, {}, **{part: clips(n) for part, n in CLIPS.items()})


def _untrained(job: BaseJob, device: torch.device) -> Network:
    generator = torch.Generator().manual_seed(job.seed)
    return Network(job.network, job.dataset.steps[0], generator).to(device).eval()


def _seconds_by_step(runs: Sequence[Training[Any]], share: float) -> dict[int, float]:
    """Seconds of all phases of the base step (0) and of the first incremental step (1)."""
    seconds: dict[int, float] = {}
    try:
        fits = [next(run) for run in runs]
        while fits[0].seeds.step <= 1:
            step, updates = fits[0].seeds.step, fits[0].phase.updates
            _timed(fits, 2)  # warm-up
            least = GPU_UPDATES if is_on_gpu(fits[0]) else UPDATES
            n = max(least, round(share * updates))
            few, _ = _timed(fits, least)
            more, trained = _timed(fits, least + n)
            seconds[step] = seconds.get(step, 0.0) + max(more - few, 0.0) / n * updates
            fits = [run.send(one) for run, one in zip(runs, trained, strict=True)]
    except StopIteration:
        pass
    return seconds


def _timed(fits: Sequence[Fit], updates: int) -> tuple[float, list[Trained]]:
    short = [
        replace(fit, validation=None, phase=replace(fit.phase, updates=updates)) for fit in fits
    ]
    on_gpu = is_on_gpu(fits[0])
    clock = time.perf_counter if on_gpu else time.process_time  # not affected by other processes
    start = clock()
    trained = train_together(short) if on_gpu else [alone.train(fit) for fit in short]
    if on_gpu:
        torch.cuda.synchronize()
    return clock() - start, trained
