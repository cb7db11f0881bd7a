"""The columns of a table of steps: accuracy at each number of classes seen, then both averages."""

import pandas as pd

from mtcil.records.measures import average_accuracy_with_base, average_incremental_accuracy
from mtcil.records.tables import by_seed
from mtcil.reporting.inference import Estimate

AVERAGES = {
    "average": average_incremental_accuracy,
    "average with base": average_accuracy_with_base,
}


def by_measure(runs: pd.DataFrame) -> dict[str, dict[int, float]]:
    """{classes seen or average: {seed: percent}} of the runs of one variant."""
    seen = [f"{n:02d}" for n in sorted(runs["classes_seen"].unique())]
    found: dict[str, dict[int, float]] = {name: {} for name in (*seen, *AVERAGES)}
    for seed, steps in by_seed(runs).items():
        for name, accuracy in zip(seen, steps, strict=True):
            found[name][seed] = accuracy
        for name, average in AVERAGES.items():
            found[name][seed] = average(steps)
    return found


def in_order(measures: pd.Series) -> list[str]:
    """The columns in the order in which they are printed."""
    return sorted(measures.unique(), key=lambda measure: (measure in AVERAGES, measure))


def named(prefix: str, found: Estimate) -> dict[str, float]:
    """An estimate as cells of a row; the p-value only of a paired difference."""
    fields = ("n", "mean", "std", "low", "high", *(("p_value",) if prefix else ()))
    return {f"{prefix}{field}": getattr(found, field) for field in fields}
