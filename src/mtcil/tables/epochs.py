"""Figure 2: confusion of an incremental step after fixed numbers of epochs and with early stopping.

The step is the paper's, or the last one if a study has fewer steps.
"""

from collections.abc import Sequence

import pandas as pd

from mtcil.reporting import paper
from mtcil.reporting.confusion import cells, old_and_new
from mtcil.reporting.style import end_of_fine_tuning
from mtcil.settings.study import Study

STAGE, SECTION, RECORDS = "sweep_epochs", "epoch_sweeps", "confusion"
KEYS = ["dataset", "split", "base", "heads", "stopping"]


def table(study: Study, records: pd.DataFrame) -> pd.DataFrame:
    """A row per sweep, end of fine-tuning, true and predicted position: clips over all seeds."""
    if records.empty:
        return records
    two_step = records[records["schedule"] == "two_step"]
    rows = []
    for key, runs in two_step.groupby(KEYS, sort=False):
        dataset = key[0]
        step = min(paper.FIGURE_2_STEP, int(runs["step"].max()))
        columns = dict(zip(KEYS, key, strict=True))
        counts = runs.loc[runs["step"] == step, "counts"]
        rows += cells(columns, counts, study.datasets[str(dataset)].steps[step])
    return pd.DataFrame(rows)


def markdown(table: pd.DataFrame) -> tuple[Sequence[str], list[list[str]]]:
    """A line per end of fine-tuning: accuracy of old and new classes."""
    header = ["dataset", "heads", "epochs", "seeds", "old, %", "new, %", "paper: old / new, %"]
    lines = []
    for (dataset, _, _, heads, stopping), part in table.groupby(KEYS, sort=False):
        columns = [str(dataset), str(heads), end_of_fine_tuning(stopping), str(part["n"].iloc[0])]
        shares = [f"{share:.1f}" for share in old_and_new(part)]
        printed = " / ".join(map(str, paper.FIGURE_2.get(stopping, ())))
        lines.append([*columns, *shares, printed])
    return header, lines
