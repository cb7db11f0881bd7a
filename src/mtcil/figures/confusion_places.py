"""Confusion after the last step, by place in the class order: old classes against the newest.

A bias to new classes shows as bright columns on the right.
"""

import pandas as pd
from matplotlib.figure import Figure

from mtcil.reporting.confusion import draw_boxed
from mtcil.reporting.style import base_text, new_grid


def draw(table: pd.DataFrame) -> Figure:
    """A row per dataset and split, a panel per base model: share of each true class's clips."""
    places = [place for _, place in table.groupby(["dataset", "split"], sort=False)]
    rows = [[part for _, part in place.groupby("base", sort=False)] for place in places]
    figure, grid = new_grid(len(rows), max(map(len, rows)))
    figure.set_figheight(3.9 * len(rows))
    for axes, parts in zip(grid, rows, strict=True):
        for axis, part in zip(axes, parts, strict=False):
            first = part.iloc[0]
            about = f"{first['dataset']}, split {first['split']}, n = {first['n']}"
            draw_boxed(figure, axis, part, f"{about}\n{base_text(first)}")
        for axis in axes[len(parts) :]:
            axis.remove()
    return figure
