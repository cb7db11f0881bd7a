"""Stage tune_methods: choose each method's settings, and those of base models, with other seeds."""

from _learn import bases_of, learn
from _study import RECORDS, TUNING_BASES, row_of, run
from mtcil.core.files import write_text
from mtcil.records.tables import read_records
from mtcil.running.grid import base_grid_jobs, chosen, grid_variants, grids_of
from mtcil.running.jobs import RunJob, comparison_training, run_jobs
from mtcil.running.run import remove_others, train_all
from mtcil.settings.study import Study

SECTION = "tunings"


def main(study: Study, dataset: str) -> None:
    """All get the same effort: all points of a grid, with the same seeds."""
    expected = jobs(study, dataset)  # rejects a wrong grid before any training
    bases = list({job.base.file: job.base for job in expected}.values())
    train_all(bases, study.machine)
    remove_others(TUNING_BASES / dataset, bases)
    learn(study, "tune_methods", dataset, expected)
    lines = chosen(study, dataset, read_records(RECORDS / "tune_methods", dataset))
    write_text(RECORDS / "tune_methods" / f"{dataset}.chosen.yaml", lines)
    print(f"For settings.yaml:\n{lines}")


def jobs(study: Study, dataset: str) -> list[RunJob]:
    """All runs of the stage."""
    tuning, training = row_of(study, SECTION, dataset), comparison_training(study, dataset)
    starts = [(tuning.base, tuning.split, tuning.seeds)]
    bases = bases_of(study, dataset, starts, TUNING_BASES)
    grids, kept = grids_of(study, tuning), study.comparison.training
    variants = grid_variants(grids, study.budget(dataset), training, kept)
    of_bases = base_grid_jobs(study, dataset, bases[0].folders, bases[0].device)
    return run_jobs(study, bases, variants) + of_bases


if __name__ == "__main__":
    run(main)
