"""Figure 2: confusion of an incremental step, a panel per end of fine-tuning."""

import pandas as pd
from matplotlib.figure import Figure

from mtcil.reporting.confusion import draw_boxed
from mtcil.reporting.style import base_text, end_of_fine_tuning, new_figure


def draw(table: pd.DataFrame) -> Figure:
    """A panel per end of fine-tuning."""
    panels = list(table.groupby(["dataset", "split", "base", "heads", "stopping"], sort=False))
    figure, axes = new_figure(len(panels), height=3.9)
    for axis, ((dataset, split, *_, stopping), part) in zip(axes, panels, strict=True):
        first = part.iloc[0]
        title = f"{dataset}, split {split}, n = {first['n']}\n{base_text(first)}"
        title += f"\n{end_of_fine_tuning(stopping)}"
        draw_boxed(figure, axis, part, title)
    return figure
