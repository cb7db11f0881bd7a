"""Stage tune_methods: choose each method's settings on validation clips of other seeds."""

from _learn import bases_of, learn
from _study import RECORDS, TUNING_BASES, row_of, run
from mtcil.core.files import write_text
from mtcil.records.tables import read_records
from mtcil.running.grid import Grid, best_points, grid_variants, lines_for_settings
from mtcil.running.jobs import RunJob, comparison_training, run_jobs
from mtcil.running.run import remove_others, train_all
from mtcil.settings.study import Study

SECTION = "tunings"


def main(study: Study, dataset: str) -> None:
    """Every method gets the same effort: all points of a small grid, on the same base models."""
    wanted = jobs(study, dataset)  # rejects a wrong grid before any training
    bases = list({job.base.file: job.base for job in wanted}.values())
    train_all(bases, study.machine)
    remove_others(TUNING_BASES / dataset, bases)
    learn(study, "tune_methods", dataset, wanted)
    records = read_records(RECORDS / "tune_methods", dataset)
    lines = lines_for_settings(best_points(records, grids_of(study, dataset)))
    write_text(RECORDS / "tune_methods" / f"{dataset}.chosen.yaml", lines)
    print(f"For settings.yaml:\n{lines}")


def grids_of(study: Study, dataset: str) -> dict[str, Grid]:
    """The grid of each tuned method."""
    grids = study.comparison.grids
    return {name: grids[name] for name in row_of(study, SECTION, dataset).methods or grids}


def jobs(study: Study, dataset: str) -> list[RunJob]:
    """All runs of the stage."""
    tuning, training = row_of(study, SECTION, dataset), comparison_training(study, dataset)
    starts = [(tuning.base, tuning.split, tuning.seeds)]
    bases = bases_of(study, dataset, starts, TUNING_BASES)
    grids, kept = grids_of(study, dataset), study.comparison.training
    return run_jobs(study, bases, grid_variants(grids, study.budget(dataset), training, kept))


if __name__ == "__main__":
    run(main)
