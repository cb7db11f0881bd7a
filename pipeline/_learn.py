"""What the stages of incremental steps share: learn all runs of a dataset, write their records."""

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from _study import BASES, CHECKPOINTS, FEATURES, RECORDS
from mtcil.records.tables import known_runs, write_records
from mtcil.running.device import choose_device
from mtcil.running.jobs import BaseJob, Folders, RunJob, Variant, base_jobs, run_jobs
from mtcil.running.run import forget_checkpoints, learn_all
from mtcil.settings.study import FromBases, Start, Study


def bases_of(
    study: Study, dataset: str, starts: Iterable[Start], models: Path = BASES
) -> list[BaseJob]:
    """Base models of a dataset: of each start its base, split and seeds."""
    folders = Folders(FEATURES / dataset, models / dataset, CHECKPOINTS)
    device = choose_device(study.machine.device)
    return base_jobs(study, dataset, list(starts), folders, device)


def learn_variants(
    study: Study, stage: str, dataset: str, row: FromBases, variants: Sequence[Variant]
) -> None:
    """Learn every variant from every base model of a row, and write the records."""
    bases = bases_of(study, dataset, study.starts(dataset, row))
    learn(study, stage, dataset, run_jobs(study, bases, variants))


def learn(study: Study, stage: str, dataset: str, jobs: Sequence[RunJob]) -> None:
    """Learn runs of one dataset that are not finished, and write the records of all."""
    n_classes = len(study.datasets[dataset].classes)
    for budget in sorted({job.run.exemplars for job in jobs if job.run.exemplars < n_classes}):
        print(
            f"warning: K = {budget} is less than the {n_classes} classes of {dataset}: "
            f"once more than {budget} are seen, none keeps an exemplar.",
            file=sys.stderr,
        )
    known = known_runs(sorted(RECORDS.glob("*")), dataset)  # of any stage
    for table, rows in learn_all(jobs, study.machine, known).items():
        write_records(RECORDS / stage, dataset, rows, table)
    forget_checkpoints(jobs)
