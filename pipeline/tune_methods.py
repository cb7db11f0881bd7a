"""Stage tune_methods: choose each method's settings on validation clips of other seeds."""

from _learn import bases_of, learn
from _study import RECORDS, TUNING_BASES, row_of, run
from mtcil.core.files import write_text
from mtcil.records.tables import read_records
from mtcil.running.grid import best_points, lines_for_settings, name_of, points_of
from mtcil.running.jobs import Variant, comparison_training, run_jobs
from mtcil.running.run import remove_others, train_all
from mtcil.settings.study import Study


def main(study: Study, dataset: str) -> None:
    """The same effort for all: every point of a small grid, on the same base models."""
    tuning, how = row_of(study, "tunings", dataset), study.comparison
    grids = {name: how.grids[name] for name in tuning.methods or how.grids}
    starts = [(tuning.base, tuning.split, tuning.seeds)]
    bases = bases_of(study, dataset, starts, TUNING_BASES)
    training = comparison_training(study, dataset)
    kept = how.training.validation, how.training.validation_share
    variants = [
        Variant(
            method, study.budget(dataset), settings, training, *kept, stopping="fixed",
            measured="validation", name=name_of(method, settings),
        )
        for method, grid in grids.items()
        for settings in points_of(grid)
    ]  # fmt: skip
    jobs = run_jobs(study, bases, variants)  # a wrong grid is refused before any training
    train_all(bases, study.machine)
    remove_others(TUNING_BASES / dataset, bases)
    learn(study, "tune_methods", dataset, jobs)
    best = best_points(read_records(RECORDS / "tune_methods", dataset), grids)
    lines = lines_for_settings(best)
    write_text(RECORDS / "tune_methods" / f"{dataset}.chosen.yaml", lines)
    print(f"For settings.yaml:\n{lines}")


if __name__ == "__main__":
    run(main)
