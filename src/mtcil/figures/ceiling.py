"""Gain over the single task by base training, beside the ceiling's."""

import pandas as pd
from matplotlib.figure import Figure

from mtcil.reporting.style import MULTITASK, PAPER, SINGLE, new_figure, spread, spread_name
from mtcil.settings.study import CEILING
from mtcil.settings.study import MULTITASK as MULTITASK_BASE


def draw(table: pd.DataFrame) -> Figure:
    """A panel per dataset and split: a bar per base model; lines at half the ceiling's, and all."""
    gained = table.dropna(subset="gain_mean")
    places = list(gained.groupby(["dataset", "split", "exemplars", "method"], sort=False))
    longest = max(len(part) for _, part in places)
    figure, axes = new_figure(len(places), height=1.2 + 0.3 * longest)
    for axis, ((dataset, split, exemplars, method), part) in zip(axes, places, strict=True):
        rows = part.sort_values("gain_mean")
        low, high = spread(rows, "gain_")
        gain, at = rows["gain_mean"], range(len(rows))
        is_ceiling = rows["control"] == CEILING
        colours = [
            PAPER if of_ceiling else MULTITASK if base == MULTITASK_BASE else SINGLE
            for of_ceiling, base in zip(is_ceiling, rows["base"], strict=True)
        ]
        axis.barh(at, gain, color=colours, height=0.6)
        axis.errorbar(
            gain, at, xerr=[gain - low, high - gain], fmt="none", color="black", capsize=2
        )  # fmt: skip
        ceiling = float(gain[is_ceiling].iloc[0])
        for x, style in ((ceiling / 2, ":"), (ceiling, "--")):
            axis.axvline(x, color=PAPER, linestyle=style, linewidth=1)
        axis.axvline(0, color="black", linewidth=0.8)
        axis.set_yticks(at, rows["base"])
        axis.set_ylabel("base model")
        axis.set_xlabel("average minus the single task's, points")
        counts = sorted({int(n) for n in rows["gain_n"]})
        n = " to ".join(map(str, counts[:: max(1, len(counts) - 1)]))
        axis.set_title(
            f"{dataset}, split {split}, {method}, K = {exemplars}\nn = {n}, bars: "
            f"{spread_name(rows.assign(n=rows['gain_n']))}"
        )
    return figure
