"""Figure 5: average incremental accuracy against the memory budget K, single task and multitask.

Below each panel the paired difference, multitask minus single task.
"""

from collections.abc import Sequence
from itertools import cycle

import pandas as pd
from matplotlib.figure import Figure

from mtcil.records.measures import average_incremental_accuracy
from mtcil.records.tables import by_seed
from mtcil.reporting.columns import named
from mtcil.reporting.inference import estimate, paired_by_seed
from mtcil.reporting.style import MULTITASK, OTHERS, SINGLE, gap_text, is_single, new_grid, with_ci
from mtcil.settings.study import SINGLE as SINGLE_TASK
from mtcil.settings.study import Study

STAGE, SECTION, RECORDS = "sweep_exemplars", "exemplar_sweeps", "records"
KEYS = ["dataset", "split", "base", "heads", "passes"]


def table(study: Study, records: pd.DataFrame) -> pd.DataFrame:
    """A row per sweep and K: mean, 95 % CI, and the paired difference to single task."""
    if records.empty:
        return records
    averages = {
        key: {s: average_incremental_accuracy(steps) for s, steps in by_seed(runs).items()}
        for key, runs in records.groupby([*KEYS, "exemplars"], sort=False)
    }
    rows = []
    for key, values in averages.items():
        dataset, split, base, *_, budget = key
        row = dict(zip([*KEYS, "exemplars"], key, strict=True))
        row |= named("", estimate(list(values.values())))
        for other, theirs in averages.items():
            same = (other[0], other[1], other[-1]) == (dataset, split, budget)
            gain = paired_by_seed(values, theirs)
            if same and other[2] == SINGLE_TASK != base and gain:
                row |= named("gain_", gain)
        rows.append(row)
    bases = list(dict.fromkeys(key[:-1] for key in averages))
    rows.sort(key=lambda row: (bases.index(tuple(row[k] for k in KEYS)), row["exemplars"]))
    return pd.DataFrame(rows)


def markdown(table: pd.DataFrame) -> tuple[Sequence[str], list[list[str]]]:
    """A line per sweep, a column per K; the gain on single task in brackets."""
    budgets = sorted(table["exemplars"].unique())
    header = ["dataset", "heads", "passes", *(f"K = {k}" for k in budgets)]
    lines = []
    for _, part in table.groupby(KEYS, sort=False):
        first = part.iloc[0]
        cells = {}
        for _, row in part.iterrows():
            text = with_ci(row["mean"], row["low"], row["high"], row["n"])
            gap = gap_text(row, "gain_")
            text += f"; gain {gap}" if gap else ""
            cells[row["exemplars"]] = text
        about = [str(first[k]) for k in ("dataset", "heads", "passes")]
        lines.append([*about, *(cells.get(k, "") for k in budgets)])
    return header, lines


def draw(table: pd.DataFrame) -> Figure:
    """Above: mean over seeds with its 95 % CI band. Below: the paired difference."""
    panels = list(table.groupby("dataset", sort=False))
    figure, (above, below) = new_grid(2, len(panels), heights=[2, 1])
    for top, bottom, (dataset, part) in zip(above, below, panels, strict=True):
        colours = cycle([MULTITASK, *OTHERS])
        for _, line in part.groupby(KEYS, sort=False):
            single = is_single(line)
            colour = SINGLE if single else next(colours)
            heads = line["heads"].iloc[0]
            label = f"{heads} (single task)" if single else f"{heads} (multitask)"
            _band(top, line, "", colour, label)
            if not single and "gain_mean" in line:
                _band(bottom, line, "gain_", colour, None)
        bottom.axhline(0, color=SINGLE, linewidth=1)
        top.set_title(f"{dataset}, n = {int(part['n'].min())} seeds")
        top.set_ylabel("average incremental\naccuracy, %")
        bottom.set_ylabel("gain, points")
        top.set_xlabel("exemplars K, in all (band: 95 % CI)")
        bottom.set_xlabel("exemplars K, in all (band: 95 % CI)")
        top.legend(title="heads", frameon=True)
    return figure


def _band(axis, line, prefix, colour, label):  # type: ignore[no-untyped-def]
    x = line["exemplars"]
    axis.plot(x, line[f"{prefix}mean"], marker="o", color=colour, label=label)
    low, high = line[f"{prefix}low"], line[f"{prefix}high"]
    axis.fill_between(x, low, high, color=colour, alpha=0.15, linewidth=0)
