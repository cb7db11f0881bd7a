"""The rows that DVC's own plots draw."""

from typing import Any

import pandas as pd

from mtcil.records.measures import average_incremental_accuracy
from mtcil.records.tables import by_seed, confusion_from_text
from mtcil.reporting.inference import estimate


def step_curve(runs: pd.DataFrame) -> list[dict[str, Any]]:
    """A row per step of one variant: mean step accuracy over seeds, in percent, and its n.

    Where there are no such runs, one row without numbers, so that the file still has columns.
    """
    rows = []
    for seen, part in runs.groupby("classes_seen") if len(runs) else ():
        found = estimate(part["accuracy"].tolist())
        rows.append({"classes_seen": seen, "accuracy": found.mean, "n": found.n})
    return rows or [{"classes_seen": None, "accuracy": None, "n": 0}]


def exemplar_curve(runs: pd.DataFrame) -> list[dict[str, Any]]:
    """A row per K of one variant: mean of average incremental accuracy over seeds, and its n."""
    rows = []
    for budget, part in runs.groupby("exemplars") if len(runs) else ():
        found = estimate([average_incremental_accuracy(steps) for steps in by_seed(part).values()])
        rows.append({"exemplars": budget, "accuracy": found.mean, "n": found.n})
    return rows or [{"exemplars": None, "accuracy": None, "n": 0}]


def confusion_rows(runs: pd.DataFrame) -> list[dict[str, str]]:
    """A row per test clip after the last step, over all seeds: DVC's confusion template counts.

    Classes are named by their place in the class order, which differs between seeds.
    """
    if not len(runs):
        return [{"actual": "", "predicted": ""}]
    rows = []
    for text in runs[runs["step"] == runs["step"].max()]["counts"]:
        for true, counts in enumerate(confusion_from_text(text)):
            for predicted, n in enumerate(counts):
                rows += [{"actual": f"{true:02d}", "predicted": f"{predicted:02d}"}] * int(n)
    return rows
