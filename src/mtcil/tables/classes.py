"""Accuracy of each class after the last step: mean over seeds, single task against multitask.

Unless the class order is fixed, each seed has its own: a class is learnt first by some seeds and
last by others, which widens its interval. The difference is paired, from the same order.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from mtcil.reporting.class_names import counts_by_name, shown_order
from mtcil.reporting.columns import only_training_differs, row_of
from mtcil.reporting.style import gap_text, with_ci
from mtcil.settings.study import MULTITASK, SINGLE, Study

STAGE, SECTION, RECORDS = "learn_steps", "base_models", "confusion"
PLACE, ABOUT = ["dataset", "split"], ["dataset", "split", "base", "heads"]


def table(study: Study, records: pd.DataFrame) -> pd.DataFrame:
    """A row per variant and class: mean, 95 % CI, and the paired difference to single task."""
    if records.empty:
        return records
    shown = records[records["base"].isin([SINGLE, MULTITASK])]
    rows = []
    for (dataset, _), part in shown.groupby(PLACE, sort=False):
        single = _by_class(study, part[part["base"] == SINGLE])
        if not only_training_differs(study, dataset):
            single = {}
        for key, runs in part.groupby(ABOUT, sort=False):
            about = dict(zip(ABOUT, key, strict=True))
            others = single if about["base"] != SINGLE else {}
            rows += [
                row_of({**about, "class": name}, values, gain=others.get(name, {}))
                for name, values in _by_class(study, runs).items()
            ]
    return pd.DataFrame(rows)


def _by_class(study: Study, runs: pd.DataFrame) -> dict[str, dict[int, float]]:
    """{class: {seed: percent}} of one variant."""
    if runs.empty:
        return {}
    shares = {
        seed: 100 * np.diag(counts) / np.maximum(counts.sum(axis=1), 1)
        for seed, counts in counts_by_name(study, runs).items()
    }
    names = shown_order(study, str(runs["dataset"].iloc[0]))
    return {name: {s: float(of[i]) for s, of in shares.items()} for i, name in enumerate(names)}


def markdown(table: pd.DataFrame) -> tuple[Sequence[str], list[list[str]]]:
    """A line per dataset, split and class: single task, multitask, and the difference."""
    header = [
        "dataset",
        "split",
        "class",
        "single task",
        "multitask",
        "multitask minus single task (p uncorrected)",
    ]
    lines = []
    for key, part in table.groupby([*PLACE, "class"], sort=False):
        ones, others = (part[part["base"] == base] for base in (SINGLE, MULTITASK))
        means = ["".join(with_ci(r) for _, r in cells.iterrows()) for cells in (ones, others)]
        gaps = "".join(gap_text(row, "gain_") for _, row in others.iterrows())
        lines.append([*map(str, key), *means, gaps])
    return header, lines
