"""Confusion after the last step, by place in the class order: old classes against the newest.

Classes differ from seed to seed, places do not: the first ones are the base classes, the last
ones the newest.
"""

from collections.abc import Sequence

import pandas as pd

from mtcil.reporting.confusion import cells, old_and_new
from mtcil.reporting.style import base_text
from mtcil.settings.study import MULTITASK, SINGLE, Study

STAGE, SECTION, RECORDS = "learn_steps", "base_models", "confusion"


def table(study: Study, records: pd.DataFrame) -> pd.DataFrame:
    """A row per variant, true and predicted place: clips over all seeds after the last step.

    Of each dataset and split: the single task, multitask, and the headline's base model.
    """
    if records.empty:
        return records
    rows = []
    for (dataset, split, base), runs in records.groupby(["dataset", "split", "base"], sort=False):
        if base in (SINGLE, MULTITASK, study.headline):
            last = runs[runs["step"] == runs["step"].max()]
            heads = runs["heads"].iloc[0]
            about = {"dataset": dataset, "split": split, "heads": heads, "base": base}
            rows += cells(about, last["counts"], study.datasets[str(dataset)].steps[-1])
    return pd.DataFrame(rows)


def markdown(table: pd.DataFrame) -> tuple[Sequence[str], list[list[str]]]:
    """A line per variant: accuracy of old and newest classes, over the clips of all seeds."""
    header = ["dataset", "split", "base model", "seeds", "old classes, %", "newest classes, %"]
    lines = []
    for (dataset, split, _), part in table.groupby(["dataset", "split", "base"], sort=False):
        old, new = old_and_new(part)
        first = part.iloc[0]
        about = [str(dataset), str(split), base_text(first), str(first["n"])]
        # Without a later step no class is old.
        lines.append([*about, "-" if pd.isna(old) else f"{old:.1f}", f"{new:.1f}"])
    return header, lines
