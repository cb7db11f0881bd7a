"""Measures of class-incremental learning, as pure functions of confusion counts.

All accuracies are in percent. A confusion matrix counts test clips: rows are true labels, columns
predicted labels. After step t it has one row and one column for each class seen so far.
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
    """Accuracy over the test clips of all classes seen; every clip has the same weight."""
    return 100.0 * float(np.trace(confusion)) / float(confusion.sum())


def class_accuracy(confusion: Confusion) -> float:
    """Mean of the accuracies of the classes; every class has the same weight."""
    return 100.0 * float(np.mean(np.diag(confusion) / confusion.sum(axis=1)))


def macro_f1(confusion: Confusion) -> float:
    """Mean of the F1 scores of the classes; 0 for a class that is neither true nor predicted."""
    right = np.diag(confusion).astype(np.float64)
    both = confusion.sum(axis=0) + confusion.sum(axis=1)
    return 100.0 * float(np.mean(2 * right / np.maximum(both, 1)))


def group_accuracy(confusion: Confusion, first: int, end: int) -> float:
    """Accuracy over the test clips of labels `first` .. `end` - 1; nan if there are none."""
    rows = confusion[first:end]
    total = float(rows.sum())
    return 100.0 * float(np.trace(rows[:, first:end])) / total if total else float("nan")


def accuracy_matrix(confusions: Sequence[Confusion], steps: Sequence[int]) -> NDArray[np.float64]:
    """A[t, u]: accuracy after step t over the test clips of the classes of step u.

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
    """Mean over the incremental steps only, as in the paper's Table 2; nan without any."""
    return _mean(step_accuracies[1:])


def average_accuracy_with_base(step_accuracies: Sequence[float]) -> float:
    """Mean over all steps, the base step included, as in most other work."""
    return float(np.mean(step_accuracies))


def forgetting(matrix: NDArray[np.float64]) -> float:
    """Mean over the old steps u of best earlier A[., u] minus A[T, u] (Chaudhry et al. 2018).

    In points. "Earlier" excludes the last step T, so the measure can be negative. nan where there
    is only the base step.
    """
    last = len(matrix) - 1
    drops = [np.nanmax(matrix[u:last, u]) - matrix[last, u] for u in range(last)]
    return _mean(drops)


def backward_transfer(matrix: NDArray[np.float64]) -> float:
    """Mean over the old steps u of A[T, u] - A[u, u] (Lopez-Paz and Ranzato 2017). In points.

    nan where there is only the base step.
    """
    last = len(matrix) - 1
    return _mean([matrix[last, u] - matrix[u, u] for u in range(last)])


def _mean(values: Sequence[float]) -> float:
    """The mean; nan of nothing."""
    return float(np.mean(values)) if len(values) else float("nan")
