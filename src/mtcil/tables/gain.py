"""What multitask base training adds at each step: multitask minus single task, paired by seed.

Both start from the same split, class order and batches of a seed. A difference is in percentage
points; above 0 multitask is better. "average" leaves the base step out, as the paper's does.
"""

from collections.abc import Sequence

import pandas as pd

from mtcil.reporting.columns import by_measure, in_order, named, row_of
from mtcil.reporting.inference import estimate
from mtcil.reporting.style import gap_text
from mtcil.settings.study import MULTITASK, SINGLE, Study

STAGE, SECTION, RECORDS = "learn_steps", "base_models", "records"
PLACE = ["dataset", "split", "exemplars"]


def table(study: Study, records: pd.DataFrame) -> pd.DataFrame:
    """A row per dataset, split, K and column: multitask, `single_` task, and their `gain_`.

    All three over the seeds that both have; empty where there is only one of the two.
    """
    rows = []
    for place, part in records.groupby(PLACE, sort=False) if len(records) else ():
        single, multitask = (part[part["base"] == base] for base in (SINGLE, MULTITASK))
        shared = set(single["seed"]) & set(multitask["seed"])
        if not shared:
            continue
        ours, theirs = (by_measure(of[of["seed"].isin(shared)]) for of in (multitask, single))
        about = dict(zip(PLACE, place, strict=True)) | {"heads": multitask["heads"].iloc[0]}
        for name, values in ours.items():
            row = row_of({**about, "measure": name}, values, gain=theirs[name])
            rows.append(row | named("single_", estimate(list(theirs[name].values()))))
    return pd.DataFrame(rows)


def markdown(table: pd.DataFrame) -> tuple[Sequence[str], list[list[str]]]:
    """A line per dataset and split: the difference after each step, and of both averages."""
    measures = in_order(table["measure"])
    lines = []
    for place, part in table.groupby(PLACE, sort=False):
        cells = {row["measure"]: gap_text(row, "gain_") for _, row in part.iterrows()}
        about = [*map(str, place), str(part["heads"].iloc[0]), str(part["gain_n"].iloc[0])]
        lines.append([*about, *(cells.get(measure, "") for measure in measures)])
    return ["dataset", "split", "K", "heads", "seeds", *measures], lines
