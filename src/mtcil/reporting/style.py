"""What all figures share: the same colour for the same thing, readable at half a page's width."""

from collections.abc import Sequence
from typing import Any

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mtcil.settings.study import SINGLE as SINGLE_TASK

# Okabe and Ito's colours: told apart by people who are colour-blind.
SINGLE, MULTITASK, PAPER = "#0072B2", "#D55E00", "#7F7F7F"
OTHERS = ("#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")


def new_figure(n_panels: int, height: float = 3.4, width: float = 3.6) -> tuple[Figure, list[Axes]]:
    """A row of panels with shared style; sizes in inches, `width` of a panel."""
    _set_theme()
    figure = Figure(figsize=(1.0 + width * n_panels, height), layout="constrained", dpi=150)
    axes = figure.subplots(1, n_panels, squeeze=False)[0]
    return figure, list(axes)


def new_grid(
    n_rows: int, n_columns: int, heights: Sequence[float] | None = None
) -> tuple[Figure, list[list[Axes]]]:
    """Rows of panels; `heights` are relative to each other, equal if left out."""
    _set_theme()
    tall = 2.9 * n_rows + 0.5 if heights is None else 5.2
    figure = Figure(figsize=(1.0 + 3.8 * n_columns, tall), layout="constrained", dpi=150)
    axes = figure.subplots(n_rows, n_columns, squeeze=False, height_ratios=heights)
    return figure, [list(row) for row in axes]


def _set_theme() -> None:
    sns.set_theme(style="whitegrid", context="paper", font_scale=1.15)


def with_ci(mean: float, low: float, high: float, n: int) -> str:
    """Text such as `78.3 ± 1.2 (n 5)`: mean and half the width of the 95 % interval."""
    return f"{mean:.1f} (n {n})" if n < 2 else f"{mean:.1f} ± {(high - low) / 2:.1f} (n {n})"


def gap_text(row: pd.Series, prefix: str, p_name: str = "p_value") -> str:
    """Text such as `+1.2 [+0.3, +2.1], p 0.012` of a paired difference; empty if there is none.

    Args:
        p_name: the p-value to show: `p_value`, or `p_holm` where the table has it.
    """
    if pd.isna(row.get(f"{prefix}mean")):
        return ""
    mean, low, high, p = (row[f"{prefix}{k}"] for k in ("mean", "low", "high", p_name))
    if pd.isna(p):
        return f"{mean:+.1f} (n 1)"
    return f"{mean:+.1f} [{low:+.1f}, {high:+.1f}], p {f'{p:.3f}' if p >= 0.0005 else '< 0.001'}"


def is_single(line: pd.DataFrame) -> bool:
    """Whether a variant is the single task that the others are compared to."""
    return bool((line["base"] == SINGLE_TASK).all())


def label_of(line: pd.DataFrame) -> str:
    """Heads and what is special of a variant, e.g. "4-3-2, shared pass"."""
    first = line.iloc[0]
    notes = [str(first["heads"])]
    if is_single(line):
        notes.append("single task")
    if first["passes"] == "shared":
        notes.append("shared pass")
    if first["control"] != "none":
        notes.append(first["control"].replace("_", " "))
    return ", ".join(notes)


def draw_point(axis: Axes, x: float, y: float, is_bound: bool, **bars: Any) -> None:
    """A method as a point with its CI; bounds in grey."""
    colour, marker = (PAPER, "D") if is_bound else (SINGLE, "o")
    axis.errorbar(x, y, color=colour, marker=marker, markersize=4, elinewidth=0.6, **bars)
