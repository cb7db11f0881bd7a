"""Shared by the stages of incremental steps: learn all runs of a dataset, write their records."""

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from _study import BASES, CHECKPOINTS, FEATURES, RECORDS
from mtcil.records.tables import known_runs, write_records
from mtcil.running.base_jobs import BaseJob, Folders, base_jobs
from mtcil.running.device import choose_device
from mtcil.running.jobs import RunJob, Variant, run_jobs
from mtcil.running.run import forget_checkpoints, learn_all
from mtcil.settings.study import FromBases, Start, Study


def bases_of(
    study: Study, dataset: str, starts: Iterable[Start], models: Path = BASES
) -> list[BaseJob]:
    """Base models of a dataset, for each start's base, split and seeds."""
    folders = Folders(FEATURES / dataset, models / dataset, CHECKPOINTS)
    device = choose_device(study.machine.device)
    return base_jobs(study, dataset, list(starts), folders, device)


def jobs_of(
    study: Study, dataset: str, row: FromBases, variants: Sequence[Variant]
) -> list[RunJob]:
    """Every variant from every base model of a row."""
    return run_jobs(study, bases_of(study, dataset, study.starts(dataset, row)), variants)


def learn(study: Study, stage: str, dataset: str, jobs: Sequence[RunJob]) -> None:
    """Learn the unfinished runs of one dataset, and write the records of all runs."""
    n_classes = len(study.datasets[dataset].classes)
    for budget in sorted({job.run.exemplars for job in jobs if job.run.exemplars < n_classes}):
        print(
            f"warning: K = {budget} is less than the {n_classes} classes of {dataset}: "
            f"once more than {budget} classes are seen, no exemplar is kept.",
            file=sys.stderr,
        )
    known = known_runs(sorted(RECORDS.glob("*")), dataset)  # of any stage
    for table, rows in learn_all(jobs, study.machine, known).items():
        write_records(RECORDS / stage, dataset, rows, table)
    forget_checkpoints(jobs)
