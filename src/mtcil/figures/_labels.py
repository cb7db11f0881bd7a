"""Names beside points: in columns, ordered as the points; in a column none is over another."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.optimize import isotonic_regression

FONT_SIZE = 7.0  # points, as all lengths here
LETTER, LINE = 0.58 * FONT_SIZE, 1.2 * FONT_SIZE  # width of a letter, about; height of a line
APART = np.array([30.0, 3 * LINE])  # points nearer than this, across and up, share a column
BESIDE = 12.0  # from the outermost point to its column


def name_points(
    figure: Figure, axis: Axes, points: Sequence[tuple[float, float]], names: Sequence[str]
) -> None:
    """Write each name beside its point, on the side of the middle, with a thin line to it.

    Call it last, after `figure.draw_without_rendering()`: it measures in points on the page.
    """
    per_point = 72 / figure.dpi
    at = axis.transData.transform(points) * per_point
    left, bottom, right, top = (float(edge) * per_point for edge in axis.bbox.extents)
    for column in columns(at):
        width = LETTER * max(len(names[i]) for i in column)
        x = at[column, 0].max() + BESIDE
        to_the_right = at[column, 0].mean() < (left + right) / 2 and x + width < right
        x = x if to_the_right else at[column, 0].min() - BESIDE
        lines = spread(at[column, 1], LINE, bottom + LINE / 2, top - LINE / 2)
        for i, y in zip(column, lines, strict=True):
            axis.annotate(
                names[i], points[i], (x - at[i, 0], y - at[i, 1]), textcoords="offset points",
                ha="left" if to_the_right else "right", va="center", fontsize=FONT_SIZE,
                arrowprops={"arrowstyle": "-", "color": "#7F7F7F", "linewidth": 0.5,
                            "relpos": (0.0 if to_the_right else 1.0, 0.5), "shrinkA": 0,
                            "shrinkB": 2},
            ).set_in_layout(False)  # fmt: skip


def columns(at: NDArray[np.floating]) -> list[NDArray[np.intp]]:
    """Which points share a column of names; (n, 2) points, x and y, nearness passed on."""
    if len(at) < 2:
        return [np.arange(len(at))]
    groups = fcluster(linkage(at / APART, "single", "chebyshev"), 1.0, "distance")
    return [np.flatnonzero(groups == group) for group in np.unique(groups)]


def spread(
    wanted: NDArray[np.floating], gap: float, low: float, high: float
) -> NDArray[np.float64]:
    """Places as near to those wanted as can be (least squares), `gap` apart, in the same order.

    Within `low` .. `high` as long as there is room.
    """
    order = np.argsort(wanted, kind="stable")
    steps = gap * np.arange(len(wanted))
    near = isotonic_regression(wanted[order] - steps).x
    placed = np.empty(len(wanted))
    placed[order] = np.clip(near, low, max(low, high - steps[-1])) + steps
    return placed
