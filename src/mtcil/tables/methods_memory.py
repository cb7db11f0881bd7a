"""Accuracy of each method against the bytes that it keeps for the last step.

This is not only exemplars: statistics, decoders and importances of weights cost memory too. The
network is not counted, nor the old one that a step with distillation, EWC or MAS reads: joint,
finetune, replay, GDumb, ER-ACE and DER++ do without it.
"""

from collections.abc import Sequence

import pandas as pd

from mtcil.reporting import comparison
from mtcil.reporting.comparison import KEPT, PLACE, named_bound
from mtcil.reporting.style import base_text, with_ci
from mtcil.settings.study import Study

STAGE, SECTION, RECORDS = "compare_methods", "comparisons", "records"


def table(study: Study, records: pd.DataFrame) -> pd.DataFrame:
    """A row per base model and method: average, and bytes of each kind, mean over seeds."""
    if records.empty:
        return records
    averages = comparison.table(study, records)
    averages = averages[averages["measure"] == "average"]
    of_base = [*PLACE, "base"]
    last = records[records["step"] == records.groupby(of_base)["step"].transform("max")]
    kept = last.groupby([*of_base, "method"])[KEPT].mean()
    return averages.join(kept.assign(bytes=kept.sum(axis=1)), on=[*of_base, "method"])


def markdown(table: pd.DataFrame) -> tuple[Sequence[str], list[list[str]]]:
    """A line per base model and method, sorted by memory, in thousands of bytes."""
    kinds = dict(zip(KEPT, ("exemplars", "other state", "validation clips"), strict=True))
    header = [
        "dataset", "split", "K", "base model", "method",
        *(f"{kind}, kB" for kind in kinds.values()), "all, kB", "average",
    ]  # fmt: skip
    lines = []
    for _, part in table.groupby([*PLACE, "base"], sort=False):
        for _, line in part.sort_values("bytes", kind="stable").iterrows():
            lines.append(
                [
                    *(str(line[k]) for k in PLACE), base_text(line),
                    named_bound(line["method"]),
                    *(f"{line[kind] / 1000:,.1f}" for kind in (*KEPT, "bytes")),
                    with_ci(line),
                ]
            )  # fmt: skip
    return header, lines
