"""Table 1: time of an epoch of base training by heads, as a ratio to one head."""

import pandas as pd
from matplotlib.figure import Figure

from mtcil.reporting.style import MULTITASK, PAPER, SINGLE, new_figure


def draw(table: pd.DataFrame) -> Figure:
    """A panel per row: ratio to one head by heads, with the paper's ratios."""
    panels = list(table.groupby("dataset", sort=False))
    figure, axes = new_figure(len(panels), height=3.8)
    for axis, (_, part) in zip(axes, panels, strict=True):
        heads = list(dict.fromkeys(part["heads"]))
        places = {text: k for k, text in enumerate(heads)}
        for passes, colour in (("separate", SINGLE), ("shared", MULTITASK)):
            line = part[part["passes"] == passes]
            at = [places[text] for text in line["heads"]]
            axis.plot(at, line["ratio"], marker="o", color=colour, label=f"ours, {passes}")
        theirs = part.dropna(subset=["paper_ratio"])
        if len(theirs):
            at = [places[text] for text in theirs["heads"]]
            axis.plot(at, theirs["paper_ratio"], marker="s", color=PAPER, label="paper")
        axis.set_xticks(range(len(heads)), heads, rotation=40, ha="right")
        axis.set_xlabel("heads")
        axis.set_ylabel("time of an epoch, x one head")
        axis.set_ylim(0, None)
        axis.set_title(f"{part['dataset'].iloc[0]}, {part['device'].iloc[0]}")
        axis.legend(frameon=True)
    return figure
