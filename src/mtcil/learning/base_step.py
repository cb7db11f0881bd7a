"""The base step: several classification tasks on one backbone (paper, section 3.2)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mtcil.learning.clips import Clips, of_labels
from mtcil.learning.fit import Fit, Phase, Seeds, Steps, Table, Validation
from mtcil.learning.losses import TaskTable, make_task_table, multitask_loss
from mtcil.learning.network import Network, WithParts, draw_uniform
from mtcil.settings.sections import NetworkSettings
from mtcil.settings.training import BaseTrainingSettings


class BaseChoices(NamedTuple):
    """Values that base models must share to be trained together.

    Attributes:
        sizes: number of classes of each task except the full one; their logits are concatenated.
        track_all: whether the smaller tasks' batches also update BatchNorm's running statistics.
    """

    sizes: tuple[int, ...]
    track_all: bool


@dataclass(frozen=True)
class BasePlan:
    """How a base model is trained.

    Attributes:
        tasks: classes of each task; the first holds all base classes.
        passes: `separate`: each task draws its own rows from its own classes and has its own
            forward pass, as the paper's Table 1 implies; a task of n_k classes gets
            batch * n_k / n_base rows. `shared`: one batch and one forward pass for all heads.
        shuffled_labels: a control, only for `separate`: every head except the full one learns
            shuffled labels, so that it adds updates but no information.
    """

    tasks: Sequence[tuple[int, ...]]
    passes: str
    network: NetworkSettings
    training: BaseTrainingSettings
    phase: Phase
    shuffled_labels: bool = False

    @property
    def task_weight(self) -> float:
        """Weight of each smaller task's loss."""
        weight, n_others = self.training.task_weight, max(len(self.tasks) - 1, 1)
        return weight / n_others if self.training.task_reduction == "mean" else weight


def learn_base(train: Clips, validation: Clips, plan: BasePlan, seeds: Seeds) -> Steps[Network]:
    """Learn the base classes with one head per task; return the backbone with the full head.

    Hard parameter sharing: the tasks differ only in their heads. The loss is the full task's plus
    `task_weight` times the mean (or sum, `task_reduction`) of the smaller tasks' losses.
    Validation accuracy is measured with the full head.

    Args:
        train: training clips of the base classes.
        validation: validation clips of the base classes.
    """
    tasks, training = plan.tasks, plan.training
    n_base, device = len(tasks[0]), train.features.device
    network = Network(plan.network, n_base, seeds.generator("weights")).to(device)
    others = nn.Linear(network.head.in_features, max(sum(len(t) for t in tasks[1:]), 1))
    draw_uniform(others, seeds.generator("weights", "tasks"))
    batch = training.sgd.batch
    tables = {"full": Table({"features": train.features, "labels": train.labels}, batch)}
    numbers: dict[str, float | Tensor] = {"task_weight": plan.task_weight}
    if plan.passes == "shared":
        numbers = vars(make_task_table(tasks, n_base, plan.task_weight, device))
    else:
        tables |= _tables_of_tasks(train.features, _labels(train, plan, seeds), tasks, batch)
    rows = {"features": validation.features, "labels": validation.labels}
    trained = yield Fit(
        name="base",
        network=WithParts(network, others=others.to(device)),
        tables=tables,
        loss=shared_loss if plan.passes == "shared" else separate_loss,
        phase=plan.phase,
        sgd=training.sgd,
        seeds=seeds,
        numbers=numbers,
        choices=BaseChoices(
            tuple(len(task) for task in tasks[1:]), training.statistics == "all_tasks"
        ),
        validation=Validation(rows, full_logits) if len(validation) else None,
    )
    assert isinstance(trained, WithParts)  # noqa: S101
    return trained.network


def _labels(train: Clips, plan: BasePlan, seeds: Seeds) -> Tensor:
    """The labels that the smaller tasks learn."""
    if not plan.shuffled_labels:
        return train.labels
    order = torch.randperm(len(train), generator=seeds.generator("labels"))
    return train.labels[order.to(train.labels.device)]


def _tables_of_tasks(
    features: Tensor, labels: Tensor, tasks: Sequence[tuple[int, ...]], batch: int
) -> Mapping[str, Table]:
    """A table for each task except the full one; labels are positions within the task."""
    tables = {}
    for k, task in enumerate(tasks[1:]):
        members = torch.tensor(task, device=labels.device)
        rows = torch.nonzero(torch.isin(labels, members)).flatten()
        places = torch.searchsorted(members, labels[rows])  # tasks are sorted
        share = max(2, round(batch * len(task) / len(tasks[0])))
        tables[f"task{k}"] = Table({"features": features[rows], "labels": places}, share)
    return tables


def full_logits(module: Any, features: Tensor) -> Tensor:
    """Logits of the full head."""
    return module.network(features)


def separate_loss(
    module: Any, batch: SimpleNamespace, numbers: SimpleNamespace, choices: BaseChoices
) -> Tensor:
    """Cross entropy of the full task plus the weighted sum of the smaller tasks'."""
    full = batch.full
    total = F.cross_entropy(module.network(full.features, full.keep), full.labels)
    start = 0
    for k, size in enumerate(choices.sizes):
        rows = getattr(batch, f"task{k}")
        embeddings = module.network.embed(rows.features, rows.keep, track=choices.track_all)
        logits = module.others(embeddings)[:, start : start + size]
        total = total + numbers.task_weight * F.cross_entropy(logits, rows.labels)
        start += size
    return total


def shared_loss(
    module: Any, batch: SimpleNamespace, numbers: SimpleNamespace, choices: BaseChoices
) -> Tensor:
    """The same losses with one forward pass; every head uses its own rows of the batch."""
    full = batch.full
    embeddings = module.network.embed(full.features, full.keep)
    logits = module.network.head(embeddings)
    if choices.sizes:
        logits = torch.cat([logits, module.others(embeddings)], dim=1)
    return multitask_loss(logits, full.labels, TaskTable(**vars(numbers)))


def base_clips(clips: Clips, n_base: int) -> Clips:
    """The clips of the base classes."""
    return clips[of_labels(clips, 0, n_base)]
