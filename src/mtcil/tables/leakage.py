"""Leakage audit: test clips with a speaker or recording that is also in the training split.

The paper's split by clip shares speakers (Speech Commands) and recordings (UrbanSound8K)
between training and test; a split by group does not.
"""

from collections.abc import Sequence

import pandas as pd

from mtcil.settings.study import Study

STAGE, SECTION, RECORDS = "train_base", "base_models", "records"
PARTS = ("train_clips", "test_clips", "validation_clips")


def table(study: Study, records: pd.DataFrame) -> pd.DataFrame:
    """A row per dataset and split: clips of each part and leaking test clips, mean over seeds."""
    if records.empty:
        return records
    by_seed = records.drop_duplicates(["dataset", "split", "seed"])  # the same for all heads
    groups = by_seed.groupby(["dataset", "split"], sort=False)
    means = groups[[*PARTS, "leaking_test_clips"]].mean()
    means.insert(0, "n", groups.size())
    return means.assign(
        leaking_percent=100 * means["leaking_test_clips"] / means["test_clips"]
    ).reset_index()


def markdown(table: pd.DataFrame) -> tuple[Sequence[str], list[list[str]]]:
    """A line per dataset and split."""
    header = [
        "dataset", "split", "seeds", "training clips", "test clips", "validation clips",
        "test clips of a speaker or recording in training", "share",
    ]  # fmt: skip
    return header, [
        [
            str(row["dataset"]), str(row["split"]), str(row["n"]),
            *(f"{row[name]:.0f}" for name in (*PARTS, "leaking_test_clips")),
            f"{row['leaking_percent']:.1f} %",
        ]
        for _, row in table.iterrows()
    ]  # fmt: skip
