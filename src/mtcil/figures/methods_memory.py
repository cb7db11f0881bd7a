"""Accuracy of each method against the bytes that it keeps for the last step."""

import pandas as pd
from matplotlib.figure import Figure

from mtcil.reporting.comparison import BOUNDS, bases_of, names_of, title_of
from mtcil.reporting.labels import number_points
from mtcil.reporting.style import draw_point, new_figure

LINEAR_BELOW = 10.0  # kB; linear here, so that methods that keep nothing can be shown


def draw(table: pd.DataFrame) -> Figure:
    """A panel per dataset: a point per method, from the single task's base."""
    panels = [single for single, _ in bases_of(table)]
    figure, axes = new_figure(len(panels), height=5.0, width=5.8)
    points = []
    for axis, part in zip(axes, panels, strict=True):
        for method, line in part.set_index("method").iterrows():
            bars = [[line["mean"] - line["low"]], [line["high"] - line["mean"]]]
            x, y = line["bytes"] / 1000, line["mean"]
            draw_point(axis, x, y, method in BOUNDS, yerr=bars)
        axis.set_xscale("symlog", linthresh=LINEAR_BELOW)
        axis.set_xlim(-LINEAR_BELOW / 4, 2 * part["bytes"].max() / 1000)
        axis.set_title(f"{title_of(part)}, {names_of(part)}")
        axis.set_xlabel(f"kept for the last step, kB (linear below {LINEAR_BELOW:.0f})")
        axis.set_ylabel("average accuracy, %\n(incremental steps; bar: 95 % CI)")
        places = zip(part["bytes"] / 1000, part["mean"], strict=True)
        points.append((axis, dict(zip(part["method"], places, strict=True))))
    number_points(figure, points)
    return figure
