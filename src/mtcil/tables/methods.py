"""Comparison of methods, from the same base models; all but `joint` have at most the same bytes."""

from collections.abc import Sequence

import pandas as pd

from mtcil.reporting import comparison
from mtcil.reporting.comparison import (
    BOUNDS,
    PLACE,
    measured,
    named_bound,
    names_of,
    pairs_of,
    ranked,
)
from mtcil.reporting.style import gap_text, power_cells, with_ci

STAGE, SECTION, RECORDS = "compare_methods", "comparisons", "records"
table = comparison.table


def markdown(table: pd.DataFrame) -> tuple[Sequence[str], list[list[str]]]:
    """A line per method: single task and another base, sorted by the average on single task.

    Without a single task, lines are sorted by the average on the other base.
    """
    header = [
        "dataset", "split", "K", "base models", "rank", "method", "single task", "other base",
        "other base minus single task (p by Holm)", "single task: to ccil (p by Holm)",
        "other base: to ccil (p by Holm)", "single task: to joint (p by Holm)",
        "old / new, single task", "old / new, other base", "kept, kB", "updates",
        "clips passed forward",
        "detectable gain of the other base (80 % power)",
    ]  # fmt: skip
    lines = []
    for single, other in pairs_of(table):
        ranking = single if len(single) else other
        first = ranking.iloc[0]
        order = ranked(ranking)
        placed = [method for method in order if method not in BOUNDS]
        for method in order:
            ones, others = (part[part["method"] == method] for part in (single, other))
            n_bytes, updates, clips = (
                measured(ranking, name).loc[method, "mean"]
                for name in ("bytes", "updates", "clips")
            )
            lines.append(
                [
                    *(str(first[k]) for k in PLACE),
                    names_of(single, other),
                    "" if method in BOUNDS else str(placed.index(method) + 1),
                    named_bound(method),
                    *(_average(part) for part in (ones, others)),
                    _difference(others, "gain_"),
                    *(_difference(part, "ccil_") for part in (ones, others)),
                    _difference(ones, "joint_"),
                    *(_old_and_new(part) for part in (ones, others)),
                    f"{n_bytes / 1000:,.1f}",
                    f"{updates:,.0f}",
                    f"{clips:,.0f}",
                    _power(others),
                ]
            )
    return header, lines


def _average(part: pd.DataFrame) -> str:
    cells = measured(part, "average")
    return "".join(with_ci(r) for _, r in cells.iterrows()) + _diverged(part)


def _diverged(part: pd.DataFrame) -> str:
    """The number of runs whose weights were no longer finite; "" for none."""
    share = measured(part, "diverged")
    n = round(float((share["mean"] * share["n"]).sum()))
    return f", {n} diverged" if n else ""


def _difference(part: pd.DataFrame, prefix: str) -> str:
    cells = measured(part, "average")
    return "".join(gap_text(row, prefix, "p_holm") for _, row in cells.iterrows())


def _power(part: pd.DataFrame) -> str:
    cells = measured(part, "average")
    return "".join(power_cells(row, "gain_")[1] for _, row in cells.iterrows())


def _old_and_new(part: pd.DataFrame) -> str:
    means = [measured(part, name)["mean"] for name in ("old", "new")]
    return " / ".join(f"{mean.iloc[0]:.1f}" for mean in means if len(mean))
