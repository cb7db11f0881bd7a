"""Table 1: time of one epoch of base training by heads, as a ratio to one head.

The paper's seconds are shown if it prints any. Between machines, only ratios can be compared.
"""

from collections.abc import Sequence

import pandas as pd

from mtcil.reporting import paper
from mtcil.settings.study import Study

STAGE, SECTION, RECORDS = "time_heads", "heads_timings", "records"


def table(study: Study, records: pd.DataFrame) -> pd.DataFrame:
    """A row per heads and passes: median seconds of an epoch, and median ratio to one head.

    A ratio compares with one head in the same round. On a CPU the seconds are CPU time of the
    process, so that other work on the machine matters less.
    """
    if records.empty:
        return records
    rows = []
    for dataset, part in records.groupby("dataset", sort=False):
        clock = "seconds" if part["device"].iloc[0] != "cpu" else "cpu_seconds"
        settings = study.datasets[str(dataset)]
        has_paper = settings.kind == paper.GSC.kind
        one_head = str(settings.steps[0])
        single = part[(part["heads"] == one_head) & (part["passes"] == "separate")]
        by_round = single.set_index("round")[clock]
        for (heads, passes), runs in part.groupby(["heads", "passes"], sort=False):
            seconds = runs.set_index("round")[clock]
            theirs = str(heads) if has_paper and passes == "separate" else ""
            rows.append(
                {
                    "dataset": dataset, "heads": heads,
                    "passes": passes, "device": part["device"].iloc[0], "rounds": len(runs),
                    "seconds": seconds.median(), "ratio": (seconds / by_round).median(),
                    "paper_seconds": paper.TABLE_1.get(theirs),
                    "paper_ratio": paper.TABLE_1_RATIOS.get(theirs),
                }
            )  # fmt: skip
    return pd.DataFrame(rows)


def markdown(table: pd.DataFrame) -> tuple[Sequence[str], list[list[str]]]:
    """A line per heads, with `separate` and `shared` side by side."""
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
