"""Average incremental accuracy at each memory budget K, single task and multitask (Figure 5).

A gain is over the single task, paired by seed, with its uncorrected p-value.
"""

from collections.abc import Sequence

import pandas as pd

from mtcil.records.measures import average_incremental_accuracy
from mtcil.records.tables import by_seed
from mtcil.reporting.columns import named, same_orders
from mtcil.reporting.inference import estimate, paired_by_seed
from mtcil.reporting.style import base_text, gap_text, with_ci
from mtcil.settings.study import SINGLE as SINGLE_TASK
from mtcil.settings.study import Study

STAGE, SECTION, RECORDS = "sweep_exemplars", "exemplar_sweeps", "records"
KEYS = ["dataset", "split", "base", "heads", "passes"]


def table(study: Study, records: pd.DataFrame) -> pd.DataFrame:
    """A row per sweep and K: mean, 95 % CI, and paired difference to single task."""
    if records.empty:
        return records
    averages = {
        key: {s: average_incremental_accuracy(steps) for s, steps in by_seed(runs).items()}
        for key, runs in records.groupby([*KEYS, "exemplars"], sort=False)
    }
    rows = []
    for key, values in averages.items():
        dataset, split, base, *_, budget = key
        row = dict(zip([*KEYS, "exemplars"], key, strict=True))
        row |= named("", estimate(list(values.values())))
        for other, theirs in averages.items():
            same = (other[0], other[1], other[-1]) == (dataset, split, budget)
            same &= same_orders(study, dataset, base, other[2])
            gain = paired_by_seed(values, theirs)
            if same and other[2] == SINGLE_TASK != base and gain:
                row |= named("gain_", gain)
        rows.append(row)
    bases = list(dict.fromkeys(key[:-1] for key in averages))
    rows.sort(key=lambda row: (bases.index(tuple(row[k] for k in KEYS)), row["exemplars"]))
    return pd.DataFrame(rows)


def markdown(table: pd.DataFrame) -> tuple[Sequence[str], list[list[str]]]:
    """A line per sweep and a column per K, with the gain over single task."""
    budgets = sorted(table["exemplars"].unique())
    header = ["dataset", "split", "base model", "passes", *(f"K = {k}" for k in budgets)]
    lines = []
    for _, part in table.groupby(KEYS, sort=False):
        first = part.iloc[0]
        cells = {}
        for _, row in part.iterrows():
            text = with_ci(row)
            gap = gap_text(row, "gain_")
            text += f"; gain {gap}" if gap else ""
            cells[row["exemplars"]] = text
        columns = [first["dataset"], first["split"], base_text(first), first["passes"]]
        lines.append([*columns, *(cells.get(k, "") for k in budgets)])
    return header, lines
