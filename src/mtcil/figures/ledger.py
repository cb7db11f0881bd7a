"""Memory ledger: what each method keeps for a step, in bytes.

Exemplars are what K counts; validation clips of old classes and the old model are memory as well.
"""

from collections.abc import Sequence

import pandas as pd
from matplotlib.figure import Figure

from mtcil.reporting.style import OTHERS, SINGLE, new_figure
from mtcil.settings.study import Study

STAGE, SECTION, RECORDS = "learn_steps", "base_models", "records"
KINDS = {
    "memory_bytes": "exemplars",
    "validation_bytes": "validation clips of old classes",
    "teacher_bytes": "old model",
}
KEYS = ["dataset", "method", "exemplars", "classes_seen"]


def table(study: Study, records: pd.DataFrame) -> pd.DataFrame:
    """A row per dataset, method, K and incremental step: bytes of each kind, most over all runs.

    Base models and seeds do not change what is kept, except for rounding of splits by group.
    """
    if records.empty:
        return records
    steps = records[records["step"] > 0]
    most = steps.groupby(KEYS, sort=False)[list(KINDS)].max().reset_index()
    return most.assign(bytes=most[list(KINDS)].sum(axis=1))


def markdown(table: pd.DataFrame) -> tuple[Sequence[str], list[list[str]]]:
    """A line per step, in thousands of bytes."""
    header = ["dataset", "method", "K", "classes seen", *(f"{k}, kB" for k in KINDS.values())]
    lines = [
        [str(row[key]) for key in KEYS] + [f"{row[kind] / 1000:,.1f}" for kind in KINDS]
        for _, row in table.iterrows()
    ]
    return [*header, "all, kB"], [
        [*line, f"{total / 1000:,.1f}"] for line, total in zip(lines, table["bytes"], strict=True)
    ]


def draw(table: pd.DataFrame) -> Figure:
    """A panel per dataset: bars of the last step's bytes, one above the other, by method."""
    panels = list(table.groupby("dataset", sort=False))
    figure, axes = new_figure(len(panels))
    for axis, (dataset, part) in zip(axes, panels, strict=True):
        last = part[part["classes_seen"] == part["classes_seen"].max()]
        names = [f"{row['method']}\nK = {row['exemplars']}" for _, row in last.iterrows()]
        below = pd.Series(0.0, index=last.index)
        for colour, (kind, label) in zip((SINGLE, *OTHERS), KINDS.items(), strict=False):
            axis.bar(names, last[kind] / 1e6, bottom=below, color=colour, label=label, width=0.5)
            below += last[kind] / 1e6
        axis.set_xlim(-1, len(names))
        axis.set_xlabel("method")
        axis.set_ylabel("kept for the last step, MB")
        axis.set_title(str(dataset))
        axis.legend(frameon=True)
    return figure
