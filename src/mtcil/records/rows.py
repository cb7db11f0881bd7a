"""The rows of records: the identity of a run, and the results of its steps."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtcil.records.measures import (
    Confusion,
    accuracy_matrix,
    class_accuracy,
    group_accuracy,
    macro_f1,
    step_accuracy,
)


@dataclass(frozen=True)
class BaseName:
    """Identity of a base model, except for its seed."""

    dataset: str
    split: str
    base: str  # a row of `base_models`
    heads: str
    passes: str
    control: str  # or parts of the training, joined by +; "none" if there are neither


@dataclass(frozen=True)
class Run(BaseName):
    """Identity of a run; the leading columns of every record."""

    method: str
    losses: str  # "none" for a method without a choice of losses
    schedule: str  # of fine-tuning
    stopping: str  # "early", or the number of epochs of each step
    exemplars: int
    seed: int


IDENTITY = tuple(field.name for field in fields(Run))
VARIANT = IDENTITY[:-1]  # all but the seed
TABLES = ("records", "matrix", "confusion")
Rows = dict[str, list[dict[str, Any]]]  # by name of the table


def step_rows(run: Run, steps: Sequence[int], results: Sequence[Any], key: str) -> Rows:
    """The records of one run: a row per step, its accuracy matrix, its confusion counts.

    Args:
        steps: classes per step.
        results: one `mtcil.learning.trajectory.StepResult` per step.
        key: of the run; the last column.
    """
    ends = np.cumsum(steps)
    matrix = accuracy_matrix([result.confusion for result in results], steps)
    rows: Rows = {name: [] for name in TABLES}
    for step, result in enumerate(results):
        n_seen = int(ends[step])
        n_old = n_seen - steps[step]
        first = {**vars(run), "step": step, "classes_seen": n_seen}
        costs = {
            "updates": sum(result.updates.values()),
            "phases": " ".join(f"{name}:{n}" for name, n in result.updates.items()),
            "clips_passed": result.clips_passed,
            "diverged": int(result.diverged),
            "memory_bytes": result.memory_bytes,
            "state_bytes": result.state_bytes,
            "validation_bytes": result.validation_bytes,
            "teacher_bytes": result.teacher_bytes,
        }
        last = {"key": key}
        rows["records"].append({**first, **measures_of(result.confusion, n_old), **costs, **last})
        rows["matrix"] += [
            {**first, "of_step": u, "accuracy": float(matrix[step, u]), **last}
            for u in range(step + 1)
        ]
        rows["confusion"].append({**first, "counts": confusion_text(result.confusion), **last})
    return rows


def measures_of(confusion: Confusion, n_old: int) -> dict[str, float]:
    """The measures of one step, in percent; old-class accuracy is nan in the base step."""
    return {
        "accuracy": step_accuracy(confusion),
        "class_accuracy": class_accuracy(confusion),
        "macro_f1": macro_f1(confusion),
        "old_accuracy": group_accuracy(confusion, 0, n_old),
        "new_accuracy": group_accuracy(confusion, n_old, len(confusion)),
    }


def confusion_text(confusion: NDArray[np.int64]) -> str:
    """Counts as text: rows separated by `;`, counts by a space."""
    return ";".join(" ".join(str(count) for count in row) for row in confusion)


def confusion_from_text(text: str) -> NDArray[np.int64]:
    """Counts from the text of `confusion_text`."""
    return np.array([[int(count) for count in row.split()] for row in text.split(";")])
