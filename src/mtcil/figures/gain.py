"""What multitask base training adds at each step, beside the curves that it is taken from.

Above: step accuracy of the single task and of multitask. Below: multitask minus single task,
paired by seed; above the line multitask is better.
"""

import pandas as pd
from matplotlib.figure import Figure

from mtcil.reporting.columns import AVERAGES, MINUS_BASE
from mtcil.reporting.style import (
    MULTITASK,
    SINGLE,
    draw_band,
    new_grid,
    percent_axis,
    spread,
    spread_name,
)


def draw(table: pd.DataFrame) -> Figure:
    """A column per dataset and split: both curves with their 95 % CI, and the gain with its."""
    steps = table[~table["measure"].isin([*AVERAGES, MINUS_BASE])]
    shown = [*spread(steps, "gain_"), steps["gain_mean"]]
    limit = 1.15 * pd.concat(shown).abs().max()
    places = list(steps.groupby(["dataset", "split", "exemplars"], sort=False))
    figure, (above, below) = new_grid(2, len(places), heights=[3, 2])
    for top, bottom, ((dataset, split, exemplars), part) in zip(above, below, places, strict=True):
        heads, n = part["heads"].iloc[0], int(part["gain_n"].min())
        x = part["measure"].astype(int)
        draw_band(top, x, part, SINGLE, "o", "single task", "single_")
        draw_band(top, x, part, MULTITASK, "s", f"multitask, heads {heads}")
        bars = f"band and bars: {spread_name(part)}"
        top.set_title(f"{dataset}, split {split}, K = {exemplars}\nn = {n}, {bars}")
        top.set_ylabel("step accuracy, %")
        percent_axis(top)
        top.legend(loc="lower left", frameon=True, fontsize="small")
        low, high = spread(part, "gain_")
        gain = part["gain_mean"]
        ends = [gain - low, high - gain]
        bottom.errorbar(x, gain, yerr=ends, color=MULTITASK, marker="s", capsize=3)
        bottom.axhline(0, color=SINGLE, linewidth=1)
        if limit > 0:
            bottom.set_ylim(-limit, limit)
        bottom.set_ylabel("multitask minus\nsingle task, points")
        for axis in (top, bottom):
            axis.set_xticks(sorted(x))
            axis.set_xlabel("classes seen")
    return figure
