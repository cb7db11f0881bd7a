"""Accuracy of each method against the bytes that it keeps for the last step.

Exemplars are not all: statistics, generators and importances of weights are memory as well. The
network itself and the old one that distils are not counted; every method has them.
"""

from collections.abc import Sequence

import pandas as pd
from matplotlib.figure import Figure

from mtcil.reporting import comparison
from mtcil.reporting.comparison import BOUNDS, KEPT, PLACE, bases_of, named_bound, title_of
from mtcil.reporting.labels import name_points
from mtcil.reporting.style import draw_point, new_figure, with_ci
from mtcil.settings.study import Study

STAGE, SECTION, RECORDS = "compare_methods", "comparisons", "records"
LINEAR_BELOW = 10.0  # kB; so that what keeps nothing has a place, too


def table(study: Study, records: pd.DataFrame) -> pd.DataFrame:
    """A row per base model and method: its average, and bytes of each kind, mean over seeds."""
    if records.empty:
        return records
    averages = comparison.table(study, records)
    averages = averages[averages["measure"] == "average"]
    of_base = [*PLACE, "base"]
    last = records[records["step"] == records.groupby(of_base)["step"].transform("max")]
    kept = last.groupby([*of_base, "method"])[KEPT].mean()
    return averages.join(kept.assign(bytes=kept.sum(axis=1)), on=[*of_base, "method"])


def markdown(table: pd.DataFrame) -> tuple[Sequence[str], list[list[str]]]:
    """A line per base model and method, those that keep least first; thousands of bytes."""
    kinds = dict(zip(KEPT, ("exemplars", "other state", "validation clips"), strict=True))
    header = [
        "dataset", "split", "K", "heads", "method", *(f"{kind}, kB" for kind in kinds.values()),
        "all, kB", "average",
    ]  # fmt: skip
    lines = []
    for _, part in table.groupby([*PLACE, "base"], sort=False):
        for _, line in part.sort_values("bytes", kind="stable").iterrows():
            lines.append(
                [
                    *(str(line[k]) for k in (*PLACE, "heads")),
                    named_bound(line["method"]),
                    *(f"{line[kind] / 1000:,.1f}" for kind in (*KEPT, "bytes")),
                    with_ci(line["mean"], line["low"], line["high"], line["n"]),
                ]
            )
    return header, lines


def draw(table: pd.DataFrame) -> Figure:
    """A panel per dataset: a point per method, from the single task's base."""
    panels = [single for single, _ in bases_of(table)]
    figure, axes = new_figure(len(panels), height=5.0, width=4.6)
    for axis, part in zip(axes, panels, strict=True):
        for method, line in part.set_index("method").iterrows():
            bars = [[line["mean"] - line["low"]], [line["high"] - line["mean"]]]
            x, y = line["bytes"] / 1000, line["mean"]
            draw_point(axis, x, y, method in BOUNDS, yerr=bars)
        axis.set_xscale("symlog", linthresh=LINEAR_BELOW)
        axis.set_xlim(-LINEAR_BELOW / 4, 2 * part["bytes"].max() / 1000)
        axis.set_title(f"{title_of(part)}, heads {part['heads'].iloc[0]}")
        axis.set_xlabel(f"kept for the last step, kB (linear below {LINEAR_BELOW:.0f})")
        axis.set_ylabel("average accuracy, %\n(incremental steps; bar: 95 % CI)")
    figure.draw_without_rendering()  # settles the layout
    for axis, part in zip(axes, panels, strict=True):
        points = list(zip(part["bytes"] / 1000, part["mean"], strict=True))
        name_points(figure, axis, points, list(part["method"]))
    return figure
