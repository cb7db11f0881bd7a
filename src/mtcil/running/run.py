"""Run the jobs that are not finished, several at once if the machine settings allow."""

import functools
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

import torch

from mtcil.core.errors import UserError
from mtcil.core.files import remove_parts
from mtcil.core.lookup import find
from mtcil.core.progress import progress
from mtcil.core.randomness import numpy_generator
from mtcil.learning.base_step import BasePlan, base_clips, learn_base
from mtcil.learning.clips import Clips
from mtcil.learning.fit import Phases, Seeds, Training, logged
from mtcil.learning.learner import Learner
from mtcil.learning.network import Network
from mtcil.learning.parts import Part
from mtcil.learning.parts_step import learn_base_with_parts, learn_ceiling
from mtcil.learning.protocol import draw_tasks
from mtcil.learning.split import SplitData, load_split
from mtcil.learning.steps import Method
from mtcil.learning.trajectory import Run, StepResult, trajectory
from mtcil.learning.words import load_words
from mtcil.records.rows import TABLES, Rows, step_rows
from mtcil.running import checkpoints
from mtcil.running.alone import follow
from mtcil.running.base_jobs import PARTS, BaseJob
from mtcil.running.checkpoints import HasCheckpoint
from mtcil.running.device import prepare_worker
from mtcil.running.jobs import RunJob
from mtcil.running.models import read_model, save_model, saved_updates
from mtcil.running.parallel import run_all
from mtcil.settings.sections import MachineSettings
from mtcil.settings.study import CEILING

Job = TypeVar("Job")
T = TypeVar("T")
FleetJob = TypeVar("FleetJob", BaseJob, RunJob)
Load = Callable[[BaseJob], SplitData]


def load_words_of(job: BaseJob) -> Clips:
    """The auxiliary words of a base model's dataset, on the job's device; loaded once."""
    return _words_in(job.folders.features, job.device)


@functools.lru_cache(maxsize=1)
def _words_in(features_dir: Path, device: str) -> Clips:
    return load_words(features_dir, torch.device(device))


def train_all(jobs: Sequence[BaseJob], machine: MachineSettings) -> list[int]:
    """Train the base models that have no file yet; return the updates of all."""
    updates = {}
    if not machine.fresh:
        updates = {job.file: saved_updates(job.file, job.key) for job in jobs}
    missing = [job for job in jobs if updates.get(job.file) is None]
    print(f"{len(jobs)} base models, {len(missing)} of them to train", file=sys.stderr)
    if missing and missing[0].is_on_gpu:
        done = perform_as_fleets(missing, base_training, save_base, "base models")
    else:
        done = perform(train_one_base, missing, machine, "base models", BaseJob.size)
    for job, trained in done:
        updates[job.file] = trained
    return [updates[job.file] or 0 for job in jobs]


def remove_others(folder: Path, jobs: Sequence[BaseJob]) -> None:
    """Remove base models without a job, e.g. of deleted rows or seeds."""
    expected = {job.file for job in jobs}
    for file in sorted(folder.resolve().rglob("*.pt")):
        if file not in expected:
            file.unlink()
            if not any(file.parent.iterdir()):
                file.parent.rmdir()


def train_one_base(job: BaseJob) -> tuple[BaseJob, int]:
    """Train one base model and save it; return the number of updates."""
    return job, save_base(job, follow(base_training(job, load_data)))


def base_training(
    job: BaseJob, load: Load, words_of: Callable[[BaseJob], Clips] = load_words_of
) -> Training[tuple[Network, Phases]]:
    """The training of one base model, with its cost."""
    data, n_base = load(job), job.dataset.steps[0]
    plan = BasePlan(
        tasks=draw_tasks(job.heads, n_base, numpy_generator(job.seed, "tasks")),
        passes=job.name.passes,
        network=job.network,
        training=job.training,
        phase=job.phase,
        shuffled_labels=job.name.control == "shuffled_labels",
    )
    train, validation = base_clips(data.train, n_base), base_clips(data.validation, n_base)
    phases, seeds = Phases(), Seeds(job.seed, 0)
    if job.name.control == CEILING:
        n_classes = sum(job.dataset.steps)
        steps = learn_ceiling(data.train, data.validation, plan, n_classes, seeds)
    elif job.parts:
        parts = [Part(name, find(PARTS, name), config) for name, config in job.parts]
        words = words_of(job) if job.needs_words else None
        steps = learn_base_with_parts(train, validation, plan, parts, seeds, words)
    else:
        steps = learn_base(train, validation, plan, seeds)
    network = yield from logged(steps, phases)
    return network, phases


def save_base(job: BaseJob, trained: tuple[Network, Phases]) -> int:
    """Save a base model; return the number of updates.

    Raises:
        UserError: if its training diverged.
    """
    network, phases = trained
    if phases.diverged:
        raise UserError(
            f"Training the base model {job.name.base} of {job.name.dataset}, seed {job.seed}, "
            "diverged: its weights are no longer finite. Lower its learning rate: "
            "base_training.fit.learning_rate, with several heads base_training.multitask_rate, or "
            "the point of a grid in tunings."
        )
    updates = sum(phases.updates.values())
    save_model(network, updates, job.key, job.file)
    return updates


def learn_all(jobs: Sequence[RunJob], machine: MachineSettings, known: Mapping[str, Rows]) -> Rows:
    """Learn the runs that are not known yet; return all records, in the order of the jobs.

    A finished run is saved at once, so that a killed stage loses only unfinished runs.

    Args:
        known: records of finished runs by key.
    """
    records = {} if machine.fresh else _finished(jobs, known)
    missing = {job.key: job for job in jobs if job.key not in records}
    print(f"{len(jobs)} runs, {len(missing)} of them to learn", file=sys.stderr)
    left = list(missing.values())
    if left and left[0].base.is_on_gpu:
        done = perform_as_fleets(left, run_training, save_run, "runs")
    else:
        done = perform(learn_one_run, left, machine, "runs", RunJob.size)
    for job, found in done:
        records[job.key] = found
    rows = {
        table: [{**row, **vars(job.run)} for job in jobs for row in records[job.key][table]]
        for table in TABLES
    }
    _warn_of_diverged(rows["records"])
    return rows


def _warn_of_diverged(records: Sequence[Mapping[str, Any]]) -> None:
    """Print one line for each method with runs that diverged."""
    methods = Counter(row["method"] for row in records if row["diverged"] == 1)
    for method, n in methods.items():
        print(
            f"warning: {method} diverged in {n} of its steps: its weights are no longer finite and "
            "accuracy is at chance level. Lower its learning rate or the weights of its losses.",
            file=sys.stderr,
        )


def forget_checkpoints(jobs: Iterable[HasCheckpoint]) -> None:
    """Remove the checkpoints of finished jobs; the records contain them now."""
    for job in jobs:
        job.checkpoint.unlink(missing_ok=True)
        remove_parts(job.checkpoint.parent, job.checkpoint.name)  # of a worker that was killed


def _finished(jobs: Sequence[RunJob], known: Mapping[str, Rows]) -> dict[str, Rows]:
    """Records of the finished jobs, from `known` or saved by a killed stage."""
    found: dict[str, Rows] = {}
    for job in jobs:
        rows = known.get(job.key) or checkpoints.read(job.checkpoint, job.key)
        if rows is not None and _are_all(rows, len(job.plan.steps)):
            found[job.key] = rows
    return found


def _are_all(rows: Rows, n_steps: int) -> bool:
    """Whether all rows of a run are present."""
    expected = {"records": n_steps, "matrix": n_steps * (n_steps + 1) // 2, "confusion": n_steps}
    return {table: len(rows[table]) for table in TABLES} == expected


def learn_one_run(job: RunJob) -> tuple[RunJob, Rows]:
    """Learn all incremental steps of one run and save its records."""
    return job, save_run(job, follow(run_training(job, load_data)))


def run_training(job: RunJob, load: Load) -> Training[list[StepResult]]:
    """The training of all incremental steps of one run."""
    base, plan = job.base, job.plan
    data, method = load(base), cast(Method, find("methods", plan.method))
    device = data.train.features.device
    network, updates = read_model(base.file, base.key, plan.network, plan.steps[0], device)
    run = Run(data, plan, method, base.seed)
    return (yield from trajectory(run, Learner(network), updates))


def save_run(job: RunJob, results: list[StepResult]) -> Rows:
    """Save the records of one run, so that a killed stage does not lose them; return them."""
    rows = step_rows(job.run, job.plan.steps, results, job.key)
    checkpoints.save(job.checkpoint, job.key, rows)
    return rows


def load_data(job: BaseJob) -> SplitData:
    """The clips of a base model's dataset, split for its seed, on the job's device."""
    device = prepare_worker(job.device)
    return load_split(
        job.folders.features, job.dataset, job.split, job.seed, device, job.order_seed
    )


def perform(
    function: Callable[[Job], tuple[Job, Any]],
    jobs: Sequence[Job],
    machine: MachineSettings,
    title: str,
    size: Callable[[Job], int] = lambda job: 1,
) -> Iterator[tuple[Job, Any]]:
    """Yield results as jobs finish, with a progress bar; without jobs, no worker is started.

    Args:
        size: of a job, for the remaining time of the bar: its updates, or 1.
    """
    if not jobs:
        return
    results = run_all(function, [(job,) for job in jobs], machine)
    with progress(desc=title, total=sum(map(size, jobs)), unit_scale=True) as bar:
        for done, (job, result) in enumerate(results, start=1):
            bar.set_description(f"{title} {done}/{len(jobs)}", refresh=False)
            bar.update(size(job))
            yield job, result


def perform_as_fleets(
    jobs: Sequence[FleetJob],
    begin: Callable[[FleetJob, Load], Training[T]],
    end: Callable[[FleetJob, T], Any],
    title: str,
) -> Iterator[tuple[FleetJob, Any]]:
    """The same on a GPU: many runs at once in this process; runs of one seed share their clips."""
    from mtcil.running.together import follow_all, n_at_once

    jobs = sorted(jobs, key=lambda job: job.likeness())
    n_jobs, done = len(jobs), 0
    updates = sum(job.size() for job in jobs)
    with progress(desc=title, total=updates, unit_scale=True) as bar:

        def report(more: int) -> None:  # jobs do not count the updates of replay's decoder
            bar.update(min(more, updates - bar.n))

        while jobs:
            n = n_at_once(jobs[0].data_bytes())
            part, jobs = jobs[:n], jobs[n:]
            loaded: dict[Any, SplitData] = {}

            def load(job: BaseJob, loaded: dict[Any, SplitData] = loaded) -> SplitData:
                of = (job.split, job.seed, job.order_seed)
                return loaded.get(of) or loaded.setdefault(of, load_data(job))

            trainings = {i: begin(job, load) for i, job in enumerate(part)}
            failed: UserError | None = None
            for i, result in follow_all(trainings, report):
                done += 1
                bar.set_description(f"{title} {done}/{n_jobs}", refresh=False)
                try:
                    saved = end(part[i], result)
                except UserError as error:
                    failed = failed or error  # the others of the fleet are saved first
                else:
                    yield part[i], saved
            loaded.clear()  # before the memory for the next part is measured
            if failed is not None:
                raise failed
