"""Accuracy of old and of new classes by method, both as means over the incremental steps."""

from collections.abc import Sequence

import pandas as pd

from mtcil.reporting import comparison
from mtcil.reporting.comparison import PLACE, named_bound, ranked
from mtcil.reporting.style import base_text, with_ci
from mtcil.settings.study import Study

STAGE, SECTION, RECORDS = "compare_methods", "comparisons", "records"
MEASURES = ("average", "old", "new")


def table(study: Study, records: pd.DataFrame) -> pd.DataFrame:
    """A row per base model, method and measure: mean and 95 % CI."""
    if records.empty:
        return records
    estimates = comparison.table(study, records)
    return estimates[estimates["measure"].isin(MEASURES)]


def markdown(table: pd.DataFrame) -> tuple[Sequence[str], list[list[str]]]:
    """A line per base model and method, the best first."""
    header = ["dataset", "split", "K", "base model", "method", *MEASURES, "new minus old"]
    lines = []
    for _, part in table.groupby([*PLACE, "base"], sort=False):
        for method in ranked(part):
            cells = part[part["method"] == method].set_index("measure").loc[list(MEASURES)]
            texts = [with_ci(c) for _, c in cells.iterrows()]
            gap = cells.loc["new", "mean"] - cells.loc["old", "mean"]
            first = cells.iloc[0]
            columns = [*(str(first[k]) for k in PLACE), base_text(first)]
            lines.append([*columns, named_bound(method), *texts, f"{gap:+.1f}"])
    return header, lines
