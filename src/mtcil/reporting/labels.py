"""Names beside points: in columns, ordered as the points; in a column none is over another."""

from collections.abc import Sequence
from typing import NamedTuple

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
    """Write each name beside its point, on the side of the middle where that is free, with a line.

    Call it last, after `figure.draw_without_rendering()`: it measures in points on the page.
    """
    per_point = 72 / figure.dpi
    at = axis.transData.transform(points) * per_point
    frame = Frame(*(float(edge) * per_point for edge in axis.bbox.extents))
    widths = np.array([LETTER * len(name) for name in names])
    taken: list[Frame] = []
    for column in sorted(columns(at), key=len, reverse=True):
        lines = spread(at[column, 1], LINE, frame.bottom + LINE / 2, frame.top - LINE / 2)
        sides = sides_of(at[column], widths[column], lines, frame)
        x, to_the_right, frames = min(sides, key=lambda side: overlap(side[2], taken))
        taken += frames
        for i, y in zip(column, lines, strict=True):
            axis.annotate(
                names[i], points[i], (x - at[i, 0], y - at[i, 1]), textcoords="offset points",
                ha="left" if to_the_right else "right", va="center", fontsize=FONT_SIZE,
                arrowprops={"arrowstyle": "-", "color": "#7F7F7F", "linewidth": 0.5,
                            "relpos": (0.0 if to_the_right else 1.0, 0.5), "shrinkA": 0,
                            "shrinkB": 2},
            ).set_in_layout(False)  # fmt: skip


class Frame(NamedTuple):
    """A rectangle on the page."""

    left: float
    bottom: float
    right: float
    top: float


def sides_of(
    at: NDArray[np.floating],
    widths: NDArray[np.floating],
    lines: NDArray[np.floating],
    frame: Frame,
) -> list[tuple[float, bool, list[Frame]]]:
    """Where the names of a column may stand: where they begin or end, whether to the right of the
    points, and the place of each; the side that is better for itself first.

    A column may stand on either side if it stays within the figure there.
    """
    right_of, left_of = float(at[:, 0].max()) + BESIDE, float(at[:, 0].min()) - BESIDE
    rows = list(zip(widths.tolist(), lines - LINE / 2, lines + LINE / 2, strict=True))
    sides = [
        (right_of, True, [Frame(right_of, low, right_of + w, high) for w, low, high in rows]),
        (left_of, False, [Frame(left_of - w, low, left_of, high) for w, low, high in rows]),
    ]
    fits = [right_of + widths.max() < frame.right, left_of - widths.max() > frame.left]
    if at[:, 0].mean() >= (frame.left + frame.right) / 2:
        sides, fits = sides[::-1], fits[::-1]
    return [side for side, fit in zip(sides, fits, strict=True) if fit] or [sides[0]]


def overlap(frames: Sequence[Frame], taken: Sequence[Frame]) -> float:
    """Area that two sets of rectangles share."""
    total = 0.0
    for one in frames:
        for other in taken:
            width = min(one.right, other.right) - max(one.left, other.left)
            height = min(one.top, other.top) - max(one.bottom, other.bottom)
            total += max(width, 0.0) * max(height, 0.0)
    return total


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
