"""The columns of a table of steps: accuracy at each number of classes seen, then both averages."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from mtcil.records.measures import average_accuracy_with_base, average_incremental_accuracy
from mtcil.records.tables import by_seed
from mtcil.reporting.inference import Estimate, estimate, paired_by_seed

AVERAGES = {
    "average": average_incremental_accuracy,
    "average with base": average_accuracy_with_base,
}


def by_measure(runs: pd.DataFrame) -> dict[str, dict[int, float]]:
    """{classes seen or average: {seed: percent}} of the runs of one variant."""
    seen = [f"{n:02d}" for n in sorted(runs["classes_seen"].unique())]
    measures: dict[str, dict[int, float]] = {name: {} for name in (*seen, *AVERAGES)}
    for seed, steps in by_seed(runs).items():
        for name, accuracy in zip(seen, steps, strict=True):
            measures[name][seed] = accuracy
        for name, average in AVERAGES.items():
            measures[name][seed] = average(steps)
    return measures


def row_of(
    about: Mapping[str, Any], values: Mapping[int, float], **others: Mapping[int, float]
) -> dict[str, Any]:
    """A row of a table: the estimate over seeds, and paired differences to others.

    Args:
        values: by seed.
        others: by prefix, the values to compare with; skipped if no seed is shared.
    """
    row = {**about, **named("", estimate(list(values.values())))}
    for prefix, other in others.items():
        gap = paired_by_seed(values, other)
        row |= named(f"{prefix}_", gap) if gap else {}
    return row


def in_order(measures: pd.Series) -> list[str]:
    """The columns in printed order."""
    return sorted(measures.unique(), key=lambda measure: (measure in AVERAGES, measure))


def named(prefix: str, found: Estimate) -> dict[str, float]:
    """An estimate as cells of a row; with a p-value only for a paired difference."""
    fields = ("n", "mean", "std", "low", "high", *(("p_value",) if prefix else ()))
    return {f"{prefix}{field}": getattr(found, field) for field in fields}
