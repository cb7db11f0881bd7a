"""Choosing a method's settings: every combination of a small grid, the best one by its average."""

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import pandas as pd

from mtcil.core.errors import UserError
from mtcil.records.measures import average_incremental_accuracy
from mtcil.records.tables import by_seed

Settings = dict[str, Any]


def points_of(grid: Mapping[str, Sequence[Any]]) -> list[Settings]:
    """Every combination of the values; one without settings for an empty grid."""
    return [dict(zip(grid, values, strict=True)) for values in product(*grid.values())]


def lines_for_settings(best: Mapping[str, Settings]) -> str:
    """The chosen points as `comparison.tuned` of settings.yaml has them."""
    lines = []
    for method, settings in best.items():
        texts = [f"{k}: {'null' if value is None else value}" for k, value in settings.items()]
        lines.append(f"    {method}: {{{', '.join(texts)}}}")
    return "\n".join(["comparison:", "  tuned:", *lines]) + "\n"


def name_of(method: str, settings: Settings) -> str:
    """How records name a point: "lwf kd_weight=3.0 learning_rate=0.01"."""
    return " ".join([method, *(f"{name}={value}" for name, value in settings.items())])


def best_points(
    records: pd.DataFrame, grids: Mapping[str, Mapping[str, Sequence[Any]]]
) -> dict[str, Settings]:
    """For each method the point of the highest mean average incremental accuracy over the seeds.

    Args:
        records: of all points, measured on validation clips; `method` is from `name_of`.
        grids: of each method.

    Raises:
        UserError: records of a point are missing.
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
