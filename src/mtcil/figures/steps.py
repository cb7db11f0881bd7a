"""Figure 4: accuracy at each step by heads setting, in the paper's panels and one more."""

from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from mtcil.reporting.columns import AVERAGES
from mtcil.reporting.style import (
    draw_band,
    is_single,
    labels_of,
    looks_of,
    new_grid,
    percent_axis,
    spread_name,
)


def draw(table: pd.DataFrame) -> Figure:
    """A row of panels per dataset and split, as the paper's Figure 4 has them, and one more.

    (a) tasks of equal size beside the full one, (b) of different sizes, (c) controls and what
    the paper has not. Mean over seeds with its 95 % CI band; a variant looks the same in all.
    """
    steps = table[~table["measure"].isin(list(AVERAGES))]
    studies = list(steps.groupby(["dataset", "split", "exemplars"], sort=False))
    others = [line for line in _variants(steps) if not is_single(line)]
    panels = [name for name in PANELS if any(name in panels_of(o) for o in others)] or PANELS[:1]
    looks = looks_of(steps)
    figure, axes = new_grid(len(studies), len(panels))
    figure.set_figheight(3.1 * len(studies) + 1.2)
    for row, ((dataset, split, exemplars), part) in zip(axes, studies, strict=True):
        labels = labels_of(part)
        for axis, panel in zip(row, panels, strict=True):
            shown = [line for line in _variants(part) if panel in panels_of(line)]
            for line in shown:
                base = line["base"].iloc[0]
                draw_band(axis, line["measure"].astype(int), line, *looks[base], labels[base])
            axis.set_title(f"{panel}\n{dataset}, split {split}, K = {exemplars}, {_seeds(shown)}")
            percent_axis(axis)
            axis.set_xlabel("classes seen")
            axis.set_ylabel("step accuracy, %")
            axis.set_xticks(sorted(part["measure"].astype(int).unique()))
    handles: dict[str, Any] = {}
    for axis in figure.axes:
        handles |= dict(zip(*axis.get_legend_handles_labels()[::-1], strict=True))
    figure.legend(
        list(handles.values()), list(handles), title=f"base model (band: {spread_name(steps)})",
        loc="outside lower center", ncols=min(3, len(panels) + 1), frameon=False,
    )  # fmt: skip
    return figure


PANELS = ("(a) tasks of equal size", "(b) tasks of different sizes", "(c) controls, and beyond")


def _variants(steps: pd.DataFrame) -> list[pd.DataFrame]:
    return [part for _, part in steps.groupby("base", sort=False)]


def panels_of(line: pd.DataFrame) -> tuple[str, ...]:
    """The panels in which a variant stands; the single task stands in all."""
    first = line.iloc[0]
    if is_single(line):
        return PANELS
    if first["control"] != "none" or first["passes"] == "shared" or first["heads"] == "all":
        return PANELS[2:]
    full, *others = (int(size) for size in first["heads"].split("-"))
    equal = PANELS[:1] if len(set(others)) == 1 else ()
    different = PANELS[1:2] if others and len(set(others)) == len(others) else ()
    if full in others or not (equal or different):
        return PANELS[2:]  # duplicates of the full task, or of some others
    return (*equal, *different)


def _seeds(lines: list[pd.DataFrame]) -> str:
    counts = sorted({int(n) for line in lines for n in line["n"]})
    return f"n = {' to '.join(map(str, counts[:: max(1, len(counts) - 1)]))}"
