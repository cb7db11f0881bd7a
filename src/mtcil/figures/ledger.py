"""Memory ledger: bytes kept for the last step, by method and kind."""

import pandas as pd
from matplotlib.figure import Figure

from mtcil.reporting.style import KINDS_OF_BYTES, OTHERS, SINGLE, new_figure


def draw(table: pd.DataFrame) -> Figure:
    """A panel per dataset: stacked bars of the bytes kept for the last step, by method."""
    panels = list(table.groupby("dataset", sort=False))
    figure, axes = new_figure(len(panels), height=4.2)
    for axis, (dataset, part) in zip(axes, panels, strict=True):
        last = part[part["classes_seen"] == part["classes_seen"].max()]
        names = [f"{row['method']}\nK = {row['exemplars']}" for _, row in last.iterrows()]
        below = pd.Series(0.0, index=last.index)
        for colour, (kind, label) in zip((SINGLE, *OTHERS), KINDS_OF_BYTES.items(), strict=False):
            axis.bar(names, last[kind] / 1e6, bottom=below, color=colour, label=label, width=0.5)
            below += last[kind] / 1e6
        axis.set_xlim(-1, len(names))
        axis.set_xlabel("method")
        axis.set_ylabel("kept for the last step, MB")
        axis.set_title(str(dataset))
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center")
    return figure
