"""Figure 2: confusion of an incremental step after fixed numbers of epochs and with early stopping.

The step is the paper's, or the last one if a study has fewer steps. The paper's numbers stand
beside those of its dataset only. An epoch is one pass over the training clips of a step's new
classes. Its updates are counted as if each class had `clips_per_class` clips: where a class has
fewer, it is more than one pass.
"""

from collections.abc import Sequence

import pandas as pd

from mtcil.reporting import paper
from mtcil.reporting.confusion import cells, old_and_new
from mtcil.reporting.style import base_text, end_of_fine_tuning
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
        columns |= _printed(study.datasets[str(dataset)].kind, str(columns["stopping"]))
        counts = runs.loc[runs["step"] == step, "counts"]
        rows += cells(columns, counts, study.datasets[str(dataset)].steps[step])
    return pd.DataFrame(rows)


def _printed(kind: str, stopping: str) -> dict[str, int]:
    """The paper's accuracies of old and new classes."""
    numbers = paper.FIGURE_2.get(stopping, ()) if kind == paper.GSC.kind else ()
    return dict(zip(("paper_old", "paper_new"), numbers, strict=False))


def markdown(table: pd.DataFrame) -> tuple[Sequence[str], list[list[str]]]:
    """A line per end of fine-tuning: accuracy of old and new classes."""
    header = [
        "dataset", "split", "base model", "epochs", "seeds", "old, %", "new, %",
        "paper: old / new, %",
    ]  # fmt: skip
    lines = []
    for (dataset, split, *_, stopping), part in table.groupby(KEYS, sort=False):
        first = part.iloc[0]
        columns = [dataset, split, base_text(first), end_of_fine_tuning(stopping), str(first["n"])]
        shares = [f"{share:.1f}" for share in old_and_new(part)]
        printed = [first.get(name) for name in ("paper_old", "paper_new")]
        text = "" if pd.isna(printed[0]) else " / ".join(f"{number:.0f}" for number in printed)
        lines.append([*columns, *shares, text])
    return header, lines
