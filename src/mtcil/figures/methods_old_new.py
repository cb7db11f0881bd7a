"""Accuracy of old against new classes: the trade-off of each method.

On the diagonal both are equal. A method above it forgets old classes; a method below it learns
new classes less well.
"""

import pandas as pd
from matplotlib.figure import Figure

from mtcil.reporting.comparison import BOUNDS, bases_of, measured, names_of, title_of
from mtcil.reporting.labels import number_points
from mtcil.reporting.style import PAPER, draw_point, new_figure


def draw(table: pd.DataFrame) -> Figure:
    """A panel per dataset: the diagonal, and a point per method, from the single task's base."""
    panels = [single for single, _ in bases_of(table)]
    figure, axes = new_figure(len(panels), height=5.0, width=5.8)
    points = []
    for axis, part in zip(axes, panels, strict=True):
        old, new = (measured(part, name) for name in ("old", "new"))
        for method in old.index:
            x, y = old.loc[method], new.loc[method]
            bars = [[[c["mean"] - c["low"]], [c["high"] - c["mean"]]] for c in (x, y)]
            draw_point(axis, x["mean"], y["mean"], method in BOUNDS, xerr=bars[0], yerr=bars[1])
        lowest = max(-3, min(old["low"].min(), new["low"].min()) - 3)
        axis.set_xlim(lowest, 103)  # percent; a wider interval is cut
        axis.set_ylim(lowest, 103)
        axis.axline((100, 100), slope=1, color=PAPER, linewidth=1, ls="--")
        axis.set_title(f"{title_of(part)}, {names_of(part)}")
        axis.set_xlabel("accuracy of old classes, %\n(incremental steps; bar: 95 % CI)")
        axis.set_ylabel("accuracy of new classes, %")
        places = zip(old["mean"], new["mean"], strict=True)
        points.append((axis, dict(zip(old.index, places, strict=True))))
    number_points(figure, points)
    return figure
