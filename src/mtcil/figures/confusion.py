"""Which classes are taken for which after the last step, over the clips of all seeds."""

from collections.abc import Iterable

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from mtcil.reporting.style import base_text, new_grid

INCHES_PER_CLASS, MARGIN = 0.22, 2.0  # the margin holds names of 16 letters
INCHES_PER_LETTER = 0.1
INCHES_OF_SCALE = 1.1  # so that its numbers do not touch; shorter only if there is less room


def draw(table: pd.DataFrame) -> Figure:
    """A row per dataset and split, a panel per base model: share of each true class's clips.

    Colours follow the square root of the share, so that rare mistakes can be seen.
    """
    places = [place for _, place in table.groupby(["dataset", "split"], sort=False)]
    rows = [[part for _, part in place.groupby("base", sort=False)] for place in places]
    inches = [_inches(place["true_class"].unique()) for place in places]
    n_columns = max(map(len, rows))
    figure, grid = new_grid(len(rows), n_columns, heights=inches)
    figure.set_size_inches(1.2 + n_columns * max(inches), sum(inches))
    used = []
    for axes, parts in zip(grid, rows, strict=True):
        for axis, part in zip(axes, parts, strict=False):
            image = _draw_panel(axis, part)
            used.append(axis)
        for axis in axes[len(parts) :]:
            axis.remove()
    squares = INCHES_PER_CLASS * sum(place["true_class"].nunique() for place in places)
    share = float(np.clip(INCHES_OF_SCALE / squares, 0.5, 1.0))
    figure.colorbar(
        image, ax=used, shrink=share, aspect=25 * len(rows), ticks=[0, 1, 5, 20, 50, 100],
        label="clips of the true class, %\n(square-root scale)",
    )  # fmt: skip
    return figure


def _inches(names: Iterable[str]) -> float:
    """Width and height of a panel for these classes, their names included."""
    lengths = list(map(len, names))
    more = max(0, max(lengths) - 16)
    return MARGIN + INCHES_PER_CLASS * len(lengths) + INCHES_PER_LETTER * more


def _draw_panel(axis: Axes, part: pd.DataFrame) -> AxesImage:
    first, names = part.iloc[0], list(dict.fromkeys(part["true_class"]))
    counts = part["clips"].to_numpy().reshape(len(names), len(names))
    shares = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    image = axis.imshow(shares, cmap="cividis", norm=PowerNorm(0.5, vmin=0, vmax=100))
    labels = [name.replace("_", " ") for name in names]
    axis.set_xticks(range(len(names)), labels, rotation=90)
    axis.set_yticks(range(len(names)), labels)
    axis.set_xlabel("predicted class")
    axis.set_ylabel("true class")
    axis.set_title(
        f"{first['dataset']}, split {first['split']}\n{base_text(first)}, n = {first['n']}"
    )
    axis.grid(False)
    return image
