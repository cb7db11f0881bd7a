"""Methods compared: from the same base models, with the same bytes of memory, on both bases.

Differences are paired by seed and are of the average alone, the measure that the paper's claims
are about. A method's mean is over its own seeds, of which some have more than others: a rank
orders lines, and a difference decides.
"""

from collections.abc import Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mtcil.figures._measures import named
from mtcil.figures._style import MULTITASK, PAPER, SINGLE, gap_text, new_figure, with_ci
from mtcil.figures.steps import is_single, label_of
from mtcil.metrics import average_accuracy_with_base, average_incremental_accuracy
from mtcil.results import by_seed
from mtcil.significance import estimate, holm, paired_by_seed
from mtcil.study import Study

STAGE, SECTION, RECORDS = "compare_methods", "comparisons", "records"
PAPERS, JOINT = "ccil", "joint"  # the paper's method; all clips of all classes
BOUNDS = {JOINT: "upper bound", "finetune": "lower bound"}
ABOUT = ["row", "dataset", "split", "heads", "passes", "control", "exemplars", "method"]
PLACE = ["dataset", "split", "exemplars"]
KEPT = ["memory_bytes", "state_bytes", "validation_bytes"]
DIFFERENCES = ("ccil_", "gain_", "joint_")


def table(study: Study, records: pd.DataFrame) -> pd.DataFrame:
    """A row per base model, method and measure: mean, 95 % CI; differences of the average.

    `ccil_` and `joint_`: to the paper's method and to `joint` from the same base; `gain_`: to the
    same method from the single task's base. `<difference>p_holm` is corrected over all
    differences of its kind in the table.
    """
    if records.empty:
        return records
    rows = []
    for (dataset, *_), part in records.groupby(PLACE, sort=False):
        single_heads = str(study.datasets[str(dataset)].steps[0])
        plain = part[(part["heads"] == single_heads) & (part["control"] == "none")]
        single = plain["row"].iloc[0] if len(plain) else None
        found = {about: by_measure(runs) for about, runs in part.groupby(ABOUT, sort=False)}
        averages = {(about[0], about[-1]): by["average"] for about, by in found.items()}
        for about, measures in found.items():
            row, method = about[0], about[-1]
            others = ((row, PAPERS), (single, method), (row, JOINT))
            for measure, values in measures.items():
                line = dict(zip(ABOUT, about, strict=True)) | {"measure": measure}
                line |= named("", estimate(list(values.values())))
                if measure == "average":
                    for prefix, other in zip(DIFFERENCES, others, strict=True):
                        gap = paired_by_seed(values, averages.get(other, {}))
                        if gap and other != (row, method):
                            line |= named(prefix, gap)
                rows.append(line)
    return _corrected(pd.DataFrame(rows))


def by_measure(runs: pd.DataFrame) -> dict[str, dict[int, float]]:
    """{measure: {seed: value}} of one method from one base: percent; bytes kept for the last step.

    Old and new: accuracy of the old and of the new classes, mean of the incremental steps.
    """
    steps = by_seed(runs)
    later = runs[runs["step"] > 0].groupby("seed")
    last = runs[runs["step"] == runs["step"].max()].set_index("seed")
    return {
        "average": {s: average_incremental_accuracy(a) for s, a in steps.items()},
        "average with base": {s: average_accuracy_with_base(a) for s, a in steps.items()},
        "last step": {s: a[-1] for s, a in steps.items()},
        "old": later["old_accuracy"].mean().to_dict(),
        "new": later["new_accuracy"].mean().to_dict(),
        "bytes": last[KEPT].sum(axis=1).astype(float).to_dict(),
    }


def _corrected(table: pd.DataFrame) -> pd.DataFrame:
    for prefix in DIFFERENCES:
        if f"{prefix}p_value" in table:
            table[f"{prefix}p_holm"] = holm(table[f"{prefix}p_value"].tolist())
    return table


def markdown(table: pd.DataFrame) -> tuple[Sequence[str], list[list[str]]]:
    """A line per method, the best on the single task's base first; single task beside multitask."""
    header = [
        "dataset", "split", "K", "rank", "method", "heads", "single task", "multitask",
        "multitask minus single task (p by Holm)", "single task: to ccil (p by Holm)",
        "multitask: to ccil (p by Holm)", "single task: to joint", "old / new, single task",
        "old / new, multitask", "kept, kB",
    ]  # fmt: skip
    lines = []
    for single, multitask in pairs_of(table):
        first = single.iloc[0]
        heads = [str(part["heads"].iloc[0]) for part in (single, multitask) if len(part)]
        order = ranked(single)
        placed = [method for method in order if method not in BOUNDS]
        for method in order:
            ones, others = (part[part["method"] == method] for part in (single, multitask))
            lines.append(
                [
                    *(str(first[k]) for k in PLACE),
                    "" if method in BOUNDS else str(placed.index(method) + 1),
                    named_bound(method),
                    " / ".join(heads),
                    *(_average(part) for part in (ones, others)),
                    _difference(others, "gain_"),
                    *(_difference(part, "ccil_") for part in (ones, others)),
                    _difference(ones, "joint_"),
                    *(_old_and_new(part) for part in (ones, others)),
                    f"{measured(ones, 'bytes')['mean'].iloc[0] / 1000:,.1f}",
                ]
            )
    return header, lines


def _average(part: pd.DataFrame) -> str:
    cells = measured(part, "average")
    return "".join(with_ci(r["mean"], r["low"], r["high"], r["n"]) for _, r in cells.iterrows())


def _difference(part: pd.DataFrame, prefix: str) -> str:
    cells = measured(part, "average")
    return "".join(gap_text(row, prefix, "p_holm") for _, row in cells.iterrows())


def _old_and_new(part: pd.DataFrame) -> str:
    means = [measured(part, name)["mean"] for name in ("old", "new")]
    return " / ".join(f"{mean.iloc[0]:.1f}" for mean in means if len(mean))


def bases_of(table: pd.DataFrame) -> list[tuple[pd.DataFrame, list[pd.DataFrame]]]:
    """Of each dataset and split, the single task's part of the table, and the others'."""
    found = []
    for _, place in table.groupby(PLACE, sort=False):
        bases = [part for _, part in place.groupby("row", sort=False)]
        single = next(filter(is_single, bases), bases[0])
        found.append((single, [part for part in bases if part is not single]))
    return found


def pairs_of(table: pd.DataFrame) -> list[tuple[pd.DataFrame, pd.DataFrame]]:
    """The single task's part of the table beside each other one's; an empty one for none."""
    return [
        (single, other)
        for single, others in bases_of(table)
        for other in others or [single.iloc[:0]]
    ]


def measured(part: pd.DataFrame, measure: str) -> pd.DataFrame:
    """The rows of one measure, by method."""
    return part[part["measure"] == measure].set_index("method")


def ranked(part: pd.DataFrame) -> list[str]:
    """Methods by their average, the best first."""
    means = measured(part, "average")["mean"]
    return [str(method) for method in means.sort_values(ascending=False, kind="stable").index]


def named_bound(method: str) -> str:
    """A method's name; of a bound, with what it bounds."""
    return f"{method} ({BOUNDS[method]})" if method in BOUNDS else method


def title_of(part: pd.DataFrame) -> str:
    """Dataset, split, K and the numbers of seeds."""
    first, n = part.iloc[0], part["n"]
    seeds = f"{n.min()}" if n.min() == n.max() else f"{n.min()} to {n.max()}"
    return f"{first['dataset']}, split {first['split']}\nK = {first['exemplars']}, n = {seeds}"


def draw(table: pd.DataFrame) -> Figure:
    """A panel per dataset: methods, the best on top; joint as a line for each base."""
    pairs = pairs_of(table)
    longest = max(single["method"].nunique() for single, _ in pairs)
    figure, axes = new_figure(len(pairs), height=2.2 + 0.24 * longest, width=4.6)
    for axis, (single, multitask) in zip(axes, pairs, strict=True):
        methods = [method for method in ranked(single) if method != JOINT]
        _draw_base(axis, single, methods, SINGLE, "o", "single task", -0.16)
        if len(multitask):
            _draw_base(axis, multitask, methods, MULTITASK, "s", "multitask", 0.16)
        n = measured(single, "average")["n"]
        axis.set_yticks(range(len(methods)), [f"{named_bound(m)}, {n[m]}" for m in methods])
        axis.set_ylim(len(methods) - 0.4, -0.6)
        heads = ", against ".join(label_of(part) for part in (single, multitask) if len(part))
        axis.set_title(f"{title_of(single)}\nheads {heads}")
        axis.set_xlabel("average accuracy, %\n(incremental steps; bar: 95 % CI)")
        axis.set_ylabel("method, number of seeds")
    dashed = f" (dashed: {JOINT}, the {BOUNDS[JOINT]})" if JOINT in set(table["method"]) else ""
    figure.legend(
        *axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2,
        title=f"base model{dashed}", frameon=False,
    )  # fmt: skip
    return figure


def _draw_base(
    axis: Axes, part: pd.DataFrame, methods: list[str], colour: str, marker: str, label: str,
    lower: float,
) -> None:  # fmt: skip
    """Marks of one base model, `lower` rows below the middle of each method's line."""
    averages = measured(part, "average")
    shown = averages.reindex(methods)
    at = [i + lower for i in range(len(methods))]
    bars = [shown["mean"] - shown["low"], shown["high"] - shown["mean"]]
    axis.errorbar(
        shown["mean"], at, xerr=bars, color=colour, marker=marker, markersize=4, ls="",
        elinewidth=1, capsize=2, label=label,
    )  # fmt: skip
    if JOINT in averages.index:
        x = averages.loc[JOINT, "mean"]
        axis.plot([x, x], [-0.6, len(methods) - 0.4], color=colour, ls="--", linewidth=1)


def draw_point(axis: Axes, method: str, x: float, y: float, **bars: Any) -> None:
    """A method as a point with its CI; bounds in grey."""
    colour, marker = (PAPER, "D") if method in BOUNDS else (SINGLE, "o")
    axis.errorbar(x, y, color=colour, marker=marker, markersize=4, elinewidth=0.6, **bars)
