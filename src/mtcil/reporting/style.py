"""Shared by tables and figures: the same colours and words for the same things.

Figures are readable at half the width of a page.
"""

import io
from collections import Counter
from collections.abc import Sequence
from itertools import cycle
from typing import Any, Literal

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from mtcil.reporting.fonts import drawn_with_every_font
from mtcil.reporting.inference import both_of_two
from mtcil.settings.study import CEILING
from mtcil.settings.study import MULTITASK as MULTITASK_BASE
from mtcil.settings.study import SINGLE as SINGLE_TASK

# Okabe and Ito's colours, which colour-blind people can distinguish.
SINGLE, MULTITASK, PAPER = "#0072B2", "#D55E00", "#7F7F7F"
OTHERS = ("#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
KINDS_OF_BYTES = {
    "memory_bytes": "exemplars",
    "state_bytes": "state of the method",
    "validation_bytes": "validation clips of old classes",
    "teacher_bytes": "old model",
}
SCHEDULES = {  # of fine-tuning
    "two_step": "two steps",
    "cosine": "all layers, cosine from the large rate",
    "small": "all layers, small rate",
}


def new_figure(n_panels: int, height: float = 3.4, width: float = 3.6) -> tuple[Figure, list[Axes]]:
    """A row of panels with shared style; sizes in inches, `width` of a panel."""
    _set_theme()
    figure = Figure(figsize=(1.0 + width * n_panels, height), layout="constrained", dpi=150)
    axes = figure.subplots(1, n_panels, squeeze=False)[0]
    return figure, list(axes)


def new_grid(
    n_rows: int, n_columns: int, heights: Sequence[float] | None = None
) -> tuple[Figure, list[list[Axes]]]:
    """Rows of panels; `heights` are relative, equal by default."""
    _set_theme()
    tall = 2.9 * n_rows + 0.5 if heights is None else 5.2
    figure = Figure(figsize=(1.0 + 3.8 * n_columns, tall), layout="constrained", dpi=150)
    axes = figure.subplots(n_rows, n_columns, squeeze=False, height_ratios=heights)
    return figure, [list(row) for row in axes]


def _set_theme() -> None:
    sns.set_theme(style="whitegrid", context="paper", font_scale=1.15)


def percent_axis(axis: Axes, which: Literal["x", "y"] = "y") -> None:
    """Show accuracies from 0 to 100 percent, so that a small difference looks small."""
    axis.set(**{f"{which}lim": (-2, 102), f"{which}ticks": range(0, 101, 20)})


def png_of(figure: Figure) -> bytes:
    """The figure as a PNG of 256 colours: a third of the size, and a drawing needs no more."""
    drawn, small = io.BytesIO(), io.BytesIO()
    with drawn_with_every_font(figure):
        figure.savefig(drawn, format="png")
    with Image.open(drawn) as image:
        image.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(
            small, format="PNG", optimize=True
        )
    return small.getvalue()


def spread(line: pd.DataFrame, prefix: str = "") -> tuple[pd.Series, pd.Series]:
    """The ends of each row's bar or band: its 95 % interval; of two seeds, both values."""
    low, high = line[f"{prefix}low"], line[f"{prefix}high"]
    first, second = both_of_two(low, high)
    of_two = line[f"{prefix}n"] == 2
    return low.mask(of_two, first), high.mask(of_two, second)


def spread_name(line: pd.DataFrame) -> str:
    """What `spread` draws."""
    return "both seeds" if (line["n"] == 2).all() else "95 % CI"


def with_ci(row: pd.Series) -> str:
    """Text such as `78.3 ± 1.2 (n 5)`: mean and half the width of the 95 % interval.

    Of two seeds `75.4 (60.7 and 90.0, n 2)`: the interval would be 13 times as wide as they
    are apart, so both values are printed instead. "-" where there is no mean, e.g. over the later
    steps of a base step only.
    """
    mean, low, high = row["mean"], row["low"], row["high"]
    if pd.isna(mean):
        return "-"
    n = int(row["n"])
    if n == 2:
        return f"{mean:.1f} ({{:.1f}} and {{:.1f}}, n 2)".format(*both_of_two(low, high))
    return f"{mean:.1f} (n {n})" if n < 2 else f"{mean:.1f} ± {(high - low) / 2:.1f} (n {n})"


def gap_text(row: pd.Series, prefix: str, p_name: str = "p_value") -> str:
    """Text such as `+1.2 [+0.3, +2.1], p 0.012` of a paired difference; empty if there is none.

    Of two seeds `+1.2 (+0.3 and +2.1, n 2), p 0.409`, as in `with_ci`.

    Args:
        p_name: the p-value to show: `p_value`, or `p_holm` if the table has it.
    """
    if pd.isna(row.get(f"{prefix}mean")):
        return ""
    mean, low, high, p = (row[f"{prefix}{k}"] for k in ("mean", "low", "high", p_name))
    if pd.isna(p):
        return f"{mean:+.1f} (n 1)"
    ends = f"[{low:+.1f}, {high:+.1f}]"
    if row[f"{prefix}n"] == 2:
        ends = "({:+.1f} and {:+.1f}, n 2)".format(*both_of_two(low, high))
    return f"{mean:+.1f} {ends}, p {f'{p:.3f}' if p >= 0.0005 else '< 0.001'}"


def mean_text(mean: float) -> str:
    """Text such as `78.3`; "-" where there is no mean, as in `with_ci`."""
    return "-" if pd.isna(mean) else f"{mean:.1f}"


def power_cells(row: pd.Series, prefix: str) -> list[str]:
    """Two cells: the CI corrected for resampling, and the difference found with 80 % power."""
    low, high, size = (
        row.get(f"{prefix}{name}") for name in ("wide_low", "wide_high", "detectable")
    )
    interval = "" if pd.isna(low) else f"[{low:+.1f}, {high:+.1f}]"
    return [interval, "" if pd.isna(size) else f"{size:.1f}"]


def end_of_fine_tuning(stopping: str) -> str:
    """`early stopping`, or the number of epochs."""
    return "early stopping" if stopping == "early" else f"{stopping} epochs"


def is_single(line: pd.DataFrame) -> bool:
    """Whether a variant is the single task, the baseline of the others."""
    return bool((line["base"] == SINGLE_TASK).all())


def base_text(row: pd.Series) -> str:
    """Name and heads of a row's base model: "multitask (5-4-3-2)"."""
    return f"{row['base']} ({row['heads']})"


def label_of(line: pd.DataFrame) -> str:
    """Heads and special features of a variant, e.g. "4-3-2, shared pass".

    With parts, or the ceiling, it is the row's name.
    """
    first = line.iloc[0]
    if first["control"] not in ("none", "longer", "shuffled_labels"):
        return str(first["base"])
    notes = [str(first["heads"])]
    if is_single(line):
        notes.append("single task")
    if first["passes"] == "shared":
        notes.append("shared pass")
    if first["control"] != "none":
        notes.append(first["control"].replace("_", " "))
    return ", ".join(notes)


def labels_of(table: pd.DataFrame) -> dict[str, str]:
    """{base model: its label} of one dataset; with its name if two have the same label."""
    labels = {str(base): label_of(line) for base, line in table.groupby("base", sort=False)}
    shared = [label for label, n in Counter(labels.values()).items() if n > 1]
    return {
        base: f"{label} ({base})" if label in shared else label for base, label in labels.items()
    }


def looks_of(table: pd.DataFrame) -> dict[str, tuple[str, str]]:
    """{base model: (colour, marker)}; single task, multitask and ceiling look the same everywhere.

    Args:
        table: with the columns `base` and `control`.
    """
    known = {SINGLE_TASK: SINGLE, MULTITASK_BASE: MULTITASK}
    colours, looks = cycle(OTHERS), dict[str, tuple[str, str]]()
    for base, control in table[["base", "control"]].drop_duplicates("base").to_numpy().tolist():
        colour = PAPER if control == CEILING else known.get(base) or next(colours)
        looks[base] = colour, MARKERS[len(looks) % len(MARKERS)]
    return looks


def draw_band(
    axis: Axes,
    x: pd.Series,
    line: pd.DataFrame,
    colour: str,
    marker: str,
    label: str | None = None,
    prefix: str = "",
) -> None:
    """Draw a curve of means with the band of `spread`; the columns' names begin with `prefix`."""
    axis.plot(x, line[f"{prefix}mean"], marker=marker, color=colour, label=label)
    axis.fill_between(x, *spread(line, prefix), color=colour, alpha=0.15, linewidth=0)


def draw_point(axis: Axes, x: float, y: float, is_bound: bool, **bars: Any) -> None:
    """Draw a method as a point with its CI; bounds are grey."""
    colour, marker = (PAPER, "D") if is_bound else (SINGLE, "o")
    axis.errorbar(x, y, color=colour, marker=marker, markersize=4, elinewidth=0.6, **bars)
