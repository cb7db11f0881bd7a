"""Ways to fine-tune: the average against the end of fine-tuning, a line per schedule."""

import pandas as pd
from matplotlib.figure import Figure

from mtcil.reporting.style import (
    MARKERS,
    OTHERS,
    SCHEDULES,
    SINGLE,
    base_text,
    new_figure,
    percent_axis,
)


def draw(table: pd.DataFrame) -> Figure:
    """A panel per sweep: average incremental accuracy against the end, a line per schedule."""
    averages = table[table["measure"] == "average"]
    panels = list(averages.groupby(["dataset", "split", "base", "heads"], sort=False))
    figure, axes = new_figure(len(panels), height=3.8)
    for axis, ((dataset, split, *_), part) in zip(axes, panels, strict=True):
        ends = list(dict.fromkeys(part["stopping"]))
        colours = (SINGLE, *OTHERS)
        for k, (schedule, line) in enumerate(part.groupby("schedule", sort=False)):
            at = [ends.index(stopping) + 0.08 * (k - 1) for stopping in line["stopping"]]
            bars = [line["mean"] - line["low"], line["high"] - line["mean"]]
            axis.errorbar(
                at, line["mean"], yerr=bars, color=colours[k], marker=MARKERS[k], capsize=3,
                label=SCHEDULES[str(schedule)],
            )  # fmt: skip
        axis.set_xticks(range(len(ends)), ["early\nstopping" if e == "early" else e for e in ends])
        axis.set_xlabel("epochs of an incremental step (bars: 95 % CI)")
        axis.set_ylabel("average accuracy, %")
        percent_axis(axis)
        seeds = f"n = {int(part['n'].min())}"
        axis.set_title(f"{dataset}, split {split}, {seeds}\n{base_text(part.iloc[0])}")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center")
    return figure
