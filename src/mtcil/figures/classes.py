"""Accuracy of each class after the last step, single task beside multitask."""

from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from mtcil.reporting.style import (
    MULTITASK,
    SINGLE,
    is_single,
    new_figure,
    percent_axis,
    spread,
    spread_name,
)


def draw(table: pd.DataFrame) -> Figure:
    """A panel per dataset and split: a line per class, mean over seeds with its 95 % CI."""
    panels = list(table.groupby(["dataset", "split"], sort=False))
    longest = int(table.groupby(["dataset", "split"])["class"].nunique().max())
    figure, axes = new_figure(len(panels), height=1.9 + 0.27 * longest)
    handles: dict[str, Any] = {}
    for axis, ((dataset, split), part) in zip(axes, panels, strict=True):
        names = list(dict.fromkeys(part["class"]))
        for _, line in part.groupby("base", sort=False):
            single = is_single(line)
            label = "single task" if single else f"multitask, heads {line['heads'].iloc[0]}"
            at = [names.index(name) + (-0.16 if single else 0.16) for name in line["class"]]
            low, high = spread(line)
            bars = [line["mean"] - low, high - line["mean"]]
            handles[label] = axis.errorbar(
                line["mean"], at, xerr=bars, color=SINGLE if single else MULTITASK,
                marker="o" if single else "s", markersize=4, ls="", elinewidth=1, capsize=2,
            )  # fmt: skip
        axis.set_yticks(range(len(names)), [name.replace("_", " ") for name in names])
        axis.set_ylim(len(names) - 0.4, -0.6)
        percent_axis(axis, "x")
        axis.set_xlabel(f"accuracy after the last step, %\n(bar: {spread_name(part)})")
        axis.set_ylabel("class")
        axis.set_title(f"{dataset}, split {split}, n = {int(part['n'].min())}")
    figure.legend(
        list(handles.values()), list(handles), loc="outside lower center", ncols=2, frameon=False
    )
    return figure
