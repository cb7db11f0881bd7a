"""The columns of a table of steps: accuracy at each number of classes seen, then both averages."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from mtcil.records.measures import average_accuracy_with_base, average_incremental_accuracy
from mtcil.records.tables import by_seed
from mtcil.reporting.inference import (
    Estimate,
    detectable,
    estimate,
    holm,
    paired_by_seed,
    resampled_half_width,
)
from mtcil.settings.sections import SplitShares
from mtcil.settings.study import MULTITASK, SINGLE, Study

AVERAGES = {
    "average": average_incremental_accuracy,
    "average with base": average_accuracy_with_base,
}
AVERAGE, WITH_BASE = AVERAGES
MINUS_BASE = "average minus base"  # only in tables of gains


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
    last = (*AVERAGES, MINUS_BASE)
    numbers = sorted(set(measures) - set(last), key=int)
    return [*numbers, *sorted(set(measures) & set(last))]


def minus_base(runs: pd.DataFrame) -> dict[str, dict[int, float]]:
    """As `by_measure`: the average minus the accuracy after the base step.

    Empty for runs of a base step only.
    """
    if runs["step"].max() == 0:
        return {}
    steps = by_seed(runs)
    return {MINUS_BASE: {s: average_incremental_accuracy(a) - a[0] for s, a in steps.items()}}


def with_power(table: pd.DataFrame, prefix: str, split: SplitShares) -> pd.DataFrame:
    """A table with more about the differences in its columns of this prefix.

    `p_holm`: the p-value, corrected over all differences of the table. `wide_low`, `wide_high`:
    the CI corrected for resampling. `detectable`: the difference found with 80 % power.
    """
    if f"{prefix}mean" not in table:
        return table
    pairs = zip(table[f"{prefix}std"], table[f"{prefix}n"].fillna(0), strict=True)
    sizes = [(float(std), int(n)) for std, n in pairs]
    half = np.array([resampled_half_width(*s, split.test / split.train) for s in sizes])
    return table.assign(
        **{
            f"{prefix}p_holm": holm(table[f"{prefix}p_value"].tolist()),
            f"{prefix}wide_low": table[f"{prefix}mean"] - half,
            f"{prefix}wide_high": table[f"{prefix}mean"] + half,
            f"{prefix}detectable": [detectable(*s) for s in sizes],
        }
    )


def order_seeds(study: Study, records: pd.DataFrame) -> list[int | None]:
    """`order_seed` of the base model of each record; None if the row has been removed."""
    if records.empty:
        return []
    rows = study.base_models
    pairs = zip(records["dataset"], records["base"], strict=True)
    found = [rows.get(dataset, {}).get(base) for dataset, base in pairs]
    return [None if row is None else row.order_seed for row in found]


def same_orders(study: Study, dataset: str, *bases: str) -> bool:
    """Whether runs of a seed from these base models see the classes in the same order."""
    rows = study.base_models.get(dataset, {})
    return len({rows[base].order_seed for base in bases if base in rows}) < 2


def only_training_differs(study: Study, dataset: str) -> bool:
    """Whether single task and multitask have the same method and class orders."""
    rows = study.base_models.get(dataset, {})
    methods = {rows[base].method for base in (SINGLE, MULTITASK) if base in rows}
    return len(methods) == 1 and same_orders(study, dataset, SINGLE, MULTITASK)


def named(prefix: str, found: Estimate) -> dict[str, float]:
    """An estimate as cells of a row; with a p-value only for a paired difference."""
    fields = ("n", "mean", "std", "low", "high", *(("p_value",) if prefix else ()))
    return {f"{prefix}{field}": getattr(found, field) for field in fields}
