"""Comparison of methods: averages from the single task's base model and from others."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mtcil.reporting.comparison import (
    BOUNDS,
    JOINT,
    bases_of,
    measured,
    named_bound,
    names_of,
    ranked,
    title_of,
)
from mtcil.reporting.style import looks_of, new_figure, percent_axis

SPREAD = 0.32  # of a method's row, between the first and the last base model


def draw(table: pd.DataFrame) -> Figure:
    """A panel per dataset: methods, the best on top; dashed lines show joint on each base."""
    places, looks = bases_of(table), looks_of(table)
    longest = max(first["method"].nunique() for first, _ in places)
    figure, axes = new_figure(len(places), height=2.2 + 0.24 * longest, width=4.6)
    for axis, (first, others) in zip(axes, places, strict=True):
        methods, bases = [name for name in ranked(first) if name != JOINT], [first, *others]
        for i, part in enumerate(bases):
            lower = SPREAD * (i / (len(bases) - 1) - 0.5) if others else 0.0
            _draw_base(axis, part, methods, looks, lower)
        axis.set_yticks(range(len(methods)), list(map(named_bound, methods)))
        axis.set_ylim(len(methods) - 0.4, -0.6)
        axis.set_title(f"{title_of(first)}\n{names_of(*bases)}")
        axis.set_xlabel("average accuracy, %\n(incremental steps; bar: 95 % CI)")
        axis.set_ylabel("method")
        percent_axis(axis, "x")
    handles = {
        label: handle
        for axis in axes
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)
    }
    dashed = f" (dashed: {JOINT}, the {BOUNDS[JOINT]})" if JOINT in set(table["method"]) else ""
    figure.legend(
        list(handles.values()), list(handles), loc="outside lower center", ncols=len(handles),
        title=f"base model{dashed}", frameon=False,
    )  # fmt: skip
    return figure


def _draw_base(
    axis: Axes, part: pd.DataFrame, methods: list[str], looks: dict[str, tuple[str, str]],
    lower: float,
) -> None:  # fmt: skip
    """Draw the marks of one base model, `lower` rows below the middle of each method's row."""
    base = str(part["base"].iloc[0])
    colour, marker = looks[base]
    averages = measured(part, "average")
    shown = averages.reindex(methods)
    at = [i + lower for i in range(len(methods))]
    bars = [shown["mean"] - shown["low"], shown["high"] - shown["mean"]]
    axis.errorbar(
        shown["mean"], at, xerr=bars, color=colour, marker=marker, markersize=4, ls="",
        elinewidth=1, capsize=2, label=base,
    )  # fmt: skip
    if JOINT in averages.index:
        x = averages.loc[JOINT, "mean"]
        axis.plot([x, x], [-0.6, len(methods) - 0.4], color=colour, ls="--", linewidth=1)
