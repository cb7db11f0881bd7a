"""Estimate the cost of a study before it starts: time a few updates of each phase, and scale."""

import time
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import starmap, takewhile
from types import ModuleType
from typing import Any

import torch

from mtcil.core.lookup import find
from mtcil.learning.clips import Clips
from mtcil.learning.fit import Fit, Training
from mtcil.learning.learner import Learner
from mtcil.learning.network import Network
from mtcil.learning.split import SplitData
from mtcil.learning.trajectory import Run, trajectory
from mtcil.running import alone, stacks
from mtcil.running.base_jobs import BaseJob
from mtcil.running.device import prepare_worker
from mtcil.running.jobs import RunJob
from mtcil.running.parallel import run_all
from mtcil.running.run import base_training
from mtcil.running.together import is_on_gpu, train_together
from mtcil.settings.sections import DatasetSettings, FeatureSettings, MachineSettings
from mtcil.settings.study import Study

# Timed updates of each phase on a CPU. Their random numbers, 3 % of the time, are drawn before.
UPDATES = 16
GPU_UPDATES = 200  # on a GPU, where the start of a fleet takes as long as some updates
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


@dataclass(frozen=True)
class PhaseCost:
    """Cost of a phase in all steps of a run.

    Attributes:
        kind: phases of equal kind take the same time per update.
        updates: largest number, of all steps together.
        seconds: per update.
    """

    kind: Hashable
    updates: int
    seconds: float


def cost_of(
    jobs: Sequence[BaseJob] | Sequence[RunJob],
    features: FeatureSettings,
    machine: MachineSettings,
    known: dict[Hashable, float],
    share: float = 0.0,
) -> Cost:
    """Cost of the jobs of one dataset; a kind of phase that is known is not timed again.

    Phases are timed as runs are trained: several at once on a CPU, where each then is slower than
    alone, because they share memory and caches. Workers that start together may time the same kind.

    Args:
        known: seconds per update by kind of phase; new ones are added.
        share: share of each phase's updates to time, at least `UPDATES` updates.
    """
    kinds = {kind_of(job): job for job in jobs}
    # With `loky` most tasks are made when a worker is free, and take what is known by then.
    tasks = ((job, features, dict(known), share) for job in kinds.values())
    on_gpu = any((job.base if isinstance(job, RunJob) else job).is_on_gpu for job in jobs)
    phases: dict[str, list[PhaseCost]] = {}
    timed = starmap(_phases_of_kind, tasks) if on_gpu else run_all(_phases_of_kind, tasks, machine)
    for kind, found in timed:
        phases[kind] = found
        known.update({phase.kind: phase.seconds for phase in found})
    all_phases = [phase for job in jobs for phase in phases[kind_of(job)]]
    return Cost(
        runs=len(jobs),
        updates=sum(phase.updates for phase in all_phases),
        seconds=sum(phase.updates * phase.seconds for phase in all_phases),
    )


def kind_of(job: BaseJob | RunJob) -> str:
    """Jobs of equal text have the same phases: the number of exemplars makes no difference."""
    if isinstance(job, BaseJob):
        return job.likeness()
    return f"{job.plan.method} {job.plan.config} {job.plan.training}"


def _phases_of_kind(job: BaseJob | RunJob, *how: Any) -> tuple[str, list[PhaseCost]]:
    return kind_of(job), phases_of(job, *how)


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
    costs, seen, known = [], set[str](), dict[Hashable, float]()
    print(HEADER)
    for stage in stages:
        for name in getattr(study, stage.SECTION):
            jobs = {job.key: job for job in stage.jobs(study, name) if job.key not in seen}
            bases = {job.base.key: job.base for job in jobs.values() if isinstance(job, RunJob)}
            own = [base for key, base in bases.items() if key not in seen]  # e.g. tune_methods'
            seen |= {*jobs, *bases}
            features = study.features[study.datasets[name].features]
            parts = list(jobs.values()), own
            costs.append(
                sum_of([cost_of(part, features, study.machine, known, share) for part in parts])
            )
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


def phases_of(
    job: BaseJob | RunJob, features: FeatureSettings, known: Mapping[Hashable, float], share: float
) -> list[PhaseCost]:
    """The phases of one job: of its base step, or of all its incremental steps.

    The job is followed to its first incremental step without training.

    Args:
        known: seconds per update by kind of phase; other kinds are timed.
    """
    base = job.base if isinstance(job, RunJob) else job
    device = prepare_worker(base.device)
    data = noise(base, features, device)
    run: Training[Any] = (
        base_training(job, lambda _: data, lambda _: data.train)
        if isinstance(job, BaseJob)
        else trajectory(
            Run(data, job.plan, find("methods", job.plan.method), base.seed),
            Learner(_untrained(base, device)),
            0,
        )
    )
    n_steps = len(base.dataset.steps) - 1
    own, found = dict(known), []
    for fit in takewhile(lambda fit: fit.seeds.step <= 1, _fits_of(run)):
        kind = stacks.kind_of(_shortened(fit, 1))
        if kind not in own:
            own[kind] = _seconds_per_update(fit, share)
        times = n_steps if fit.seeds.step == 1 else 1
        found.append(PhaseCost(kind, times * fit.phase.updates, own[kind]))
    return found


def _fits_of(run: Training[Any]) -> Iterator[Fit]:
    """The Fits that a run yields, if none of them is trained."""
    try:
        fit = next(run)
        while True:
            yield fit
            fit = run.send(alone.train(_shortened(fit, 0)))
    except StopIteration:
        return


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


def _shortened(fit: Fit, updates: int) -> Fit:
    return replace(fit, validation=None, phase=replace(fit.phase, updates=updates, patience=None))


def _seconds_per_update(fit: Fit, share: float) -> float:
    """Seconds per update of one run; on a GPU, of one of `COPIES` at once."""
    least, copies = (GPU_UPDATES, COPIES) if is_on_gpu(fit) else (UPDATES, 1)
    n = max(least, round(share * fit.phase.updates))
    _timed(fit, copies, 1)  # warm-up
    one, more = _timed(fit, copies, 1), _timed(fit, copies, 1 + n)
    return max(more - one, 0.0) / (n * copies)


def _timed(fit: Fit, copies: int, updates: int) -> float:
    """Seconds of some updates of several copies of a run, and of their start."""
    short, on_gpu = _shortened(fit, updates), is_on_gpu(fit)
    clock = time.perf_counter if on_gpu else time.process_time  # not affected by other processes
    start = clock()
    if on_gpu:
        train_together([short] * copies)
        torch.cuda.synchronize()
    else:
        alone.train(short)
    return clock() - start
