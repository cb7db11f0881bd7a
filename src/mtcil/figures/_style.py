"""What all figures share: the same colour for the same thing, readable at half a page's width."""

import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# Okabe and Ito's colours: told apart by people who are colour-blind.
SINGLE, MULTITASK, PAPER = "#0072B2", "#D55E00", "#7F7F7F"
OTHERS = ("#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")


def new_figure(n_panels: int, height: float = 3.4) -> tuple[Figure, list[Axes]]:
    """A row of panels with shared style; sizes in inches."""
    _set_theme()
    figure = Figure(figsize=(1.0 + 3.6 * n_panels, height), layout="constrained", dpi=150)
    axes = figure.subplots(1, n_panels, squeeze=False)[0]
    return figure, list(axes)


def new_grid(n_panels: int) -> tuple[Figure, list[Axes], list[Axes]]:
    """Two rows of panels, the lower one for differences."""
    _set_theme()
    figure = Figure(figsize=(1.0 + 3.8 * n_panels, 5.2), layout="constrained", dpi=150)
    axes = figure.subplots(2, n_panels, squeeze=False, height_ratios=[2, 1])
    return figure, list(axes[0]), list(axes[1])


def _set_theme() -> None:
    sns.set_theme(style="whitegrid", context="paper", font_scale=1.15)


def with_ci(mean: float, low: float, high: float, n: int) -> str:
    """Text such as `78.3 ± 1.2 (n 5)`: mean and half the width of the 95 % interval."""
    return f"{mean:.1f} (n {n})" if n < 2 else f"{mean:.1f} ± {(high - low) / 2:.1f} (n {n})"
