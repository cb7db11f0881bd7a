"""Figure 5: average incremental accuracy against the memory budget K, single task and multitask.

Below each panel the paired difference, multitask minus single task.
"""

from collections.abc import Sequence

import pandas as pd
from matplotlib.figure import Figure

from mtcil.figures._style import MULTITASK, OTHERS, SINGLE, gap_text, new_grid, with_ci
from mtcil.metrics import average_incremental_accuracy
from mtcil.results import by_seed
from mtcil.significance import estimate, paired_by_seed
from mtcil.study import Study

STAGE, SECTION, RECORDS = "sweep_exemplars", "exemplar_sweeps", "records"


def table(study: Study, records: pd.DataFrame) -> pd.DataFrame:
    """A row per sweep and K: mean, 95 % CI, and the paired difference to single task."""
    if records.empty:
        return records
    averages = {
        key: {s: average_incremental_accuracy(steps) for s, steps in by_seed(runs).items()}
        for key, runs in records.groupby(
            ["dataset", "split", "heads", "passes", "row", "exemplars"], sort=False
        )
    }
    rows = []
    for key, values in averages.items():
        dataset, split, heads, passes, name, budget = key
        found = estimate(list(values.values()))
        row = {
            "dataset": dataset, "split": split, "heads": heads, "passes": passes, "row": name,
            "exemplars": budget, "n": found.n, "mean": found.mean, "std": found.std,
            "low": found.low, "high": found.high,
        }  # fmt: skip
        single_heads = str(study.datasets[str(dataset)].steps[0])
        for other, theirs in averages.items():
            same = (other[0], other[1], other[5]) == (dataset, split, budget)
            if same and other[2] == single_heads != heads:
                gain = paired_by_seed(values, theirs)
                if gain:
                    row |= {
                        "gain_n": gain.n, "gain_mean": gain.mean, "gain_low": gain.low,
                        "gain_high": gain.high, "gain_p_value": gain.p_value,
                    }  # fmt: skip
        rows.append(row)
    return pd.DataFrame(rows).sort_values(["row", "exemplars"], kind="stable", ignore_index=True)


def markdown(table: pd.DataFrame) -> tuple[Sequence[str], list[list[str]]]:
    """A line per sweep, a column per K; the gain on single task in brackets."""
    budgets = sorted(table["exemplars"].unique())
    header = ["dataset", "heads", "passes", *(f"K = {k}" for k in budgets)]
    lines = []
    for _, part in table.groupby("row", sort=False):
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
        colours = iter([MULTITASK, *OTHERS])
        for _, line in part.groupby("row", sort=False):
            single = "gain_mean" not in line or line["gain_mean"].isna().all()
            colour = SINGLE if single else next(colours)
            heads = line["heads"].iloc[0]
            label = f"{heads} (single task)" if single else f"{heads} (multitask)"
            _band(top, line, "", colour, label)
            if not single:
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
