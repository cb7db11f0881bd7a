"""Methods compared: from the same base models, with the same bytes of memory, on both bases."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mtcil.reporting import comparison
from mtcil.reporting.comparison import (
    BOUNDS,
    JOINT,
    PLACE,
    measured,
    named_bound,
    pairs_of,
    ranked,
    title_of,
)
from mtcil.reporting.style import MULTITASK, SINGLE, gap_text, label_of, new_figure, with_ci

STAGE, SECTION, RECORDS = "compare_methods", "comparisons", "records"
table = comparison.table


def markdown(table: pd.DataFrame) -> tuple[Sequence[str], list[list[str]]]:
    """A line per method, the best on the single task's base first; single task beside multitask.

    Without a single task, the best on the other base first.
    """
    header = [
        "dataset", "split", "K", "rank", "method", "heads", "single task", "multitask",
        "multitask minus single task (p by Holm)", "single task: to ccil (p by Holm)",
        "multitask: to ccil (p by Holm)", "single task: to joint", "old / new, single task",
        "old / new, multitask", "kept, kB",
    ]  # fmt: skip
    lines = []
    for single, multitask in pairs_of(table):
        ranking = single if len(single) else multitask
        first = ranking.iloc[0]
        heads = [str(part["heads"].iloc[0]) for part in (single, multitask) if len(part)]
        order = ranked(ranking)
        placed = [method for method in order if method not in BOUNDS]
        for method in order:
            ones, others = (part[part["method"] == method] for part in (single, multitask))
            n_bytes = measured(ranking, "bytes").loc[method, "mean"]
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
                    f"{n_bytes / 1000:,.1f}",
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


def draw(table: pd.DataFrame) -> Figure:
    """A panel per dataset: methods, the best on top; joint as a line for each base."""
    pairs = pairs_of(table)
    rankings = [single if len(single) else multitask for single, multitask in pairs]
    longest = max(ranking["method"].nunique() for ranking in rankings)
    figure, axes = new_figure(len(pairs), height=2.2 + 0.24 * longest, width=4.6)
    for axis, ranking, (single, multitask) in zip(axes, rankings, pairs, strict=True):
        methods = [method for method in ranked(ranking) if method != JOINT]
        if len(single):
            _draw_base(axis, single, methods, SINGLE, "o", "single task", -0.16)
        if len(multitask):
            _draw_base(axis, multitask, methods, MULTITASK, "s", "multitask", 0.16)
        n = measured(ranking, "average")["n"]
        axis.set_yticks(range(len(methods)), [f"{named_bound(m)}, {n[m]}" for m in methods])
        axis.set_ylim(len(methods) - 0.4, -0.6)
        heads = ", against ".join(label_of(part) for part in (single, multitask) if len(part))
        axis.set_title(f"{title_of(ranking)}\nheads {heads}")
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
