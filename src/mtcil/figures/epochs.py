"""Figure 2: confusion of an incremental step after fixed numbers of epochs and with early stopping.

The paper shows its second incremental step, 8 old classes and 3 new ones: old / new accuracy
0.91 / 0.24 after 15 epochs, 0.83 / 0.82 after 45, 0.86 / 0.92 after 100.
"""

from collections.abc import Sequence

import pandas as pd
from matplotlib.figure import Figure

from mtcil.figures._confusion import cells, draw_boxed, old_and_new
from mtcil.figures._style import new_figure
from mtcil.study import Study

STAGE, SECTION, RECORDS = "sweep_epochs", "epoch_sweeps", "confusion"
STEP = 2  # the paper's; counted from the base step, which is 0
PAPER = {"15": "91 / 24", "45": "83 / 82", "100": "86 / 92"}  # old / new, percent


def table(study: Study, records: pd.DataFrame) -> pd.DataFrame:
    """A row per sweep, end of fine-tuning, true and predicted place: clips over all seeds."""
    if records.empty:
        return records
    two_step = records[records["schedule"] == "two_step"]
    rows = []
    for (row, dataset, heads, stopping), runs in two_step.groupby(
        ["row", "dataset", "heads", "stopping"], sort=False
    ):
        step = min(STEP, int(runs["step"].max()))
        about = {"row": row, "dataset": dataset, "heads": heads, "stopping": stopping}
        counts = runs.loc[runs["step"] == step, "counts"]
        rows += cells(about, counts, study.datasets[str(dataset)].steps[step])
    return pd.DataFrame(rows)


def markdown(table: pd.DataFrame) -> tuple[Sequence[str], list[list[str]]]:
    """A line per end of fine-tuning: accuracy of old and new classes."""
    header = ["dataset", "heads", "epochs", "seeds", "old, %", "new, %", "paper: old / new, %"]
    lines = []
    for (_, dataset, heads, stopping), part in _panels(table):
        about = [dataset, heads, _title(stopping), str(part["n"].iloc[0])]
        shares = [f"{share:.1f}" for share in old_and_new(part)]
        lines.append([*about, *shares, PAPER.get(stopping, "")])
    return header, lines


def draw(table: pd.DataFrame) -> Figure:
    """A panel per end of fine-tuning."""
    panels = _panels(table)
    figure, axes = new_figure(len(panels), height=3.9)
    for axis, ((_, dataset, heads, stopping), part) in zip(axes, panels, strict=True):
        seeds = int(part["n"].iloc[0])
        draw_boxed(figure, axis, part, f"{dataset}, {heads}, {_title(stopping)}, n = {seeds}")
    return figure


def _panels(table: pd.DataFrame) -> list[tuple[tuple[str, ...], pd.DataFrame]]:
    keys = ["row", "dataset", "heads", "stopping"]
    return [(tuple(map(str, key)), part) for key, part in table.groupby(keys, sort=False)]


def _title(stopping: str) -> str:
    return "early stopping" if stopping == "early" else f"{stopping} epochs"
