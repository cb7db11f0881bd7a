"""Frozen-base probes: accuracy among the classes that the base step never saw, a mark per base."""

from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from mtcil.reporting.style import labels_of, looks_of, new_figure, percent_axis


def draw(table: pd.DataFrame) -> Figure:
    """A panel per dataset and split: accuracy among future classes by probe, a mark per base."""
    future = table[table["measure"] == "future"]
    panels = list(future.groupby(["dataset", "split"], sort=False))
    probes = list(dict.fromkeys(future["probe"]))
    looks = looks_of(future)
    handles: dict[str, Any] = {}
    figure, axes = new_figure(len(panels), height=4.6)
    for axis, ((dataset, split), part) in zip(axes, panels, strict=True):
        bases = [line for _, line in part.groupby("base", sort=False)]
        labels = labels_of(part)
        for i, line in enumerate(bases):
            base = line["base"].iloc[0]
            colour, marker = looks[base]
            at = [probes.index(name) + 0.8 * (i + 0.5) / len(bases) - 0.4 for name in line["probe"]]
            bars = [line["mean"] - line["low"], line["high"] - line["mean"]]
            handles[labels[base]] = axis.errorbar(
                at, line["mean"], yerr=bars, color=colour, marker=marker, ls="", capsize=2
            )
        axis.set_xticks(range(len(probes)), probes, rotation=30)
        axis.set_xlabel("probe (bars: 95 % CI)")
        axis.set_ylabel("accuracy among future classes, %")
        percent_axis(axis)
        axis.set_title(f"{dataset}, split {split}, n = {int(part['n'].min())} seeds")
    figure.legend(
        list(handles.values()), list(handles), title="base model", fontsize="small",
        loc="outside lower center", ncols=2 * len(panels),
    )  # fmt: skip
    return figure
