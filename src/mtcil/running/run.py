"""Perform jobs: those that are not finished, as many at once as the machine may."""

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

from tqdm import tqdm

from mtcil.core.files import write_text
from mtcil.core.lookup import find
from mtcil.core.randomness import numpy_generator
from mtcil.learning.base_step import learn_base
from mtcil.learning.clips import of_labels
from mtcil.learning.fit import Fit, Seeds, logged
from mtcil.learning.learner import Learner
from mtcil.learning.protocol import draw_tasks
from mtcil.learning.split import load_split
from mtcil.learning.steps import Method
from mtcil.learning.trajectory import Run, trajectory
from mtcil.records.rows import TABLES, Rows, step_rows
from mtcil.running.alone import follow
from mtcil.running.device import prepare_worker
from mtcil.running.jobs import BaseJob, RunJob
from mtcil.running.keys import digest
from mtcil.running.models import read_model, save_model, saved_updates
from mtcil.running.parallel import run_all
from mtcil.settings.sections import MachineSettings

Job = TypeVar("Job")


def train_all(jobs: Sequence[BaseJob], machine: MachineSettings) -> list[int]:
    """Train the base models whose files are not there yet; returns the updates of each."""
    updates = {}
    if not machine.fresh:
        updates = {job.file: saved_updates(job.file, job.key) for job in jobs}
    missing = [job for job in jobs if updates.get(job.file) is None]
    print(f"{len(jobs)} base models, {len(missing)} of them to train", file=sys.stderr)
    for job, trained in perform(train_one_base, missing, machine, "base models"):
        updates[job.file] = trained
    return [updates[job.file] or 0 for job in jobs]


def remove_others(folder: Path, jobs: Sequence[BaseJob]) -> None:
    """Remove base models that no job names: of rows and seeds that are gone."""
    wanted = {job.file for job in jobs}
    for file in sorted(folder.resolve().rglob("*.pt")):
        if file not in wanted:
            file.unlink()
            if not any(file.parent.iterdir()):
                file.parent.rmdir()


def train_one_base(job: BaseJob) -> tuple[BaseJob, int]:
    """Train one base model and save it; returns the updates made."""
    device = prepare_worker(job.device)
    data = load_split(
        job.folders.features, job.dataset, job.split, job.seed, device, job.order_seed
    )
    n_base = job.dataset.steps[0]
    log: list[tuple[Fit, int]] = []
    steps = learn_base(
        data.train[of_labels(data.train, 0, n_base)],
        data.validation[of_labels(data.validation, 0, n_base)],
        draw_tasks(job.heads, n_base, numpy_generator(job.seed, "tasks")),
        job.name.passes,
        job.network,
        job.training,
        job.phase,
        Seeds(job.seed, 0),
        shuffled_labels=job.name.control == "shuffled_labels",
    )
    network = follow(logged(steps, log))
    updates = sum(made for _, made in log)
    save_model(network, updates, job.key, job.file)
    return job, updates


def learn_all(jobs: Sequence[RunJob], machine: MachineSettings, known: Mapping[str, Rows]) -> Rows:
    """Learn the runs that are not known yet; the records of all, in the order of the jobs.

    A finished run is saved at once, so that a killed stage loses at most the runs in flight.

    Args:
        known: records of finished runs by key, from the stage's own tables.
    """
    records = {} if machine.fresh else _finished(jobs, known)
    missing = {job.key: job for job in jobs if job.key not in records}
    print(f"{len(jobs)} runs, {len(missing)} of them to learn", file=sys.stderr)
    for job, rows in perform(learn_one_run, list(missing.values()), machine, "runs"):
        records[job.key] = rows
    return {
        table: [{**row, **vars(job.run)} for job in jobs for row in records[job.key][table]]
        for table in TABLES
    }


def forget_checkpoints(jobs: Sequence[RunJob]) -> None:
    """Remove the files of finished runs, which are in the records now."""
    for job in jobs:
        job.checkpoint.unlink(missing_ok=True)


def _finished(jobs: Sequence[RunJob], known: Mapping[str, Rows]) -> dict[str, Rows]:
    """Records of the jobs that are finished: in the stage's tables, or saved by a killed stage."""
    found: dict[str, Rows] = {}
    for job in jobs:
        rows = known.get(job.key) or _read_checkpoint(job)
        if rows is not None and _are_all(rows, len(job.plan.steps)):
            found[job.key] = rows
    return found


def _are_all(rows: Rows, n_steps: int) -> bool:
    """Whether no row of a run is missing."""
    wanted = {"records": n_steps, "matrix": n_steps * (n_steps + 1) // 2, "confusion": n_steps}
    return {table: len(rows[table]) for table in TABLES} == wanted


def _save_checkpoint(job: RunJob, rows: Rows) -> None:
    """With a checksum: a damaged digit must not become a result."""
    write_text(job.checkpoint, json.dumps({"rows": rows, "checksum": digest(job.key, rows)}))


def _read_checkpoint(job: RunJob) -> Rows | None:
    """Records of a finished run; None if there are none, or they are damaged."""
    try:
        content = json.loads(job.checkpoint.read_text("utf-8"))
        rows: Rows = content["rows"]
        return rows if content["checksum"] == digest(job.key, rows) else None
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return None


def learn_one_run(job: RunJob) -> tuple[RunJob, Rows]:
    """Learn all incremental steps of one run and save its records."""
    base, plan = job.base, job.plan
    device = prepare_worker(base.device)
    data = load_split(
        base.folders.features, base.dataset, base.split, base.seed, device, base.order_seed
    )
    method = cast(Method, find("methods", plan.method))
    network, updates = read_model(base.file, base.key, plan.network, plan.steps[0], device)
    results = follow(trajectory(Run(data, plan, method, base.seed), Learner(network), updates))
    rows = step_rows(job.run, plan.steps, results, job.key)
    _save_checkpoint(job, rows)
    return job, rows


def perform(
    function: Callable[[Job], tuple[Job, Any]],
    jobs: Sequence[Job],
    machine: MachineSettings,
    title: str,
) -> Iterator[tuple[Job, Any]]:
    """Results as they come, under a bar; no worker is started where there is nothing to do."""
    if jobs:
        results = run_all(function, [(job,) for job in jobs], machine)
        yield from tqdm(results, desc=title, total=len(jobs), disable=None)
