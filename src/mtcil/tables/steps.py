"""Accuracy at each step by heads setting: single-task base against multitask bases.

The numbers are those of the paper's Figure 4, in the columns of its Table 2. As in the paper, the
average excludes the base step. The last columns are explained in the table `gain`; here p is
corrected over the averages only. Base models with a class order of their own are in the table
`orders`.
"""

from collections.abc import Sequence

import pandas as pd

from mtcil.records.rows import VARIANT
from mtcil.reporting.columns import by_measure, in_order, order_seeds, row_of, with_power
from mtcil.reporting.style import gap_text, power_cells, with_ci
from mtcil.settings.study import SINGLE as SINGLE_TASK
from mtcil.settings.study import Study

STAGE, SECTION, RECORDS = "learn_steps", "base_models", "records"
ABOUT = ("dataset", "split", "base", "heads", "passes", "control", "exemplars")


def table(study: Study, records: pd.DataFrame) -> pd.DataFrame:
    """A row per variant and measure: mean, 95 % CI, and paired difference to single task.

    A measure is a column of the printed table: the classes seen, then both averages.
    """
    records = records[[order is None for order in order_seeds(study, records)]]
    if records.empty:
        return records
    rows = []
    keys = ["dataset", "split", "method", "exemplars"]
    for _, part in records.groupby(keys, sort=False):
        single = by_measure(part[part["base"] == SINGLE_TASK])
        for variant, runs in part.groupby(list(VARIANT), sort=False):
            columns = dict(zip(VARIANT, variant, strict=True))
            others = single if columns["base"] != SINGLE_TASK else {}
            rows += [
                row_of({**columns, "measure": name}, values, gain=others.get(name, {}))
                for name, values in by_measure(runs).items()
            ]
    table = pd.DataFrame(rows)
    averages = table["measure"] == "average"
    return pd.concat(
        [with_power(table[averages], "gain_", study.split), table[~averages]]
    ).sort_index()


def markdown(table: pd.DataFrame) -> tuple[Sequence[str], list[list[str]]]:
    """One line per variant: accuracy after each step and the averages, in percent."""
    measures = in_order(table["measure"])
    header = [
        "dataset", "split", "base", "heads", "passes", "control", "K", *measures,
        "average gained on single task (p by Holm)", "corrected CI", "detectable (80 % power)",
    ]  # fmt: skip
    lines = []
    for variant, part in table.groupby(list(VARIANT), sort=False):
        about = dict(zip(VARIANT, variant, strict=True))
        cells = {row["measure"]: with_ci(row) for _, row in part.iterrows()}
        average = part[part["measure"] == "average"].iloc[0]
        lines.append(
            [
                *(str(about[k]) for k in ABOUT),
                *(cells.get(m, "") for m in measures),
                gap_text(average, "gain_", "p_holm"),
                *power_cells(average, "gain_"),
            ]
        )
    return header, lines
