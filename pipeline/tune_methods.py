"""Stage tune_methods: choose each method's settings on validation clips of other seeds."""

import json

from _learn import learn_and_record
from _study import CHECKPOINTS, FEATURES, MODELS, RECORDS, row_of, run
from mtcil.device import choose_device
from mtcil.files import write_text
from mtcil.results import read_records
from mtcil.runs import Variant, base_tasks, method_settings, save_base, train_all
from mtcil.study import Study
from mtcil.tuned import best_points, name_of, points_of


def main(study: Study, row: str) -> None:
    """The same effort for all: every point of a small grid, on the same base models."""
    tuning = row_of(study, "tunings", row)
    how, budget = study.comparison, study.budget(tuning.dataset)
    models = MODELS / "tuning" / row
    tasks = base_tasks(
        study, tuning.base, how.tuning_seeds, FEATURES / tuning.dataset, CHECKPOINTS,
        choose_device(study.machine.device),
    )  # fmt: skip
    variants = [
        Variant(
            method, budget, how.tuning_seeds, settings, how.training, stopping="fixed",
            measured="validation", name=name_of(method, settings),
        )
        for method, grid in how.grids.items()
        for settings in points_of(grid)
    ]  # fmt: skip
    for variant in variants:  # a wrong grid is refused before hours of base training
        method_settings(study, variant.method, variant.settings)
    for seed, learner in train_all(tasks, study):
        save_base(learner, models / tuning.base / f"seed{seed}.pt")
    learn_and_record(study, "tune_methods", row, tuning.base, variants, models)
    chosen = best_points(read_records(RECORDS / "tune_methods" / row), how.grids)
    write_text(RECORDS / "tune_methods" / row / "chosen.json", json.dumps(chosen, indent=2) + "\n")


if __name__ == "__main__":
    run(main)
