"""Gain over the single task by base training, beside the ceiling's.

Left: of the average, with lines at the ceiling's gain and at half of it. Right: at each step.
"""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mtcil.reporting.columns import AVERAGE, MINUS_BASE
from mtcil.reporting.style import PAPER, looks_of, new_grid, spread, spread_name
from mtcil.settings.study import CEILING

Looks = dict[str, tuple[str, str]]


def draw(table: pd.DataFrame) -> Figure:
    """A row per dataset, split, K and method; a base model looks the same in all."""
    gained = table.dropna(subset="gain_mean")
    places = list(gained.groupby(["dataset", "split", "exemplars", "method"], sort=False))
    looks = looks_of(table)
    figure, axes = new_grid(len(places), 2)
    for (left, right), ((dataset, split, exemplars, method), part) in zip(
        axes, places, strict=True
    ):
        averages = part[part["measure"] == AVERAGE].sort_values("gain_mean")
        _draw_bars(left, averages, looks)
        counts = sorted({int(n) for n in averages["gain_n"]})
        n = " to ".join(map(str, counts[:: max(1, len(counts) - 1)]))
        left.set_title(
            f"{dataset}, split {split}, {method}, K = {exemplars}\nn = {n}, bars: "
            f"{spread_name(averages.assign(n=averages['gain_n']))}"
        )
        right.set_title("at each step")
        _draw_steps(right, part[~part["measure"].isin([AVERAGE, MINUS_BASE])], looks)
    return figure


def _draw_bars(axis: Axes, rows: pd.DataFrame, looks: Looks) -> None:
    low, high = spread(rows, "gain_")
    gain, at = rows["gain_mean"], range(len(rows))
    axis.barh(at, gain, color=[looks[base][0] for base in rows["base"]], height=0.6)
    ends = [gain - low, high - gain]
    axis.errorbar(gain, at, xerr=ends, fmt="none", color="black", capsize=2)
    ceiling = float(gain[rows["control"] == CEILING].iloc[0])
    for x, style in ((ceiling / 2, ":"), (ceiling, "--")):
        axis.axvline(x, color=PAPER, linestyle=style, linewidth=1)
    axis.axvline(0, color="black", linewidth=0.8)
    axis.set_yticks(at, rows["base"])
    axis.set_ylabel("base model")
    axis.set_xlabel("gain of the average, points")


def _draw_steps(axis: Axes, rows: pd.DataFrame, looks: Looks) -> None:
    seen = sorted(rows["measure"].astype(int).unique())
    apart = 0.012 * (seen[-1] - seen[0])  # so that bars of one step do not cover each other
    for i, (base, line) in enumerate(rows.groupby("base", sort=False)):
        x, gain = line["measure"].astype(int), line["gain_mean"]
        low, high = spread(line, "gain_")
        colour, marker = looks[str(base)]
        axis.errorbar(
            x + apart * i, gain, yerr=[gain - low, high - gain], color=colour, marker=marker,
            capsize=2, linewidth=1, label=base,
        )  # fmt: skip
    axis.axhline(0, color="black", linewidth=0.8)
    axis.set_xticks(seen)
    axis.set_xlabel("classes seen")
    axis.set_ylabel("gain over the\nsingle task, points")
    axis.legend(fontsize="x-small", loc="upper left")
