"""The rows that DVC's own plots draw, of one dataset and base model on its first split."""

from typing import Any

import pandas as pd

from mtcil.records.tables import headline_runs
from mtcil.reporting.columns import AVERAGES


def step_curve(table: pd.DataFrame, dataset: str, base: str) -> list[dict[str, Any]]:
    """A row per step: mean step accuracy over seeds, in percent, and its n.

    Where there are none, one row without numbers, so that the file still has columns.

    Args:
        table: the study's table `steps`.
    """
    rows = [
        {"classes_seen": int(row["measure"]), "accuracy": row["mean"], "n": row["n"]}
        for row in headline_runs(table, dataset, base).to_dict("records")
        if row["measure"] not in AVERAGES
    ]
    return rows or [{"classes_seen": None, "accuracy": None, "n": 0}]


def exemplar_curve(table: pd.DataFrame, dataset: str, base: str) -> list[dict[str, Any]]:
    """A row per K: mean of average incremental accuracy over seeds, and its n.

    Args:
        table: the study's table `exemplars`.
    """
    rows = [
        {"exemplars": row["exemplars"], "accuracy": row["mean"], "n": row["n"]}
        for row in headline_runs(table, dataset, base).to_dict("records")
    ]
    return rows or [{"exemplars": None, "accuracy": None, "n": 0}]


def confusion_rows(table: pd.DataFrame, dataset: str, base: str) -> list[dict[str, str]]:
    """A row per test clip after the last step, over all seeds: DVC's confusion template counts.

    Args:
        table: the study's table `confusion`.
    """
    rows = []
    for cell in headline_runs(table, dataset, base).to_dict("records"):
        names = {"actual": cell["true_class"], "predicted": cell["predicted_class"]}
        rows += [names] * int(cell["clips"])
    return rows or [{"actual": "", "predicted": ""}]
