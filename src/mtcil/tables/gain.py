"""What multitask base training adds at each step: multitask minus single task, paired by seed.

Both start from the same split, class order and batches of a seed. A difference is in percentage
points; above 0 multitask is better. "average" leaves the base step out, as the paper's does;
"average minus base" is the average less the accuracy after the base step, so that a better start
does not count as better learning. p is corrected over the table (Holm). The corrected CI allows for
seeds that divide one pool of clips again and again (Nadeau and Bengio 2003). The last column is the
smallest true difference that the uncorrected t-test (5 %) finds with 80 % power at this n and
spread.
"""

from collections.abc import Sequence

import pandas as pd

from mtcil.reporting.columns import (
    by_measure,
    in_order,
    minus_base,
    named,
    only_training_differs,
    row_of,
    with_power,
)
from mtcil.reporting.inference import estimate
from mtcil.reporting.style import gap_text, mean_text, power_cells
from mtcil.settings.study import MULTITASK, SINGLE, Study

STAGE, SECTION, RECORDS = "learn_steps", "base_models", "records"
PLACE = ["dataset", "split", "exemplars"]


def table(study: Study, records: pd.DataFrame) -> pd.DataFrame:
    """A row per dataset, split, K and column: multitask, `single_` task, and their `gain_`.

    All three over the seeds that both have; empty where there is only one of the two, or where they
    also differ in method or class order.
    """
    rows = []
    for place, part in records.groupby(PLACE, sort=False) if len(records) else ():
        single, multitask = (part[part["base"] == base] for base in (SINGLE, MULTITASK))
        shared = set(single["seed"]) & set(multitask["seed"])
        if not shared or not only_training_differs(study, str(place[0])):
            continue
        paired = [of[of["seed"].isin(shared)] for of in (multitask, single)]
        ours, theirs = (by_measure(of) | minus_base(of) for of in paired)
        about = dict(zip(PLACE, place, strict=True)) | {"heads": multitask["heads"].iloc[0]}
        for name, values in ours.items():
            row = row_of({**about, "measure": name}, values, gain=theirs[name])
            rows.append(row | named("single_", estimate(list(theirs[name].values()))))
    return with_power(pd.DataFrame(rows), "gain_", study.split)


def markdown(table: pd.DataFrame) -> tuple[Sequence[str], list[list[str]]]:
    """A line per dataset, split and column: both means, their difference, and its power."""
    header = [
        "dataset", "split", "K", "heads", "seeds", "classes seen", "single task", "multitask",
        "multitask minus single task (p by Holm)", "corrected CI", "detectable (80 % power)",
    ]  # fmt: skip
    lines = []
    for place, part in table.groupby(PLACE, sort=False):
        rows = part.set_index("measure")
        for measure in in_order(part["measure"]):
            row = rows.loc[measure]
            lines.append(
                [
                    *map(str, place), str(row["heads"]), f"{row['gain_n']:.0f}",
                    measure.lstrip("0"), mean_text(row["single_mean"]), mean_text(row["mean"]),
                    gap_text(row, "gain_", "p_holm"), *power_cells(row, "gain_"),
                ]
            )  # fmt: skip
    return header, lines
