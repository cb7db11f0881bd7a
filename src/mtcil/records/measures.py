"""Measures of class-incremental learning, as pure functions of confusion counts.

All accuracies are percent. A confusion matrix counts test clips: rows are true labels, columns
predicted ones. After step t it has one row and column for each class seen so far.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Confusion = NDArray[np.int64]


def confusion_counts(
    true: NDArray[np.int64], predicted: NDArray[np.int64], n_classes: int
) -> Confusion:
    """(n_classes, n_classes) counts: row = true label, column = predicted label."""
    counts = np.zeros((n_classes, n_classes), dtype=np.int64)
    np.add.at(counts, (true, predicted), 1)
    return counts


def step_accuracy(confusion: Confusion) -> float:
    """Share of all test clips of the classes seen that are right: each clip counts the same."""
    return 100.0 * float(np.trace(confusion)) / float(confusion.sum())


def class_accuracy(confusion: Confusion) -> float:
    """Mean over the classes of each class's accuracy: each class counts the same."""
    return 100.0 * float(np.mean(np.diag(confusion) / confusion.sum(axis=1)))


def macro_f1(confusion: Confusion) -> float:
    """Mean over the classes of the F1 score; 0 for a class that is neither true nor predicted."""
    right = np.diag(confusion).astype(np.float64)
    both = confusion.sum(axis=0) + confusion.sum(axis=1)
    return 100.0 * float(np.mean(2 * right / np.maximum(both, 1)))


def group_accuracy(confusion: Confusion, first: int, end: int) -> float:
    """Accuracy over the test clips of labels `first` .. `end` - 1; nan where there are none."""
    rows = confusion[first:end]
    total = float(rows.sum())
    return 100.0 * float(np.trace(rows[:, first:end])) / total if total else float("nan")


def accuracy_matrix(confusions: Sequence[Confusion], steps: Sequence[int]) -> NDArray[np.float64]:
    """A[t, u]: after step t, accuracy over the test clips of the classes of step u.

    Args:
        confusions: one per step.
        steps: classes per step.

    Returns:
        (n_steps, n_steps), nan above the diagonal.
    """
    ends = np.cumsum(steps)
    matrix = np.full((len(confusions), len(confusions)), np.nan)
    for t, confusion in enumerate(confusions):
        for u in range(t + 1):
            matrix[t, u] = group_accuracy(confusion, int(ends[u] - steps[u]), int(ends[u]))
    return matrix


def average_incremental_accuracy(step_accuracies: Sequence[float]) -> float:
    """Mean over the incremental steps only: what the paper's Table 2 averages."""
    return float(np.mean(step_accuracies[1:]))


def average_accuracy_with_base(step_accuracies: Sequence[float]) -> float:
    """Mean over all steps, the base step included, as in most other work."""
    return float(np.mean(step_accuracies))


def forgetting(matrix: NDArray[np.float64]) -> float:
    """Mean over the old steps u of best earlier A[., u] minus A[T, u] (Chaudhry et al. 2018).

    "Earlier" leaves the last step T out, so the measure can be negative. In points.
    """
    last = len(matrix) - 1
    drops = [np.nanmax(matrix[u:last, u]) - matrix[last, u] for u in range(last)]
    return float(np.mean(drops))


def backward_transfer(matrix: NDArray[np.float64]) -> float:
    """Mean over the old steps u of A[T, u] - A[u, u] (Lopez-Paz and Ranzato 2017). In points."""
    last = len(matrix) - 1
    return float(np.mean([matrix[last, u] - matrix[u, u] for u in range(last)]))
