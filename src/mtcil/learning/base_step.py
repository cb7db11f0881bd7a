"""The base step: several classification tasks on one backbone (paper, section 3.2)."""

from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mtcil.learning.clips import Clips
from mtcil.learning.fit import Streams, endless, fit, shuffled, validator
from mtcil.learning.losses import TaskTable, make_task_table, multitask_loss
from mtcil.learning.network import Network, draw_uniform
from mtcil.settings.sections import BaseTrainingSettings, NetworkSettings


def train_base(
    train: Clips,
    validation: Clips,
    tasks: list[tuple[int, ...]],
    passes: str,
    network_settings: NetworkSettings,
    settings: BaseTrainingSettings,
    streams: Streams,
    report: Callable[[str], None] | None = None,
    shuffled_labels: bool = False,
) -> tuple[Network, int]:
    """Learn the base classes with one head per task; keep the backbone and the full head.

    Hard parameter sharing: the tasks differ in their heads alone. Their losses are summed and
    one optimiser step is made. Validation accuracy is that of the full head.

    Args:
        train: training clips of the base classes.
        validation: validation clips of the base classes.
        tasks: classes of each task; the first holds all base classes.
        passes: `separate`: each task draws its own batch from its own classes and has its own
            forward pass, as the paper's Table 1 implies; a task of n_k classes gets
            batch * n_k / n_base clips, so that it sees its clips once per epoch.
            `shared`: one batch and one forward pass for all heads.
        network_settings: shape of the network.
        settings: optimiser, epochs and weights of the tasks.
        streams: draws weights, batches and dropout.
        report: is told of each epoch.
        shuffled_labels: a control, for `separate` alone: every head but the full one learns
            labels dealt out anew among the clips, so that it adds updates but no knowledge.

    Returns:
        The network with the full head, in eval mode; and the epochs trained.
    """
    n_base = len(tasks[0])
    device = train.features.device
    network = Network(network_settings, n_base, streams.generator("weights")).to(device)
    others = _other_heads(network, tasks, streams).to(device)
    if passes == "shared":
        table = make_task_table(tasks, n_base, settings.task_weight, device)
        batches, loss = _shared_pass(train, network, others, table, settings, streams)
    else:
        labels = train.labels
        if shuffled_labels:
            order = torch.randperm(len(train), generator=streams.generator("labels"))
            labels = labels[order.to(device)]
        batches, loss = _separate_passes(train, labels, network, others, tasks, settings, streams)
    epochs = fit(
        network,
        batches,
        loss,
        validator(network, validation.features, validation.labels),
        settings.sgd,
        settings.fit,
        streams.number("dropout", "base"),
        extra_parameters=others.parameters() if len(tasks) > 1 else (),
        report=report,
    )
    return network, epochs


def _other_heads(network: Network, tasks: list[tuple[int, ...]], streams: Streams) -> nn.Linear:
    """The heads of all tasks but the full one, side by side in one layer."""
    n_logits = sum(len(task) for task in tasks[1:])
    others = nn.Linear(network.head.in_features, max(n_logits, 1))
    draw_uniform(others, streams.generator("weights", "tasks"))
    return others


def _shared_pass(
    train: Clips,
    network: Network,
    others: nn.Linear,
    table: TaskTable,
    settings: BaseTrainingSettings,
    streams: Streams,
) -> tuple[Callable[[], Iterator[list[Tensor]]], Callable[[list[Tensor]], Tensor]]:
    """Batches and loss where every head takes its rows of one forward pass."""
    generator = streams.generator("batches", "base")
    with_others = table.n_logits > network.n_classes

    def batches() -> Iterator[list[Tensor]]:
        yield from ([rows] for rows in shuffled(len(train), settings.sgd.batch, generator))

    def loss(rows: list[Tensor]) -> Tensor:
        batch = train[rows[0]]
        embeddings = network.embed(batch.features)
        logits = network.head(embeddings)
        if with_others:
            logits = torch.cat([logits, others(embeddings)], dim=1)
        return multitask_loss(logits, batch.labels, table)

    return batches, loss


def _separate_passes(
    train: Clips,
    labels: Tensor,
    network: Network,
    others: nn.Linear,
    tasks: list[tuple[int, ...]],
    settings: BaseTrainingSettings,
    streams: Streams,
) -> tuple[Callable[[], Iterator[list[Tensor]]], Callable[[list[Tensor]], Tensor]]:
    """Batches and loss where every task has its own clips and its own forward pass.

    Every head but the full one learns `labels`: (n_clips,), those of `train` or a control's.
    """
    n_base, batch = len(tasks[0]), settings.sgd.batch
    device = train.labels.device
    places = torch.zeros(len(tasks), n_base, dtype=torch.int64, device=device)
    ends = [0]
    rows_of = []
    for k, task in enumerate(tasks):
        members = torch.tensor(task, device=device)
        places[k, members] = torch.arange(len(task), device=device)
        rows_of.append(torch.nonzero(torch.isin(labels, members)).flatten())
        ends.append(ends[-1] + (len(task) if k else 0))
    generators = [
        streams.generator("batches", "base", *([str(k)] * (k > 0))) for k in range(len(tasks))
    ]
    streams_of = [
        endless(len(rows), max(2, round(batch * len(task) / n_base)), generator)
        for rows, task, generator in zip(rows_of, tasks, generators, strict=True)
    ]

    def batches() -> Iterator[list[Tensor]]:
        for full in shuffled(len(train), batch, generators[0]):
            smaller = [rows[next(s)] for rows, s in zip(rows_of[1:], streams_of[1:], strict=True)]
            yield [full, *smaller]

    def loss(rows_by_task: list[Tensor]) -> Tensor:
        total = torch.zeros((), device=device)
        for k, rows in enumerate(rows_by_task):
            embeddings = network.embed(train.features[rows])
            if k == 0:
                total = total + F.cross_entropy(network.head(embeddings), train.labels[rows])
                continue
            logits = others(embeddings)[:, ends[k] : ends[k + 1]]
            wanted = places[k, labels[rows]]
            total = total + settings.task_weight * F.cross_entropy(logits, wanted)
        return total

    return batches, loss
