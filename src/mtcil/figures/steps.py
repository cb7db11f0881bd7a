"""Accuracy at each step by heads setting, the single-task base against multitask bases.

The form of the paper's Figure 4 and of its Table 2's columns; the average leaves the base step
out, as the paper's does.
"""

from collections.abc import Sequence
from itertools import cycle

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mtcil.records.rows import VARIANT
from mtcil.reporting.columns import AVERAGES, by_measure, in_order, named
from mtcil.reporting.inference import estimate, paired_by_seed
from mtcil.reporting.style import (
    MARKERS,
    MULTITASK,
    OTHERS,
    SINGLE,
    gap_text,
    is_single,
    label_of,
    new_grid,
    with_ci,
)
from mtcil.settings.study import SINGLE as SINGLE_TASK
from mtcil.settings.study import Study

STAGE, SECTION, RECORDS = "learn_steps", "base_models", "records"
ABOUT = ("dataset", "split", "base", "heads", "passes", "control", "exemplars")


def table(study: Study, records: pd.DataFrame) -> pd.DataFrame:
    """A row per variant and column: mean, 95 % CI, and the paired difference to single task.

    Columns of the printed table ("measure") are the classes seen, then both averages.
    """
    if records.empty:
        return records
    rows = []
    keys = ["dataset", "split", "method", "exemplars"]
    for _, part in records.groupby(keys, sort=False):
        single = by_measure(part[part["base"] == SINGLE_TASK])
        for variant, runs in part.groupby(list(VARIANT), sort=False):
            about = dict(zip(VARIANT, variant, strict=True))
            for measure, values in by_measure(runs).items():
                found = estimate(list(values.values()))
                row = {**about, "measure": measure, **named("", found)}
                gain = paired_by_seed(values, single.get(measure, {}))
                if gain and about["base"] != SINGLE_TASK:
                    row |= named("gain_", gain)
                rows.append(row)
    return pd.DataFrame(rows)


def markdown(table: pd.DataFrame) -> tuple[Sequence[str], list[list[str]]]:
    """One line per variant: accuracy after each step and the averages, in percent."""
    measures = in_order(table["measure"])
    header = [
        "dataset", "split", "base", "heads", "passes", "control", "K", *measures,
        "average gained on single task",
    ]  # fmt: skip
    lines = []
    for variant, part in table.groupby(list(VARIANT), sort=False):
        about = dict(zip(VARIANT, variant, strict=True))
        cells = {
            row["measure"]: with_ci(row["mean"], row["low"], row["high"], row["n"])
            for _, row in part.iterrows()
        }
        average = part[part["measure"] == "average"].iloc[0]
        lines.append(
            [
                *(str(about[k]) for k in ABOUT),
                *(cells.get(m, "") for m in measures),
                gap_text(average, "gain_"),
            ]
        )
    return header, lines


def draw(table: pd.DataFrame) -> Figure:
    """A row of panels per dataset and split, as the paper's Figure 4 has them, and one more.

    (a) tasks of equal size beside the full one, (b) of different sizes, (c) controls and what
    the paper has not. Mean over seeds with its 95 % CI band; the same axes in all panels.
    """
    steps = table[~table["measure"].isin(list(AVERAGES))]
    studies = list(steps.groupby(["dataset", "split", "exemplars"], sort=False))
    others = [line for line in _variants(steps) if not is_single(line)]
    wanted = [name for name in PANELS if any(name in panels_of(o) for o in others)] or PANELS[:1]
    figure, axes = new_grid(len(studies), len(wanted))
    for row, ((dataset, split, exemplars), part) in zip(axes, studies, strict=True):
        lowest = max(0.0, float(part["mean"].min()) - 5)  # a wide CI is cut
        for axis, panel in zip(row, wanted, strict=True):
            shown = [line for line in _variants(part) if panel in panels_of(line)]
            _draw_panel(axis, shown)
            axis.set_title(f"{panel}\n{dataset}, split {split}, K = {exemplars}")
            axis.set_ylim(lowest - 0.9 * (101 - lowest), 101)  # the legend stands below the lines
            axis.set_xlabel("classes seen")
            axis.set_ylabel("step accuracy, %")
            axis.set_xticks(sorted(part["measure"].astype(int).unique()))
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
    different = PANELS[1:2] if len(set(others)) == len(others) else ()
    if full in others or not (equal or different):
        return PANELS[2:]  # duplicates of the full task, or of some others
    return (*equal, *different)


def _draw_panel(axis: Axes, lines: list[pd.DataFrame]) -> None:
    colours = cycle([MULTITASK, *OTHERS])
    for marker, line in zip(cycle(MARKERS), lines, strict=False):
        colour = SINGLE if is_single(line) else next(colours)
        x, n = line["measure"].astype(int), int(line["n"].min())
        axis.plot(x, line["mean"], marker=marker, color=colour, label=f"{label_of(line)}, n {n}")
        axis.fill_between(x, line["low"], line["high"], color=colour, alpha=0.15, linewidth=0)
    axis.legend(title="heads (band: 95 % CI)", frameon=True, fontsize="small", loc="lower left")
