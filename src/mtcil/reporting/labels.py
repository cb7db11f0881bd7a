"""Labels next to points, without overlap."""

from collections.abc import Mapping, Sequence

from adjustText import adjust_text
from matplotlib.axes import Axes
from matplotlib.figure import Figure

FONT_SIZE, LIST_SIZE = 7.0, 8.0  # points: beside a point, beside the axes
ROUNDS = 2000  # iterations; not a time limit, so that a picture always has the same bytes


def number_points(
    figure: Figure, panels: Sequence[tuple[Axes, Mapping[str, tuple[float, float]]]]
) -> None:
    """Number each panel's points, {name: (x, y)}, and list the names beside the axes.

    Call this last: numbers are placed in page coordinates.
    """
    for axis, points in panels:
        lines = [f"{number}  {name}" for number, name in enumerate(points, start=1)]
        text = "\n".join(lines)
        axis.text(1.03, 1.0, text, transform=axis.transAxes, va="top", fontsize=LIST_SIZE)
    figure.draw_without_rendering()  # settles the layout
    for axis, points in panels:
        numbers = [str(number) for number in range(1, len(points) + 1)]
        name_points(axis, list(points.values()), numbers)


def name_points(axis: Axes, points: Sequence[tuple[float, float]], names: Sequence[str]) -> None:
    """Write each name near its point, with a line to it.

    Call this last, after `figure.draw_without_rendering()`: names are placed in page coordinates.
    """
    texts = [
        axis.text(x, y, name, fontsize=FONT_SIZE)
        for (x, y), name in zip(points, names, strict=True)
    ]
    for text in texts:
        text.set_in_layout(False)
    adjust_text(
        texts,
        ax=axis,
        iter_lim=ROUNDS,
        expand=(1.15, 1.5),
        force_text=(0.4, 1.0),
        force_static=(0.2, 0.4),
        force_pull=(0.005, 0.005),
        min_arrow_len=3,
        arrowprops={"arrowstyle": "-", "color": "#7F7F7F", "linewidth": 0.5},
    )
