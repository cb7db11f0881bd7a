"""Choose settings of methods and base trainings: the best point of a grid, by its accuracy."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd
from sklearn.model_selection import ParameterGrid

from mtcil.core.errors import UserError
from mtcil.learning.steps import StepTraining
from mtcil.records.measures import average_incremental_accuracy
from mtcil.records.tables import by_seed
from mtcil.running.base_jobs import Folders, base_jobs
from mtcil.running.jobs import RunJob, Variant, run_jobs
from mtcil.settings.study import Study, Tuning
from mtcil.settings.training import StepTrainingSettings

Settings = dict[str, Any]
Grid = Mapping[Any, Sequence[Any]]  # values by name of setting


def points_of(grid: Grid) -> list[Settings]:
    """Every combination of the values; for an empty grid, one without settings."""
    return list(ParameterGrid(dict(grid)))


def grid_variants(
    grids: Mapping[str, Grid], budget: int, training: StepTraining, kept: StepTrainingSettings
) -> list[Variant]:
    """Every point of every method's grid, measured on clips that were held out.

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
            measured="held_out",
            name=name_of(method, settings),
        )
        for method, grid in grids.items()
        for settings in points_of(grid)
    ]


def base_grid_jobs(study: Study, dataset: str, folders: Folders, device: str) -> list[RunJob]:
    """A run from every base model of every point of `tunings.<dataset>.base_grids`.

    In records the point's name is the base model's. Steps are learnt as in `learn_steps`, so
    validation clips also end the training early, and accuracies are optimistic for all alike.

    Args:
        folders: `models` gets a folder for each point.
    """
    tuning, jobs = study.tunings[dataset], list[RunJob]()
    for base, grid in tuning.base_grids.items():
        method = study.base_models[dataset][base].method
        variant = Variant(method, study.budget(dataset), measured="held_out")
        for point in points_of(grid):
            name, tuned = name_of(base, point), with_base_training(study, dataset, point)
            starts = [(base, tuning.split, tuning.seeds)]
            own = replace(folders, models=folders.models / name)
            bases = base_jobs(tuned, dataset, starts, own, device)
            named = [replace(job, name=replace(job.name, base=name)) for job in bases]
            jobs += run_jobs(tuned, named, [variant])
    return jobs


def with_base_training(study: Study, dataset: str, point: Mapping[str, float]) -> Study:
    """The study with the values of one point in its base training."""
    training, settings = study.base_training, study.datasets[dataset]
    rate = point.get("learning_rate")
    if rate is not None:
        fit = replace(training.fit, learning_rate=rate)
        training = replace(training, fit=fit, multitask_rate=rate)
    training = replace(training, task_weight=point.get("task_weight", training.task_weight))
    updates = max(1, round(point.get("length", 1.0) * settings.updates.base))
    settings = replace(settings, updates=replace(settings.updates, base=updates))
    parts = {name: dict(values) for name, values in study.base_parts.items()}
    for part, _, name in (key.partition(".") for key in point if "." in key):
        value, is_whole = point[f"{part}.{name}"], isinstance(parts[part].get(name), int)
        parts[part][name] = int(value) if is_whole and float(value).is_integer() else value
    return replace(
        study,
        base_training=training,
        base_parts=parts,
        datasets={**study.datasets, dataset: settings},
    )


def grids_of(study: Study, tuning: Tuning) -> dict[str, Grid]:
    """The grid of each method that is tuned."""
    grids = study.comparison.grids
    return {name: grids[name] for name in (grids if tuning.methods is None else tuning.methods)}


def chosen(study: Study, dataset: str, records: pd.DataFrame) -> str:
    """The best points of all grids, as lines for settings.yaml.

    Args:
        records: of all points.

    Raises:
        UserError: if records of a point are missing.
    """
    tuning = study.tunings[dataset]
    grids, is_method = grids_of(study, tuning), records["base"] == tuning.base
    methods = lines_for_settings(best_points(records[is_method], grids), grids)
    bases = best_points(records[~is_method], tuning.base_grids, "base")
    lines = lines_for_settings(bases, tuning.base_grids, "#   ")
    tuned = f"comparison:\n  tuned:\n{methods}" if methods else ""
    return tuned + (f"# base_training:\n{lines}" if lines else "")


def lines_for_settings(
    best: Mapping[str, Settings], grids: Mapping[str, Grid], indent: str = "    "
) -> str:
    """A line for each chosen point, in the format of `comparison.tuned` in settings.yaml.

    A value at an edge of its grid is named, because a better one may be outside.
    """
    lines = []
    for name, settings in best.items():
        texts = [f"{k}: {'null' if value is None else value}" for k, value in settings.items()]
        edges = [k for k, value in settings.items() if is_at_edge(value, grids[name][k])]
        note = f"  # at the edge of its grid: {', '.join(edges)}" if edges else ""
        lines.append(f"{indent}{name}: {{{', '.join(texts)}}}{note}\n")
    return "".join(lines)


def is_at_edge(value: Any, values: Sequence[Any]) -> bool:
    """Whether a number is the smallest or the largest of several."""
    numbers = [v for v in values if isinstance(v, int | float)]
    return len(numbers) == len(values) > 1 and value in (min(numbers), max(numbers))


def name_of(method: str, settings: Settings) -> str:
    """Name of a point in records: "lwf kd_weight=3.0 learning_rate=0.01"."""
    return " ".join([method, *(f"{name}={value}" for name, value in settings.items())])


def best_points(
    records: pd.DataFrame, grids: Mapping[str, Grid], column: str = "method"
) -> dict[str, Settings]:
    """For each grid, the point with the highest average incremental accuracy, mean over seeds.

    Args:
        records: of all points; `column` is from `name_of`.
        grids: by method, or by row of base models.

    Raises:
        UserError: if records of a point are missing.
    """
    by_point = {name: by_seed(runs) for name, runs in records.groupby(column)}
    seeds = set(records["seed"])
    average = {
        name: sum(map(average_incremental_accuracy, runs.values())) / len(runs)
        for name, runs in by_point.items()
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
