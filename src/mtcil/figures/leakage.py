"""Leakage audit: test clips whose speaker or recording is in the training part as well.

A split by clip, the paper's, shares speakers (Speech Commands) and recordings (UrbanSound8K)
between training and test; a split by group does not.
"""

from collections.abc import Sequence

import pandas as pd
from matplotlib.figure import Figure

from mtcil.reporting.style import MULTITASK, new_figure
from mtcil.settings.study import Study

STAGE, SECTION, RECORDS = "train_base", "base_models", "records"
PARTS = ("train_clips", "test_clips", "validation_clips")


def table(study: Study, records: pd.DataFrame) -> pd.DataFrame:
    """A row per dataset and split: mean over seeds of clips per part and of leaking test clips."""
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


def draw(table: pd.DataFrame) -> Figure:
    """Bars of the share of test clips that leak."""
    figure, (axis,) = new_figure(1)
    names = [f"{row['dataset']}\n{row['split']}" for _, row in table.iterrows()]
    bars = axis.bar(names, table["leaking_percent"], color=MULTITASK, width=0.5)
    axis.bar_label(bars, fmt="%.1f %%")
    axis.set_ylim(0, 110)
    axis.set_xlabel("dataset and split")
    axis.set_ylabel("test clips of a speaker or\nrecording in training, %")
    return figure
