"""The base step: several classification tasks on one backbone (paper, section 3.2)."""

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mtcil.learning.clips import Clips, of_labels
from mtcil.learning.fit import Fit, Phase, Seeds, Steps, Table, Validation
from mtcil.learning.losses import TaskTable, make_task_table, multitask_loss
from mtcil.learning.network import Network, WithParts, draw_uniform
from mtcil.settings.sections import BaseTrainingSettings, NetworkSettings


class BaseChoices(NamedTuple):
    """What base models must share to be trained together.

    Attributes:
        sizes: classes of each task except the full one, whose logits lie side by side.
        track_all: whether the smaller tasks' batches move BatchNorm's running statistics too.
    """

    sizes: tuple[int, ...]
    track_all: bool


def learn_base(
    train: Clips,
    validation: Clips,
    tasks: list[tuple[int, ...]],
    passes: str,
    network_settings: NetworkSettings,
    settings: BaseTrainingSettings,
    phase: Phase,
    seeds: Seeds,
    shuffled_labels: bool = False,
) -> Steps[Network]:
    """Learn the base classes with one head per task; the result is the backbone and full head.

    Hard parameter sharing: the tasks differ in their heads only. The loss is the full task's plus
    `task_weight` times the mean (or sum, `task_reduction`) of the smaller tasks' losses.
    Validation accuracy is that of the full head.

    Args:
        train: training clips of the base classes.
        validation: validation clips of the base classes.
        tasks: classes of each task; the first holds all base classes.
        passes: `separate`: each task draws its own rows from its own classes and has its own
            forward pass, as the paper's Table 1 implies; a task of n_k classes gets
            batch * n_k / n_base rows. `shared`: one batch and one forward pass for all heads.
        shuffled_labels: a control, for `separate` only: every head except the full one learns
            labels shuffled among the clips, so that it adds updates but no information.
    """
    n_base = len(tasks[0])
    device = train.features.device
    network = Network(network_settings, n_base, seeds.generator("weights")).to(device)
    others = nn.Linear(network.head.in_features, max(sum(len(t) for t in tasks[1:]), 1))
    draw_uniform(others, seeds.generator("weights", "tasks"))
    labels = train.labels
    if shuffled_labels:
        order = torch.randperm(len(train), generator=seeds.generator("labels"))
        labels = labels[order.to(device)]
    batch = settings.sgd.batch
    tables = {"full": Table({"features": train.features, "labels": train.labels}, batch)}
    numbers: dict[str, float | Tensor] = {}
    if passes == "shared":
        n_others = max(len(tasks) - 1, 1)
        weight = settings.task_weight / (n_others if settings.task_reduction == "mean" else 1)
        numbers |= vars(make_task_table(tasks, n_base, weight, device))
    else:
        tables |= _tables_of_tasks(train.features, labels, tasks, batch)
        numbers["task_weight"] = settings.task_weight
        if settings.task_reduction == "mean":
            numbers["task_weight"] = settings.task_weight / max(len(tasks) - 1, 1)
    trained = yield Fit(
        name="base",
        network=WithParts(network, others=others.to(device)),
        tables=tables,
        loss=shared_loss if passes == "shared" else separate_loss,
        phase=phase,
        sgd=settings.sgd,
        seeds=seeds,
        numbers=numbers,
        choices=BaseChoices(
            tuple(len(task) for task in tasks[1:]), settings.statistics == "all_tasks"
        ),
        validation=Validation(
            {"features": validation.features, "labels": validation.labels}, full_logits
        )
        if len(validation)
        else None,
    )
    assert isinstance(trained, WithParts)  # noqa: S101
    return trained.network


def _tables_of_tasks(
    features: Tensor, labels: Tensor, tasks: list[tuple[int, ...]], batch: int
) -> Mapping[str, Table]:
    """A table for each task except the full one; labels are places within the task."""
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
    """Cross entropy of the full task, plus the weighted sum of the smaller tasks'."""
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
    """The same losses where every head takes its rows of one batch."""
    full = batch.full
    embeddings = module.network.embed(full.features, full.keep)
    logits = module.network.head(embeddings)
    if choices.sizes:
        logits = torch.cat([logits, module.others(embeddings)], dim=1)
    return multitask_loss(logits, full.labels, TaskTable(**vars(numbers)))


def base_clips(clips: Clips, n_base: int) -> Clips:
    """The clips of the base classes."""
    return clips[of_labels(clips, 0, n_base)]
