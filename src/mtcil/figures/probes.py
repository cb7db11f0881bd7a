"""Frozen-base probes: how general the embeddings of each base model are, without fine-tuning.

Accuracy among the classes that the base step never saw is the direct measure; beside it all
classes after the last step, and the average over the incremental steps, as for the methods.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from mtcil.records.measures import average_incremental_accuracy
from mtcil.records.tables import by_seed
from mtcil.reporting.columns import named
from mtcil.reporting.inference import estimate, holm, paired_by_seed
from mtcil.reporting.style import (
    MARKERS,
    MULTITASK,
    OTHERS,
    SINGLE,
    gap_text,
    is_single,
    label_of,
    new_figure,
    with_ci,
)
from mtcil.settings.study import SINGLE as SINGLE_TASK
from mtcil.settings.study import Study

STAGE, SECTION, RECORDS = "probe_base", "base_probes", "records"
ABOUT = ["dataset", "split", "base", "heads", "passes", "control", "probe"]
MEASURES = {"all": "all classes", "future": "future classes", "average": "average"}


def table(study: Study, records: pd.DataFrame) -> pd.DataFrame:
    """A row per base model, probe and measure: mean, 95 % CI, paired difference to single task.

    `gain_p_holm` is the difference's p-value, corrected by Holm over the whole table.
    """
    if records.empty:
        return records
    rows = []
    for _, part in records.groupby(["dataset", "split", "probe"], sort=False):
        single = _by_measure(part[part["base"] == SINGLE_TASK])
        for about, runs in part.groupby(ABOUT, sort=False):
            for measure, values in _by_measure(runs).items():
                row = dict(zip(ABOUT, about, strict=True)) | {"measure": measure}
                row |= named("", estimate(list(values.values())))
                gain = paired_by_seed(values, single[measure])
                if gain and row["base"] != SINGLE_TASK:
                    row |= named("gain_", gain)
                rows.append(row)
    found = pd.DataFrame(rows)
    if "gain_p_value" in found:
        found["gain_p_holm"] = holm(found["gain_p_value"].tolist())
    of_base = pd.MultiIndex.from_frame(found[ABOUT[:3]])
    order = pd.MultiIndex.from_frame(records[ABOUT[:3]]).unique()
    return found.iloc[np.argsort(order.get_indexer(of_base), kind="stable")]


def _by_measure(runs: pd.DataFrame) -> dict[str, dict[int, float]]:
    """{measure: {seed: percent}} of one base model and probe."""
    seen = by_seed(runs[runs["scope"] == "seen"])
    future = by_seed(runs[runs["scope"] == "future"])
    return {
        "all": {seed: steps[-1] for seed, steps in seen.items()},
        "future": {seed: steps[-1] for seed, steps in future.items()},
        "average": {seed: average_incremental_accuracy(steps) for seed, steps in seen.items()},
    }


def markdown(table: pd.DataFrame) -> tuple[Sequence[str], list[list[str]]]:
    """A line per base model and probe; p-values are Holm's."""
    header = [
        *ABOUT, *MEASURES.values(),
        *(f"{name}: to single task (p by Holm)" for name in MEASURES.values()),
    ]  # fmt: skip
    lines = []
    for about, part in table.groupby(ABOUT, sort=False):
        cells = part.set_index("measure")
        means = [
            with_ci(row["mean"], row["low"], row["high"], int(row["n"]))
            for row in (cells.loc[measure] for measure in MEASURES)
        ]
        gaps = [gap_text(cells.loc[measure], "gain_", "p_holm") for measure in MEASURES]
        lines.append([*map(str, about), *means, *gaps])
    return header, lines


def draw(table: pd.DataFrame) -> Figure:
    """A panel per dataset and split: accuracy among future classes by probe, a mark per base."""
    future = table[table["measure"] == "future"]
    panels = list(future.groupby(["dataset", "split"], sort=False))
    probes = list(dict.fromkeys(future["probe"]))
    looks: dict[str, tuple[str, str]] = {}  # of a base model: the same in all panels
    handles: dict[str, Any] = {}
    colours = iter([MULTITASK, *OTHERS])
    figure, axes = new_figure(len(panels), height=4.6)
    for axis, ((dataset, split), part) in zip(axes, panels, strict=True):
        bases = [line for _, line in part.groupby("base", sort=False)]
        for i, line in enumerate(bases):
            label = label_of(line)
            if label not in looks:
                colour = SINGLE if is_single(line) else next(colours, OTHERS[-1])
                looks[label] = colour, MARKERS[len(looks) % len(MARKERS)]
            colour, marker = looks[label]
            at = [probes.index(name) + 0.8 * (i + 0.5) / len(bases) - 0.4 for name in line["probe"]]
            bars = [line["mean"] - line["low"], line["high"] - line["mean"]]
            handles[label] = axis.errorbar(
                at, line["mean"], yerr=bars, color=colour, marker=marker, ls="", capsize=2
            )
        axis.set_xticks(range(len(probes)), probes, rotation=30)
        axis.set_xlabel("probe (bars: 95 % CI)")
        axis.set_ylabel("accuracy among future classes, %")
        axis.set_title(f"{dataset}, split {split}, n = {int(part['n'].min())} seeds")
    figure.legend(
        list(handles.values()), list(handles), title="heads of the base model", fontsize="small",
        loc="outside lower center", ncols=2 * len(panels),
    )  # fmt: skip
    return figure
