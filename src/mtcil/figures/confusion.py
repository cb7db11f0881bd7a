"""Confusion after the last step, by place in the class order, single task and multitask.

Classes differ from seed to seed, places do not: the first ones are the base classes, the last
ones the newest. A bias to new classes shows as bright columns on the right.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from mtcil.figures._style import new_figure
from mtcil.metrics import group_accuracy
from mtcil.results import confusion_from_text
from mtcil.study import Study

STAGE, SECTION, RECORDS = "learn_steps", "base_models", "confusion"


def table(study: Study, records: pd.DataFrame) -> pd.DataFrame:
    """A row per variant, true and predicted place: clips over all seeds after the last step.

    Of each dataset and split, the single task and the dataset's multitask heads.
    """
    if records.empty:
        return records
    rows = []
    for (dataset, split, row), runs in records.groupby(["dataset", "split", "row"], sort=False):
        settings = study.datasets[str(dataset)]
        heads, passes = runs["heads"].iloc[0], runs["passes"].iloc[0]
        if passes != "separate" or heads not in (str(settings.steps[0]), settings.multitask):
            continue
        last = runs[runs["step"] == runs["step"].max()]
        counts = sum(confusion_from_text(text) for text in last["counts"])
        n_new = int(settings.steps[-1])
        for (true, predicted), n in np.ndenumerate(np.asarray(counts)):
            rows.append(
                {
                    "dataset": dataset, "split": split, "heads": heads, "row": row,
                    "n": len(last), "n_new": n_new, "true": true, "predicted": predicted,
                    "clips": int(n),
                }
            )  # fmt: skip
    return pd.DataFrame(rows)


def _square(part: pd.DataFrame) -> np.ndarray:
    return part.pivot_table(index="true", columns="predicted", values="clips").to_numpy()


def _old_and_new(part: pd.DataFrame) -> tuple[float, float]:
    """Accuracy in percent over the clips of the old classes and of the newest ones."""
    counts, n_old = _square(part), int(part["true"].max()) + 1 - int(part["n_new"].iloc[0])
    return group_accuracy(counts, 0, n_old), group_accuracy(counts, n_old, len(counts))


def markdown(table: pd.DataFrame) -> tuple[Sequence[str], list[list[str]]]:
    """A line per variant: accuracy of old and newest classes, over the clips of all seeds."""
    header = ["dataset", "split", "heads", "seeds", "old classes, %", "newest classes, %"]
    lines = []
    for (dataset, split, heads), part in table.groupby(["dataset", "split", "heads"], sort=False):
        old, new = _old_and_new(part)
        about = [str(dataset), str(split), str(heads), str(part["n"].iloc[0])]
        lines.append([*about, f"{old:.1f}", f"{new:.1f}"])
    return header, lines


def draw(table: pd.DataFrame) -> Figure:
    """A panel per variant: share of each true class's clips, percent; old and new boxed."""
    panels = list(table.groupby(["dataset", "split", "heads"], sort=False))
    figure, axes = new_figure(len(panels), height=3.9)
    for axis, ((dataset, split, heads), part) in zip(axes, panels, strict=True):
        counts = _square(part)
        shares = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        image = axis.imshow(shares, cmap="cividis", vmin=0, vmax=100)
        n, n_new = len(counts), int(part["n_new"].iloc[0])
        for start, size in ((0, n - n_new), (n - n_new, n_new)):
            corner = (start - 0.5, start - 0.5)
            box = Rectangle(corner, size, size, fill=False, edgecolor="#D55E00", linewidth=2)
            axis.add_patch(box)
        old, new = _old_and_new(part)
        seeds = int(part["n"].iloc[0])
        axis.set_title(
            f"{dataset}, {split}, heads {heads}, n = {seeds}\nold {old:.1f} %, newest {new:.1f} %"
        )
        axis.set_xlabel("predicted: place in the class order")
        axis.set_ylabel("true: place in the class order")
        axis.grid(False)
        figure.colorbar(image, ax=axis, label="clips of the true class, %", shrink=0.8)
    return figure
