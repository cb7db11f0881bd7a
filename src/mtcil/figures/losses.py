"""Table 2: the average of each loss set, with the paper's averages."""

import pandas as pd
from matplotlib.figure import Figure

from mtcil.reporting import paper
from mtcil.reporting.style import MARKERS, OTHERS, PAPER, base_text, new_figure, percent_axis

PAPERS_DATA = f"paper: {len(paper.GSC.classes)} words, K = {paper.GSC.budget}"


def draw(table: pd.DataFrame) -> Figure:
    """A panel per row: average of each loss set with its 95 % CI; grey marks are the paper's."""
    averages = table[table["measure"] == "average"]
    panels = list(averages.groupby(["dataset", "split", "base"], sort=False))
    figure, axes = new_figure(len(panels), height=3.2)
    for axis, (_, part) in zip(axes, panels, strict=True):
        for i, (_, line) in enumerate(part.iterrows()):
            low, high = line["mean"] - line["low"], line["high"] - line["mean"]
            axis.errorbar(
                line["mean"], i, xerr=[[low], [high]], fmt=MARKERS[0], color=OTHERS[0], capsize=3
            )
            printed = line.get("paper")
            if pd.notna(printed):
                label = PAPERS_DATA if i == 0 else None
                axis.plot(printed, i, marker="|", markersize=12, color=PAPER, label=label, ls="")
        axis.set_yticks(range(len(part)), [t.replace("+KD", "\n+KD", 1) for t in part["losses"]])
        axis.set_ylim(-0.5, len(part) - 0.5)
        axis.invert_yaxis()
        first = part.iloc[0]
        title = f"{first['dataset']}, split {first['split']}, K = {first['exemplars']}"
        axis.set_title(f"{title}\n{base_text(first)}, n = {first['n']}")
        axis.set_xlabel("average accuracy, %\n(incremental steps; bar: 95 % CI)")
        axis.set_ylabel("loss terms")
        percent_axis(axis, "x")
    if axes[0].get_legend_handles_labels()[0]:
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper right")
    return figure
