"""Confusion after the last step, by place in the class order: old classes against the newest.

A bias to new classes shows as bright columns on the right.
"""

import pandas as pd
from matplotlib.figure import Figure

from mtcil.reporting.confusion import draw_boxed
from mtcil.reporting.style import new_figure


def draw(table: pd.DataFrame) -> Figure:
    """A panel per variant: share of each true class's clips, percent; old and new boxed."""
    panels = list(table.groupby(["dataset", "split", "heads"], sort=False))
    figure, axes = new_figure(len(panels), height=3.9)
    for axis, ((dataset, split, heads), part) in zip(axes, panels, strict=True):
        seeds = int(part["n"].iloc[0])
        draw_boxed(figure, axis, part, f"{dataset}, {split}, heads {heads}, n = {seeds}")
    return figure
