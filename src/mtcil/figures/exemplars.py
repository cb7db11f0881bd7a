"""Figure 5: average incremental accuracy against the memory budget K, single task and multitask.

The panel below each shows the paired difference, multitask minus single task.
"""

import pandas as pd
from matplotlib.figure import Figure

from mtcil.reporting.style import (
    SINGLE,
    base_text,
    draw_band,
    is_single,
    looks_of,
    new_grid,
    percent_axis,
    spread_name,
)


def draw(table: pd.DataFrame) -> Figure:
    """Above: mean over seeds with its 95 % CI band. Below: the paired difference."""
    panels = list(table.groupby(["dataset", "split"], sort=False))
    looks = looks_of(table.assign(control="none"))
    figure, (above, below) = new_grid(2, len(panels), heights=[2, 1])
    for top, bottom, ((dataset, split), part) in zip(above, below, panels, strict=True):
        for base, line in part.groupby("base", sort=False):
            colour, _ = looks[str(base)]
            k = line["exemplars"]
            draw_band(top, k, line, colour, "o", base_text(line.iloc[0]))
            if not is_single(line) and "gain_mean" in line:
                draw_band(bottom, k, line, colour, "o", prefix="gain_")
        bottom.axhline(0, color=SINGLE, linewidth=1)
        top.set_title(f"{dataset}, split {split}, n = {int(part['n'].min())}")
        top.set_ylabel("average incremental\naccuracy, %")
        percent_axis(top)
        bottom.set_ylabel("gain, points")
        for axis in (top, bottom):
            axis.set_xlabel(f"exemplars K, in all (band: {spread_name(part)})")
        top.legend(title="base model", frameon=True)
    return figure
