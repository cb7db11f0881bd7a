"""Every point that `tune_methods` tried: settings of methods, and of base trainings.

Accuracy on validation and test clips together, in a study that reports nothing else: it says how
settings were chosen, not how good they are. The best point of each grid is marked; differences
within the standard deviation over seeds mean nothing.
"""

from collections.abc import Sequence

import pandas as pd

from mtcil.records.measures import average_incremental_accuracy
from mtcil.records.tables import by_seed
from mtcil.reporting.columns import named
from mtcil.reporting.inference import estimate
from mtcil.reporting.style import mean_text
from mtcil.settings.study import Study

STAGE, SECTION, RECORDS = "tune_methods", "tunings", "records"


def table(study: Study, records: pd.DataFrame) -> pd.DataFrame:
    """A row per base model and method, both named with the settings of the point."""
    rows = []
    keys = ["dataset", "split", "base", "method"]
    for key, runs in records.groupby(keys, sort=False) if len(records) else ():
        steps = list(by_seed(runs).values())
        about = dict(zip(keys, key, strict=True))
        base_step = estimate([accuracies[0] for accuracies in steps]).mean
        average = estimate([average_incremental_accuracy(accuracies) for accuracies in steps])
        rows.append({**about, "base_step": base_step, **named("", average)})
    found = pd.DataFrame(rows)
    if found.empty:
        return found
    names = [found[column].str.split().str[0] for column in ("base", "method")]
    of_base = found["base"].str.contains(" ")  # a point of `base_grids`
    grid = [found["dataset"], found["split"], of_base, *names]
    best = found["mean"].groupby(grid).transform("max")
    return found.assign(best=(found["mean"] == best).astype(int))


def markdown(table: pd.DataFrame) -> tuple[Sequence[str], list[list[str]]]:
    """A line per point."""
    header = ["dataset", "split", "base", "method", "seeds", "base step", "average", "SD", "best"]
    return header, [
        [
            *(str(row[name]) for name in ("dataset", "split", "base", "method")),
            f"{row['n']:.0f}", mean_text(row["base_step"]), mean_text(row["mean"]),
            mean_text(row["std"]), "best" if row["best"] else "",
        ]
        for _, row in table.iterrows()
    ]  # fmt: skip
