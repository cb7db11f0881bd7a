"""Table 1: time of one epoch of base training by heads, as a ratio to one head.

The paper's own seconds (an RTX 2080) stand beside ours where there are any; of its other numbers
only the ratios can be compared between machines.
"""

from collections.abc import Sequence

import pandas as pd
from matplotlib.figure import Figure

from mtcil.reporting import paper
from mtcil.reporting.style import MULTITASK, PAPER, SINGLE, new_figure
from mtcil.settings.study import Study

STAGE, SECTION, RECORDS = "time_heads", "heads_timings", "records"


def table(study: Study, records: pd.DataFrame) -> pd.DataFrame:
    """A row per heads and passes: median seconds of an epoch, and the median of their ratios.

    A ratio is taken within a round, to one head in that round. On a CPU the seconds are the
    process's own, so that other work on the machine counts less.
    """
    if records.empty:
        return records
    rows = []
    for dataset, part in records.groupby("dataset", sort=False):
        clock = "seconds" if part["device"].iloc[0] != "cpu" else "cpu_seconds"
        settings = study.datasets[str(dataset)]
        theirs = paper.TABLE_1 if settings.kind == paper.GSC.kind else {}
        one_head = str(settings.steps[0])
        single = part[(part["heads"] == one_head) & (part["passes"] == "separate")]
        by_round = single.set_index("round")[clock]
        for (heads, passes), runs in part.groupby(["heads", "passes"], sort=False):
            seconds = runs.set_index("round")[clock]
            printed = theirs.get(str(heads)) if passes == "separate" else None
            rows.append(
                {
                    "dataset": dataset, "heads": heads,
                    "passes": passes, "device": part["device"].iloc[0], "rounds": len(runs),
                    "seconds": seconds.median(), "ratio": (seconds / by_round).median(),
                    "paper_seconds": printed,
                    "paper_ratio": printed and printed / paper.TABLE_1["5"],
                }
            )  # fmt: skip
    return pd.DataFrame(rows)


def markdown(table: pd.DataFrame) -> tuple[Sequence[str], list[list[str]]]:
    """A line per heads, `separate` and `shared` side by side."""
    header = [
        "dataset", "heads", "separate, s", "x one head", "shared, s", "x one head",
        "paper, s", "paper, x one head", "device",
    ]  # fmt: skip
    lines = []
    for (dataset, heads), part in table.groupby(["dataset", "heads"], sort=False):
        by_passes = part.set_index("passes")
        cells = []
        for passes in ("separate", "shared"):
            if passes in by_passes.index:
                row = by_passes.loc[passes]
                cells += [f"{row['seconds']:.3f}", f"{row['ratio']:.2f}"]
            else:
                cells += ["", ""]
        seconds = part["paper_seconds"].dropna()
        ratio = part["paper_ratio"].dropna()
        cells += [f"{v.iloc[0]:.2f}" if len(v) else "" for v in (seconds, ratio)]
        lines.append([str(dataset), str(heads), *cells, str(part["device"].iloc[0])])
    return header, lines


def draw(table: pd.DataFrame) -> Figure:
    """A panel per row: ratio to one head by heads; the paper's beside it."""
    panels = list(table.groupby("dataset", sort=False))
    figure, axes = new_figure(len(panels), height=3.8)
    for axis, (_, part) in zip(axes, panels, strict=True):
        heads = list(dict.fromkeys(part["heads"]))
        places = {text: k for k, text in enumerate(heads)}
        for passes, colour in (("separate", SINGLE), ("shared", MULTITASK)):
            line = part[part["passes"] == passes]
            at = [places[text] for text in line["heads"]]
            axis.plot(at, line["ratio"], marker="o", color=colour, label=f"ours, {passes}")
        theirs = part.dropna(subset=["paper_ratio"])
        if len(theirs):
            at = [places[text] for text in theirs["heads"]]
            axis.plot(at, theirs["paper_ratio"], marker="s", color=PAPER, label="paper")
        axis.set_xticks(range(len(heads)), heads, rotation=40, ha="right")
        axis.set_xlabel("heads")
        axis.set_ylabel("time of an epoch, x one head")
        axis.set_ylim(0, None)
        axis.set_title(f"{part['dataset'].iloc[0]}, {part['device'].iloc[0]}")
        axis.legend(frameon=True)
    return figure
