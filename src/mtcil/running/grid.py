"""Choose a method's settings: the best combination of a small grid, by its average accuracy."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from sklearn.model_selection import ParameterGrid

from mtcil.core.errors import UserError
from mtcil.learning.steps import StepTraining
from mtcil.records.measures import average_incremental_accuracy
from mtcil.records.tables import by_seed
from mtcil.running.jobs import Variant
from mtcil.settings.training import StepTrainingSettings

Settings = dict[str, Any]
Grid = Mapping[str, Sequence[Any]]


def points_of(grid: Grid) -> list[Settings]:
    """Every combination of the values; for an empty grid, one without settings."""
    return list(ParameterGrid(dict(grid)))


def grid_variants(
    grids: Mapping[str, Grid], budget: int, training: StepTraining, kept: StepTrainingSettings
) -> list[Variant]:
    """Every point of every method's grid, measured on validation clips.

    Args:
        kept: decides which validation clips a step may use.
    """
    return [
        Variant(
            method=method,
            exemplars=budget,
            settings=settings,
            training=training,
            validation=kept.validation,
            validation_share=kept.validation_share,
            stopping="fixed",
            measured="validation",
            name=name_of(method, settings),
        )
        for method, grid in grids.items()
        for settings in points_of(grid)
    ]


def lines_for_settings(best: Mapping[str, Settings]) -> str:
    """The chosen points in the format of `comparison.tuned` in settings.yaml."""
    lines = []
    for method, settings in best.items():
        texts = [f"{k}: {'null' if value is None else value}" for k, value in settings.items()]
        lines.append(f"    {method}: {{{', '.join(texts)}}}")
    return "\n".join(["comparison:", "  tuned:", *lines]) + "\n"


def name_of(method: str, settings: Settings) -> str:
    """Name of a point in records: "lwf kd_weight=3.0 learning_rate=0.01"."""
    return " ".join([method, *(f"{name}={value}" for name, value in settings.items())])


def best_points(records: pd.DataFrame, grids: Mapping[str, Grid]) -> dict[str, Settings]:
    """For each method, the point with the highest average incremental accuracy, mean over seeds.

    Args:
        records: of all points, measured on validation clips; `method` is from `name_of`.
        grids: by method.

    Raises:
        UserError: if records of a point are missing.
    """
    by_method = {name: by_seed(runs) for name, runs in records.groupby("method")}
    seeds = set(records["seed"])
    average = {
        name: sum(map(average_incremental_accuracy, runs.values())) / len(runs)
        for name, runs in by_method.items()
        if set(runs) == seeds
    }
    best = {}
    for method, grid in grids.items():
        points = points_of(grid)
        missing = [name_of(method, p) for p in points if name_of(method, p) not in average]
        if missing:
            raise UserError(f"tuning: no records of {missing[0]}. Run again: dvc repro.")
        best[method] = max(points, key=lambda point: average[name_of(method, point)])
    return best
