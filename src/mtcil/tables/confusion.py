"""Confusion after the last step, by class: clips of all seeds.

Each seed learns the classes in its own order unless the order is fixed, so a class is old for
some seeds and new for others. `confusion_places` counts by place in the order instead.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from mtcil.reporting.class_names import counts_by_name, shown_order
from mtcil.reporting.style import base_text
from mtcil.settings.study import MULTITASK, SINGLE, Study

STAGE, SECTION, RECORDS = "learn_steps", "base_models", "confusion"
KEYS = ["dataset", "split", "base", "heads"]
N_MISTAKES = 2  # classes that a line names


def table(study: Study, records: pd.DataFrame) -> pd.DataFrame:
    """A row per variant, true and predicted class: clips over all seeds after the last step.

    Of each dataset and split: the single task, multitask, and the headline's base model.
    """
    if records.empty:
        return records
    shown = records[records["base"].isin([SINGLE, MULTITASK, study.headline])]
    rows = []
    for key, runs in shown.groupby(KEYS, sort=False):
        about = dict(zip(KEYS, key, strict=True))
        names, by_seed = shown_order(study, about["dataset"]), counts_by_name(study, runs)
        total = np.sum(list(by_seed.values()), axis=0)
        rows += [
            {**about, "n": len(by_seed), "true_class": true, "predicted_class": predicted,
             "clips": int(total[i, j])}
            for i, true in enumerate(names)
            for j, predicted in enumerate(names)
        ]  # fmt: skip
    return pd.DataFrame(rows)


def markdown(table: pd.DataFrame) -> tuple[Sequence[str], list[list[str]]]:
    """A line per variant and class: the share that is right, and the commonest mistakes."""
    header = [
        "dataset",
        "split",
        "base model",
        "seeds",
        "class",
        "clips",
        "right",
        "most often taken for",
    ]
    lines = []
    for (dataset, split, _, _), part in table.groupby(KEYS, sort=False):
        for name, row in part.groupby("true_class", sort=False):
            shares = row.set_index("predicted_class")["clips"] / row["clips"].sum()
            wrong = shares.drop(name).sort_values(ascending=False, kind="stable")
            mistakes = [f"{other} {share:.1%}" for other, share in wrong.items() if share > 0]
            first = row.iloc[0]
            about = [str(dataset), str(split), base_text(first), str(first["n"]), str(name)]
            clips, right = str(row["clips"].sum()), f"{shares[name]:.1%}"
            lines.append([*about, clips, right, ", ".join(mistakes[:N_MISTAKES])])
    return header, lines
