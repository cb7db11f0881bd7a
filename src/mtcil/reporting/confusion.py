"""Confusion counts by position in the class order: as rows of a table, and as a picture."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from mtcil.records.measures import group_accuracy
from mtcil.records.tables import confusion_from_text
from mtcil.reporting.style import MULTITASK


def cells(about: dict[str, Any], texts: Iterable[str], n_new: int) -> list[dict[str, Any]]:
    """A row per true and predicted position: number of clips, summed over runs."""
    counts = [confusion_from_text(text) for text in texts]
    total = np.sum(counts, axis=0)
    about = {**about, "n": len(counts), "n_new": n_new}
    return [
        {**about, "true": true, "predicted": predicted, "clips": int(n)}
        for (true, predicted), n in np.ndenumerate(total)
    ]


def square(part: pd.DataFrame) -> NDArray[np.int64]:
    """The counts as a matrix, from the rows of `cells`."""
    return part.pivot_table(index="true", columns="predicted", values="clips").to_numpy()


def old_and_new(part: pd.DataFrame) -> tuple[float, float]:
    """Accuracy in percent over the clips of the old classes, and of the newest classes."""
    counts, n_old = square(part), int(part["true"].max()) + 1 - int(part["n_new"].iloc[0])
    return group_accuracy(counts, 0, n_old), group_accuracy(counts, n_old, len(counts))


def draw_boxed(figure: Figure, axis: Axes, part: pd.DataFrame, title: str) -> None:
    """Draw the percentages of each true class's clips, with boxes around old and newest classes."""
    counts = square(part)
    shares = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    image = axis.imshow(shares, cmap="cividis", vmin=0, vmax=100)
    n, n_new = len(counts), int(part["n_new"].iloc[0])
    for start, size in ((0, n - n_new), (n - n_new, n_new)):
        corner = (start - 0.5, start - 0.5)
        axis.add_patch(Rectangle(corner, size, size, fill=False, edgecolor=MULTITASK, linewidth=2))
    old, new = old_and_new(part)
    axis.set_title(f"{title}\nold {old:.1f} %, newest {new:.1f} %")
    axis.set_xlabel("predicted: place in the class order")
    axis.set_ylabel("true: place in the class order")
    for side in (axis.xaxis, axis.yaxis):
        side.set_major_locator(MaxNLocator(integer=True))
    axis.grid(False)
    figure.colorbar(image, ax=axis, label="clips of the true class, %", shrink=0.8)
