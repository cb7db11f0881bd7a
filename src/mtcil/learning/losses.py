"""The losses, as pure functions of logits and labels."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class TaskTable:
    """Positions of every task's logits in the joined logits of all heads.

    Attributes:
        columns: (n_tasks, largest task) int64, columns of the joined logits; padded with 0.
        padding: (n_tasks, largest task) bool, true where `columns` is padding.
        place: (n_classes, n_tasks) int64, position of a class within a task; 0 if not in it.
        member: (n_classes, n_tasks) float32, 1 where the class belongs to the task, else 0.
        weights: (n_tasks,) float32, weight of each task's loss.
    """

    columns: Tensor
    padding: Tensor
    place: Tensor
    member: Tensor
    weights: Tensor


def make_task_table(
    tasks: Sequence[tuple[int, ...]], n_classes: int, task_weight: float, device: torch.device
) -> TaskTable:
    """Build the table of some tasks; the first, full one has weight 1, the others `task_weight`."""
    longest = max(len(task) for task in tasks)
    columns = torch.zeros(len(tasks), longest, dtype=torch.int64)
    padding = torch.ones(len(tasks), longest, dtype=torch.bool)
    place = torch.zeros(n_classes, len(tasks), dtype=torch.int64)
    member = torch.zeros(n_classes, len(tasks))
    start = 0
    for k, task in enumerate(tasks):
        columns[k, : len(task)] = torch.arange(start, start + len(task))
        padding[k, : len(task)] = False
        place[list(task), k] = torch.arange(len(task))
        member[list(task), k] = 1.0
        start += len(task)
    weights = torch.full((len(tasks),), float(task_weight))
    weights[0] = 1.0
    return TaskTable(*(t.to(device) for t in (columns, padding, place, member, weights)))


def multitask_loss(joined_logits: Tensor, labels: Tensor, table: TaskTable) -> Tensor:
    """Sum over tasks of the cross entropy of the task's head (paper, section 3.2).

    Each head averages over the rows of the classes in its task; a head without such rows adds
    0. All heads are computed at once.

    Args:
        joined_logits: (batch, sum of task sizes), the logits of all heads side by side.
        labels: (batch,) int64, counted over all base classes.
        table: the column of each class of each task.

    Returns:
        Scalar.
    """
    by_task = joined_logits[:, table.columns]  # (batch, n_tasks, largest task)
    by_task = by_task.masked_fill(table.padding, -torch.inf)
    target = by_task.gather(2, table.place[labels].unsqueeze(2)).squeeze(2)
    rows = table.member[labels]  # (batch, n_tasks), 1 where the row counts
    cross_entropy = (by_task.logsumexp(2) - target) * rows
    return (cross_entropy.sum(0) / rows.sum(0).clamp(min=1.0) * table.weights).sum()


def new_class_loss(logits: Tensor, labels: Tensor, n_old: int) -> Tensor:
    """CE_N: cross entropy over only the new classes' logits (Mittal et al. 2021, section 3).

    Args:
        logits: (batch, n_seen).
        labels: (batch,) int64, of new classes: all >= `n_old`.
        n_old: number of old classes.

    Returns:
        Scalar, averaged over the batch.
    """
    return F.cross_entropy(logits[:, n_old:], labels - n_old)


def distillation_loss(
    new_logits: Tensor,
    old_logits: Tensor,
    temperature: float,
    reduction: Literal["batchmean", "mean"] = "batchmean",
) -> Tensor:
    """Keep the new model's outputs on the old classes near the old model's.

    KL(softmax(old / T) || softmax(new / T)), averaged over the batch, times T**2 so that the
    gradient keeps its size when T changes (Hinton et al. 2015, section 2).

    Args:
        new_logits: (batch, n_old), the new model's logits for the old classes.
        old_logits: (batch, n_old), the frozen old model's logits.
        temperature: T > 0. T = 1 is plain KL; a larger T gives small logits more weight.
        reduction: `batchmean` sums over classes; `mean` also averages over them, as Mittal et
            al.'s code does, so that the term shrinks as classes arrive.

    Returns:
        Scalar, 0 if the two agree.

    Raises:
        ValueError: if the shapes differ.
    """
    if new_logits.shape != old_logits.shape:
        raise ValueError(
            "Distillation compares the old classes only, so both logits must have one shape; "
            f"got new {tuple(new_logits.shape)} and old {tuple(old_logits.shape)}. "
            "Cut the new logits first: new_logits[:, :n_old]."
        )
    log_student = F.log_softmax(new_logits / temperature, dim=1)
    log_teacher = F.log_softmax(old_logits / temperature, dim=1)
    divergence = F.kl_div(log_student, log_teacher, reduction="batchmean", log_target=True)
    if reduction == "mean":
        divergence = divergence / new_logits.shape[1]
    return divergence * temperature**2


def distillation_weight(weight: float, n_seen: int, n_new: int, exponent: float) -> float:
    """lambda_t = lambda_0 (n_seen / n_new) ** exponent (Mittal et al. 2021: exponent 2/3)."""
    return weight * (n_seen / n_new) ** exponent


def blended_loss(logits: Tensor, labels: Tensor, old_logits: Tensor, temperature: float) -> Tensor:
    """(1 - l) cross entropy + l distillation, with l = n_old / n_seen (BiC and WA).

    As in both papers, there is no factor T**2 (Hinton et al.): l is the whole weight.

    Args:
        logits: (batch, n_seen).
        labels: (batch,) int64.
        old_logits: (batch, n_old), the old model's.
        temperature: of the distillation.
    """
    n_old = old_logits.shape[1]
    share = n_old / logits.shape[1]
    kept = distillation_loss(logits[:, :n_old], old_logits, temperature) / temperature**2
    return (1 - share) * F.cross_entropy(logits, labels) + share * kept
