"""Accuracy at each step by heads setting, the single-task base against multitask bases.

The form of the paper's Figure 4 and of its Table 2's columns; the average leaves the base step
out, as the paper's does.
"""

from collections.abc import Sequence

import pandas as pd
from matplotlib.figure import Figure

from mtcil.figures._measures import AVERAGES, by_measure, in_order, named
from mtcil.figures._style import MARKERS, MULTITASK, OTHERS, SINGLE, new_figure, with_ci
from mtcil.results import VARIANT
from mtcil.significance import estimate, paired_difference
from mtcil.study import Study

STAGE, SECTION, RECORDS = "learn_steps", "base_models", "records"


def table(study: Study, records: pd.DataFrame) -> pd.DataFrame:
    """A row per variant and column: mean, 95 % CI, and the paired difference to single task.

    Columns of the printed table ("measure") are the classes seen, then both averages.
    """
    if records.empty:
        return records
    rows = []
    keys = ["dataset", "split", "method", "exemplars"]
    for (dataset, *_), part in records.groupby(keys, sort=False):
        single_heads = str(study.datasets[dataset].steps[0])
        single = by_measure(part[part["heads"] == single_heads])
        for variant, runs in part.groupby([*VARIANT, "row"], sort=False):
            about = dict(zip([*VARIANT, "row"], variant, strict=True))
            for measure, values in by_measure(runs).items():
                found = estimate(list(values.values()))
                row = {**about, "measure": measure, **named("", found)}
                shared = [seed for seed in values if seed in single.get(measure, {})]
                if shared and about["heads"] != single_heads:
                    gain = paired_difference(
                        [values[s] for s in shared], [single[measure][s] for s in shared]
                    )
                    row |= named("gain_", gain)
                rows.append(row)
    return pd.DataFrame(rows)


def markdown(table: pd.DataFrame) -> tuple[Sequence[str], list[list[str]]]:
    """One line per variant: accuracy after each step and the averages, in percent."""
    measures = in_order(table["measure"])
    header = [
        "dataset", "split", "heads", "passes", "K", *measures, "average gained on single task", "p",
    ]  # fmt: skip
    lines = []
    for variant, part in table.groupby([*VARIANT, "row"], sort=False):
        about = dict(zip([*VARIANT, "row"], variant, strict=True))
        cells = {
            row["measure"]: with_ci(row["mean"], row["low"], row["high"], row["n"])
            for _, row in part.iterrows()
        }
        average = part[part["measure"] == "average"].iloc[0]
        gain = ["", ""]
        if pd.notna(average.get("gain_mean")):
            mean, low, high = (average[f"gain_{k}"] for k in ("mean", "low", "high"))
            gain = [f"{mean:+.1f} [{low:+.1f}, {high:+.1f}]", f"{average['gain_p_value']:.3f}"]
        lines.append(
            [
                *(str(about[k]) for k in ("dataset", "split", "heads", "passes", "exemplars")),
                *(cells.get(m, "") for m in measures),
                *gain,
            ]
        )
    return header, lines


def draw(table: pd.DataFrame) -> Figure:
    """A panel per dataset and split; mean over seeds with its 95 % CI band."""
    panels = list(table.groupby(["dataset", "split", "exemplars"], sort=False))
    figure, axes = new_figure(len(panels))
    for axis, ((dataset, split, exemplars), part) in zip(axes, panels, strict=True):
        steps = part[~part["measure"].isin(list(AVERAGES))]
        colours = iter([MULTITASK, *OTHERS, *OTHERS])
        variants = steps.groupby(["heads", "passes", "row"], sort=False)
        for marker, ((heads, passes, _), line) in zip(MARKERS * 3, variants, strict=False):
            single = bool(line.get("gain_mean", pd.Series([None])).isna().all())
            colour = SINGLE if single else next(colours)
            x = line["measure"].astype(int)
            label = f"{heads} (single task)" if single else f"{heads}, {passes}"
            axis.plot(x, line["mean"], marker=marker, color=colour, label=label)
            axis.fill_between(x, line["low"], line["high"], color=colour, alpha=0.15, linewidth=0)
        axis.set_title(
            f"{dataset}, split {split}, K = {exemplars}, n = {int(part['n'].min())} seeds"
        )
        axis.set_ylim(max(0.0, float(steps["mean"].min()) - 15), 102)  # a wide CI is cut
        axis.set_xlabel("classes seen")
        axis.set_ylabel("step accuracy, % (band: 95 % CI)")
        axis.set_xticks(sorted(steps["measure"].astype(int).unique()))
        axis.legend(title="heads", frameon=True)
    return figure
