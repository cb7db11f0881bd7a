"""Old classes against new ones: which of the two each method gives up for the other.

Accuracy of the old and of the new classes, both the mean of the incremental steps. On the diagonal
both are equal; a method above it forgets the old classes, one below it learns the new ones less.
"""

from collections.abc import Sequence

import pandas as pd
from matplotlib.figure import Figure

from mtcil.reporting import comparison
from mtcil.reporting.comparison import (
    BOUNDS,
    PLACE,
    bases_of,
    measured,
    named_bound,
    ranked,
    title_of,
)
from mtcil.reporting.labels import name_points
from mtcil.reporting.style import PAPER, draw_point, new_figure, with_ci
from mtcil.settings.study import Study

STAGE, SECTION, RECORDS = "compare_methods", "comparisons", "records"
MEASURES = ("average", "old", "new")


def table(study: Study, records: pd.DataFrame) -> pd.DataFrame:
    """A row per base model, method and measure: mean and 95 % CI."""
    if records.empty:
        return records
    found = comparison.table(study, records)
    return found[found["measure"].isin(MEASURES)]


def markdown(table: pd.DataFrame) -> tuple[Sequence[str], list[list[str]]]:
    """A line per base model and method, the best first."""
    header = ["dataset", "split", "K", "heads", "method", *MEASURES, "new minus old"]
    lines = []
    for _, part in table.groupby([*PLACE, "base"], sort=False):
        for method in ranked(part):
            cells = part[part["method"] == method].set_index("measure").loc[list(MEASURES)]
            texts = [with_ci(c["mean"], c["low"], c["high"], c["n"]) for _, c in cells.iterrows()]
            gap = cells.loc["new", "mean"] - cells.loc["old", "mean"]
            about = [str(cells.iloc[0][k]) for k in (*PLACE, "heads")]
            lines.append([*about, named_bound(method), *texts, f"{gap:+.1f}"])
    return header, lines


def draw(table: pd.DataFrame) -> Figure:
    """A panel per dataset: a point per method, from the single task's base; the diagonal."""
    panels = [single for single, _ in bases_of(table)]
    figure, axes = new_figure(len(panels), height=5.0, width=4.6)
    for axis, part in zip(axes, panels, strict=True):
        old, new = (measured(part, name) for name in ("old", "new"))
        for method in old.index:
            x, y = old.loc[method], new.loc[method]
            bars = [[[c["mean"] - c["low"]], [c["high"] - c["mean"]]] for c in (x, y)]
            draw_point(axis, x["mean"], y["mean"], method in BOUNDS, xerr=bars[0], yerr=bars[1])
        axis.set_xlim(-3, 103)  # per cent; a wider interval is cut
        axis.set_ylim(-3, 103)
        axis.axline((0, 0), slope=1, color=PAPER, linewidth=1, ls="--")
        axis.set_title(f"{title_of(part)}, heads {part['heads'].iloc[0]}")
        axis.set_xlabel("accuracy of old classes, %\n(incremental steps; bar: 95 % CI)")
        axis.set_ylabel("accuracy of new classes, %")
    figure.draw_without_rendering()  # settles the layout
    for axis, part in zip(axes, panels, strict=True):
        old, new = (measured(part, name)["mean"] for name in ("old", "new"))
        name_points(figure, axis, list(zip(old, new, strict=True)), list(old.index))
    return figure
