"""Comparison of methods: averages from the single task's base and from the multitask base."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mtcil.reporting.comparison import (
    BOUNDS,
    JOINT,
    measured,
    named_bound,
    pairs_of,
    ranked,
    title_of,
)
from mtcil.reporting.style import MULTITASK, SINGLE, label_of, new_figure, percent_axis


def draw(table: pd.DataFrame) -> Figure:
    """A panel per dataset: methods, the best on top; dashed lines show joint on each base."""
    pairs = pairs_of(table)
    rankings = [single if len(single) else multitask for single, multitask in pairs]
    longest = max(ranking["method"].nunique() for ranking in rankings)
    figure, axes = new_figure(len(pairs), height=2.2 + 0.24 * longest, width=4.6)
    for axis, ranking, (single, multitask) in zip(axes, rankings, pairs, strict=True):
        methods = [method for method in ranked(ranking) if method != JOINT]
        if len(single):
            _draw_base(axis, single, methods, SINGLE, "o", "single task", -0.16)
        if len(multitask):
            _draw_base(axis, multitask, methods, MULTITASK, "s", "multitask", 0.16)
        axis.set_yticks(range(len(methods)), list(map(named_bound, methods)))
        axis.set_ylim(len(methods) - 0.4, -0.6)
        heads = ", against ".join(label_of(part) for part in (single, multitask) if len(part))
        axis.set_title(f"{title_of(ranking)}\nheads {heads}")
        axis.set_xlabel("average accuracy, %\n(incremental steps; bar: 95 % CI)")
        axis.set_ylabel("method")
        percent_axis(axis, "x")
    dashed = f" (dashed: {JOINT}, the {BOUNDS[JOINT]})" if JOINT in set(table["method"]) else ""
    figure.legend(
        *axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2,
        title=f"base model{dashed}", frameon=False,
    )  # fmt: skip
    return figure


def _draw_base(
    axis: Axes, part: pd.DataFrame, methods: list[str], colour: str, marker: str, label: str,
    lower: float,
) -> None:  # fmt: skip
    """Draw the marks of one base model, `lower` rows below the middle of each method's row."""
    averages = measured(part, "average")
    shown = averages.reindex(methods)
    at = [i + lower for i in range(len(methods))]
    bars = [shown["mean"] - shown["low"], shown["high"] - shown["mean"]]
    axis.errorbar(
        shown["mean"], at, xerr=bars, color=colour, marker=marker, markersize=4, ls="",
        elinewidth=1, capsize=2, label=label,
    )  # fmt: skip
    if JOINT in averages.index:
        x = averages.loc[JOINT, "mean"]
        axis.plot([x, x], [-0.6, len(methods) - 0.4], color=colour, ls="--", linewidth=1)
