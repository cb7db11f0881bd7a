"""Leakage audit: share of test clips with a speaker or recording that is also in training."""

import pandas as pd
from matplotlib.figure import Figure

from mtcil.reporting.style import MULTITASK, new_figure


def draw(table: pd.DataFrame) -> Figure:
    """Bars of the share of leaking test clips."""
    figure, (axis,) = new_figure(1)
    names = [f"{row['dataset']}\n{row['split']}" for _, row in table.iterrows()]
    bars = axis.bar(names, table["leaking_percent"], color=MULTITASK, width=0.5)
    axis.bar_label(bars, fmt="%.1f %%")
    axis.set_ylim(0, 110)
    axis.set_xlabel("dataset and split")
    axis.set_ylabel("test clips of a speaker or\nrecording in training, %")
    return figure
