"""Memory ledger: what each method keeps for a step, in bytes.

K counts exemplars; validation clips of old classes and the old model cost memory too.
"""

from collections.abc import Sequence

import pandas as pd

from mtcil.reporting.style import KINDS_OF_BYTES
from mtcil.settings.study import Study

STAGE, SECTION, RECORDS = "learn_steps", "base_models", "records"
KEYS = ["dataset", "method", "exemplars", "classes_seen"]


def table(study: Study, records: pd.DataFrame) -> pd.DataFrame:
    """A row per dataset, method, K and incremental step: bytes of each kind, maximum over runs.

    Base models and seeds do not change these bytes, except for rounding of splits by group.
    """
    if records.empty:
        return records
    steps = records[records["step"] > 0]
    most = steps.groupby(KEYS, sort=False)[list(KINDS_OF_BYTES)].max().reset_index()
    return most.assign(bytes=most[list(KINDS_OF_BYTES)].sum(axis=1))


def markdown(table: pd.DataFrame) -> tuple[Sequence[str], list[list[str]]]:
    """A line per step, in thousands of bytes."""
    kinds = [f"{kind}, kB" for kind in KINDS_OF_BYTES.values()]
    header = ["dataset", "method", "K", "classes seen", *kinds, "all, kB"]
    lines = [
        [str(row[key]) for key in KEYS] + [f"{row[kind] / 1000:,.1f}" for kind in KINDS_OF_BYTES]
        for _, row in table.iterrows()
    ]
    return header, [
        [*line, f"{total / 1000:,.1f}"] for line, total in zip(lines, table["bytes"], strict=True)
    ]
