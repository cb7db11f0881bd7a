"""Figure 2: confusion of an incremental step after fixed numbers of epochs and with early stopping.

The step is the paper's: its second one, with 8 old classes and 3 new ones.
"""

from collections.abc import Sequence

import pandas as pd
from matplotlib.figure import Figure

from mtcil.reporting import paper
from mtcil.reporting.confusion import cells, draw_boxed, old_and_new
from mtcil.reporting.style import new_figure
from mtcil.settings.study import Study

STAGE, SECTION, RECORDS = "sweep_epochs", "epoch_sweeps", "confusion"
KEYS = ["dataset", "split", "base", "heads", "stopping"]


def table(study: Study, records: pd.DataFrame) -> pd.DataFrame:
    """A row per sweep, end of fine-tuning, true and predicted place: clips over all seeds."""
    if records.empty:
        return records
    two_step = records[records["schedule"] == "two_step"]
    rows = []
    for key, runs in two_step.groupby(KEYS, sort=False):
        dataset = key[0]
        step = min(paper.FIGURE_2_STEP, int(runs["step"].max()))
        about = dict(zip(KEYS, key, strict=True))
        counts = runs.loc[runs["step"] == step, "counts"]
        rows += cells(about, counts, study.datasets[str(dataset)].steps[step])
    return pd.DataFrame(rows)


def markdown(table: pd.DataFrame) -> tuple[Sequence[str], list[list[str]]]:
    """A line per end of fine-tuning: accuracy of old and new classes."""
    header = ["dataset", "heads", "epochs", "seeds", "old, %", "new, %", "paper: old / new, %"]
    lines = []
    for (dataset, _, _, heads, stopping), part in _panels(table):
        about = [dataset, heads, _title(stopping), str(part["n"].iloc[0])]
        shares = [f"{share:.1f}" for share in old_and_new(part)]
        printed = " / ".join(map(str, paper.FIGURE_2.get(stopping, ())))
        lines.append([*about, *shares, printed])
    return header, lines


def draw(table: pd.DataFrame) -> Figure:
    """A panel per end of fine-tuning."""
    panels = _panels(table)
    figure, axes = new_figure(len(panels), height=3.9)
    for axis, ((dataset, _, _, heads, stopping), part) in zip(axes, panels, strict=True):
        seeds = int(part["n"].iloc[0])
        draw_boxed(figure, axis, part, f"{dataset}, {heads}, {_title(stopping)}, n = {seeds}")
    return figure


def _panels(table: pd.DataFrame) -> list[tuple[tuple[str, ...], pd.DataFrame]]:
    return [(tuple(map(str, key)), part) for key, part in table.groupby(KEYS, sort=False)]


def _title(stopping: str) -> str:
    return "early stopping" if stopping == "early" else f"{stopping} epochs"
