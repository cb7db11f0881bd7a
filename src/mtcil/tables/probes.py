"""Frozen-base probes: how general the embeddings of each base model are, without fine-tuning.

Accuracy among the classes that the base step never saw is the direct measure. All classes after
the last step, and the average over the incremental steps, are shown too, as for the methods.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from mtcil.records.measures import average_incremental_accuracy
from mtcil.records.tables import by_seed
from mtcil.reporting.columns import row_of, same_orders
from mtcil.reporting.inference import holm
from mtcil.reporting.style import gap_text, with_ci
from mtcil.settings.study import SINGLE as SINGLE_TASK
from mtcil.settings.study import Study

STAGE, SECTION, RECORDS = "probe_base", "base_probes", "records"
ABOUT = ["dataset", "split", "base", "heads", "passes", "control", "probe"]
MEASURES = {"all": "all classes", "future": "future classes", "average": "average"}


def table(study: Study, records: pd.DataFrame) -> pd.DataFrame:
    """A row per base model, probe and measure: mean, 95 % CI, paired difference to single task.

    `gain_p_holm` is the p-value of the difference, corrected by Holm over the whole table.
    """
    if records.empty:
        return records
    rows = []
    for _, part in records.groupby(["dataset", "split", "probe"], sort=False):
        single = _by_measure(part[part["base"] == SINGLE_TASK])
        for key, runs in part.groupby(ABOUT, sort=False):
            columns = dict(zip(ABOUT, key, strict=True))
            is_single = columns["base"] == SINGLE_TASK
            paired = same_orders(study, columns["dataset"], SINGLE_TASK, columns["base"])
            others = {} if is_single or not paired else single
            rows += [
                row_of({**columns, "measure": name}, values, gain=others.get(name, {}))
                for name, values in _by_measure(runs).items()
            ]
    estimates = pd.DataFrame(rows)
    if "gain_p_value" in estimates:
        estimates["gain_p_holm"] = holm(estimates["gain_p_value"].tolist())
    of_base = pd.MultiIndex.from_frame(estimates[ABOUT[:3]])
    order = pd.MultiIndex.from_frame(records[ABOUT[:3]]).unique()
    return estimates.iloc[np.argsort(order.get_indexer(of_base), kind="stable")]


def _by_measure(runs: pd.DataFrame) -> dict[str, dict[int, float]]:
    """{measure: {seed: percent}} of one base model and probe."""
    seen = by_seed(runs[runs["scope"] == "seen"])
    future = by_seed(runs[runs["scope"] == "future"])
    return {
        "all": {seed: steps[-1] for seed, steps in seen.items()},
        "future": {seed: steps[-1] for seed, steps in future.items()},
        "average": {seed: average_incremental_accuracy(steps) for seed, steps in seen.items()},
    }


def markdown(table: pd.DataFrame) -> tuple[Sequence[str], list[list[str]]]:
    """A line per base model and probe; p-values are Holm's."""
    header = [
        *ABOUT, *MEASURES.values(),
        *(f"{name}: to single task (p by Holm)" for name in MEASURES.values()),
    ]  # fmt: skip
    lines = []
    for key, part in table.groupby(ABOUT, sort=False):
        cells = part.set_index("measure")
        means = [with_ci(row) for row in (cells.loc[measure] for measure in MEASURES)]
        gaps = [gap_text(cells.loc[measure], "gain_", "p_holm") for measure in MEASURES]
        lines.append([*map(str, key), *means, *gaps])
    return header, lines
