"""What each method costs: updates, clips passed forward, and bytes kept, of one run.

Updates and clips are of all incremental steps together, mean over seeds; bytes are kept for the
last step. Every run holds the old model, but joint, finetune, replay, GDumb, ER-ACE and DER++ do
not need it.
"""

from collections.abc import Sequence

import pandas as pd

from mtcil.reporting.comparison import KEPT, PLACE, named_bound
from mtcil.reporting.style import base_text
from mtcil.settings.study import Study

STAGE, SECTION, RECORDS = "compare_methods", "comparisons", "records"
KEYS = [*PLACE, "base", "heads", "method"]
WORK, BYTES = ["updates", "clips_passed"], [*KEPT, "teacher_bytes"]


def table(study: Study, records: pd.DataFrame) -> pd.DataFrame:
    """A row per base model and method: work of the incremental steps, bytes of the last one."""
    if records.empty:
        return records
    steps = records[records["step"] > 0]
    totals = steps.groupby([*KEYS, "seed"], sort=False)[WORK].sum()
    last = steps[steps["step"] == steps.groupby(KEYS)["step"].transform("max")]
    of_method = totals.groupby(KEYS, sort=False)
    work = of_method.mean().assign(n=of_method.size())
    return work.join(last.groupby(KEYS)[BYTES].mean()).reset_index()


def markdown(table: pd.DataFrame) -> tuple[Sequence[str], list[list[str]]]:
    """A line per base model and method; thousands of bytes."""
    kinds = ("exemplars", "other state", "validation clips", "old model")
    header = [
        *(
            "dataset",
            "split",
            "K",
            "base model",
            "method",
            "seeds",
            "updates",
            "clips passed forward",
        ),
        *(f"{kind}, kB" for kind in kinds),
    ]
    lines = [
        [
            *(str(row[k]) for k in PLACE), base_text(row), named_bound(row["method"]),
            str(row["n"]),
            *(f"{row[k]:,.0f}" for k in WORK),
            *(f"{row[k] / 1000:,.1f}" for k in BYTES),
        ]
        for _, row in table.iterrows()
    ]  # fmt: skip
    return header, lines
