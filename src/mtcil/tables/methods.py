"""Comparison of methods, from both base models, with the same bytes of memory."""

from collections.abc import Sequence

import pandas as pd

from mtcil.reporting import comparison
from mtcil.reporting.comparison import BOUNDS, PLACE, measured, named_bound, pairs_of, ranked
from mtcil.reporting.style import gap_text, power_cells, with_ci

STAGE, SECTION, RECORDS = "compare_methods", "comparisons", "records"
table = comparison.table


def markdown(table: pd.DataFrame) -> tuple[Sequence[str], list[list[str]]]:
    """A line per method: single task and multitask, sorted by the average on single task.

    Without a single task, lines are sorted by the average on the other base.
    """
    header = [
        "dataset", "split", "K", "rank", "method", "heads", "single task", "multitask",
        "multitask minus single task (p by Holm)", "single task: to ccil (p by Holm)",
        "multitask: to ccil (p by Holm)", "single task: to joint", "old / new, single task",
        "old / new, multitask", "kept, kB", "updates", "clips passed forward",
        "detectable gain of multitask (80 % power)",
    ]  # fmt: skip
    lines = []
    for single, multitask in pairs_of(table):
        ranking = single if len(single) else multitask
        first = ranking.iloc[0]
        heads = [str(part["heads"].iloc[0]) for part in (single, multitask) if len(part)]
        order = ranked(ranking)
        placed = [method for method in order if method not in BOUNDS]
        for method in order:
            ones, others = (part[part["method"] == method] for part in (single, multitask))
            n_bytes, updates, clips = (
                measured(ranking, name).loc[method, "mean"]
                for name in ("bytes", "updates", "clips")
            )
            lines.append(
                [
                    *(str(first[k]) for k in PLACE),
                    "" if method in BOUNDS else str(placed.index(method) + 1),
                    named_bound(method),
                    " / ".join(heads),
                    *(_average(part) for part in (ones, others)),
                    _difference(others, "gain_"),
                    *(_difference(part, "ccil_") for part in (ones, others)),
                    _difference(ones, "joint_"),
                    *(_old_and_new(part) for part in (ones, others)),
                    f"{n_bytes / 1000:,.1f}",
                    *("" if pd.isna(number) else f"{number:,.0f}" for number in (updates, clips)),
                    _power(others),
                ]
            )
    return header, lines


def _average(part: pd.DataFrame) -> str:
    cells = measured(part, "average")
    return "".join(with_ci(r["mean"], r["low"], r["high"], r["n"]) for _, r in cells.iterrows())


def _difference(part: pd.DataFrame, prefix: str) -> str:
    cells = measured(part, "average")
    return "".join(gap_text(row, prefix, "p_holm") for _, row in cells.iterrows())


def _power(part: pd.DataFrame) -> str:
    cells = measured(part, "average")
    return "".join(power_cells(row, "gain_")[1] for _, row in cells.iterrows())


def _old_and_new(part: pd.DataFrame) -> str:
    means = [measured(part, name)["mean"] for name in ("old", "new")]
    return " / ".join(f"{mean.iloc[0]:.1f}" for mean in means if len(mean))
