"""What the stages of incremental steps share: learn all runs of a row, write their records."""

import sys
from collections.abc import Sequence
from pathlib import Path

from _study import CHECKPOINTS, FEATURES, MODELS, RECORDS
from mtcil.device import choose_device
from mtcil.results import step_rows, write_table
from mtcil.runs import Variant, learn_all, step_tasks
from mtcil.study import Study


def learn_and_record(
    study: Study,
    stage: str,
    row: str,
    base: str,
    variants: Sequence[Variant],
    models: Path = MODELS,
) -> None:
    """Learn every variant and seed from the base models of `base`."""
    dataset = study.base_models[base].dataset
    n_classes = len(study.datasets[dataset].classes)
    for budget in sorted({variant.exemplars for variant in variants}):
        if budget < n_classes:
            print(
                f"warning: K = {budget} is less than the {n_classes} classes of {dataset}: "
                f"once more than {budget} are seen, none keeps an exemplar.",
                file=sys.stderr,
            )
    device = choose_device(study.machine.device)
    tasks = step_tasks(
        study, base, variants, FEATURES / dataset, models / base, CHECKPOINTS, device
    )
    rows: dict[str, list] = {"records": [], "matrix": [], "confusion": []}
    for run, state in learn_all(tasks, study):
        for name, more in step_rows(
            vars(run), study.datasets[dataset].steps, state.results
        ).items():
            rows[name] += more
    for name, table in rows.items():
        write_table(RECORDS / stage / row / f"{name}.csv", table)
