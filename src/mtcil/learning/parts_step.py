"""The base step with parts that go beyond the paper (`mtcil.learning.parts`), and the ceiling."""

import copy
from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from mtcil.learning.base_step import BasePlan, full_logits, learn_base
from mtcil.learning.clips import Clips
from mtcil.learning.fit import Fit, Seeds, Steps, Table, Validation
from mtcil.learning.losses import TaskTable, make_task_table, multitask_loss
from mtcil.learning.network import Network, WithParts, draw_uniform, frozen_copy
from mtcil.learning.parts import Part, Pass, Sizes, one_hot, says, soft_cross_entropy


def learn_base_with_parts(
    train: Clips,
    validation: Clips,
    plan: BasePlan,
    parts: Sequence[Part],
    seeds: Seeds,
    words: Clips | None = None,
) -> Steps[Network]:
    """Learn the base classes; return the backbone with the full head.

    The loss is the cross entropy of the full head on the changed clips, plus the parts' terms.
    Smaller tasks are learnt in one pass, each head from its own rows of the batch.

    Args:
        train: training clips of the base classes.
        validation: validation clips of the base classes.
        parts: in the order in which they change clips.
        words: all clips of the auxiliary words, for a part that needs them.
    """
    first = [part for part in parts if not says(part.file, "NEEDS_TEACHER")]
    network = yield _fit(train, validation, plan, first, seeds, words, None)
    if len(first) < len(parts):
        teacher = frozen_copy(network.network)
        network = yield _fit(train, validation, plan, parts, seeds, words, teacher)
    trained: Network = network.network.requires_grad_(True)
    return trained


def _fit(
    train: Clips,
    validation: Clips,
    plan: BasePlan,
    parts: Sequence[Part],
    seeds: Seeds,
    words: Clips | None,
    teacher: Network | None,
) -> Fit:
    tasks, device = plan.tasks, train.features.device
    n_base, sgd = len(tasks[0]), plan.training.sgd
    own = () if teacher is None else ("taught",)  # a taught network starts from other weights
    network = Network(plan.network, n_base, seeds.generator("weights", *own))
    heads: dict[str, nn.Module] = {}
    if len(tasks) > 1:
        others = nn.Linear(network.head.in_features, sum(len(t) for t in tasks[1:]))
        draw_uniform(others, seeds.generator("weights", "tasks", *own))
        heads["others"] = others
    rows = {"features": train.features, "labels": train.labels}
    tables = {"full": Table(rows, sgd.batch, _drawing(parts, train.features))}
    n_words = 0 if words is None else int(words.labels.max()) + 1
    sizes = Sizes(network.head.in_features, n_base, n_words)
    for part in parts:
        generator = seeds.generator("weights", part.name, *own)
        if hasattr(part.file, "start"):
            part.file.start(part.config, network, generator)
        if hasattr(part.file, "head"):
            heads[f"head_{part.name}"] = part.file.head(part.config, sizes, generator)
        if words is not None and says(part.file, "NEEDS_WORDS"):
            rows = {"features": words.features, "labels": words.labels}
            drawing = _drawing(keeping_classes(parts), words.features)
            tables["words"] = Table(rows, part.config.clips_per_batch, drawing)
    if teacher is not None:
        heads["teacher"] = teacher
    numbers: dict[str, float | Tensor] = {}
    if len(tasks) > 1:
        table = make_task_table(tasks, n_base, plan.task_weight, device)
        others_only = (torch.arange(len(tasks), device=device) > 0).float()
        numbers = {**vars(table), "weights": table.weights * others_only}  # not the full task
    held = {"features": validation.features, "labels": validation.labels}
    return Fit(
        name="base" if teacher is None else "taught",
        network=WithParts(network, **heads).to(device),
        tables=tables,
        loss=parts_loss,
        phase=plan.phase,
        sgd=sgd,
        seeds=seeds,
        numbers=numbers,
        choices=tuple(parts),
        validation=Validation(held, full_logits) if len(validation) else None,
    )


def _drawing(parts: Sequence[Part], features: Tensor) -> Any:
    """A function that draws the numbers of all parts; their names start with the part's."""
    draws = {p.name: p.file.draw(p.config, features) for p in parts if hasattr(p.file, "draw")}
    if not draws:
        return None

    def draw(n: int, generator: torch.Generator) -> dict[str, Tensor]:
        return {
            f"{part}.{name}": values
            for part, drawn in draws.items()
            for name, values in drawn(n, generator).items()
        }

    return draw


def parts_loss(
    module: Any, batch: SimpleNamespace, numbers: SimpleNamespace, choices: tuple[Part, ...]
) -> Tensor:
    """Cross entropy on changed clips and targets, plus the terms of parts and smaller tasks."""
    rows, network = batch.full, module.network
    drawn = {part.name: _drawn(part, rows) for part in choices}
    features, targets = rows.features, one_hot(rows.labels, network.n_classes, rows.features)
    for part in choices:
        if hasattr(part.file, "change"):
            features, targets = part.file.change(part.config, features, targets, drawn[part.name])
    embeddings = network.embed(features, rows.keep)
    pass_ = Pass(
        network=network,
        clips=rows.features,
        labels=rows.labels,
        features=features,
        targets=targets,
        embeddings=embeddings,
        keep=rows.keep,
        teacher=getattr(module, "teacher", None),
        words=changed_words(batch, choices),
    )
    logits = network.head(embeddings)
    total = soft_cross_entropy(logits, targets)
    if hasattr(module, "others"):
        joined = torch.cat([logits, module.others(embeddings)], dim=1)
        total = total + multitask_loss(joined, rows.labels, TaskTable(**vars(numbers)))
    for part in choices:
        if hasattr(part.file, "term"):
            head = getattr(module, f"head_{part.name}", None)
            total = total + part.file.term(part.config, pass_, head, drawn[part.name])
    return total


def keeping_classes(parts: Sequence[Part]) -> list[Part]:
    """The parts that change clips without mixing those of different classes."""
    changing = [part for part in parts if hasattr(part.file, "change")]
    return [part for part in changing if not says(part.file, "MIXES_CLASSES")]


def changed_words(batch: SimpleNamespace, choices: tuple[Part, ...]) -> SimpleNamespace | None:
    """The batch of auxiliary words, changed as the base classes' clips, but without mixing."""
    words = getattr(batch, "words", None)
    if words is None:
        return None
    features, nothing = words.features, torch.zeros_like(words.labels).unsqueeze(1)
    for part in keeping_classes(choices):
        features, _ = part.file.change(part.config, features, nothing, _drawn(part, words))
    return SimpleNamespace(features=features, labels=words.labels, keep=words.keep)


def _drawn(part: Part, rows: SimpleNamespace) -> dict[str, Tensor]:
    """The part's own random numbers, without its name."""
    start = f"{part.name}."
    return {k.removeprefix(start): v for k, v in vars(rows).items() if k.startswith(start)}


def learn_ceiling(
    train: Clips, validation: Clips, plan: BasePlan, n_classes: int, seeds: Seeds
) -> Steps[Network]:
    """Learn all classes with one head, and cut it to the base classes.

    It shows how much a backbone helps that has seen the later classes; it is not a proven bound.

    Args:
        train: training clips of all classes.
        validation: validation clips of all classes.
        plan: its first task are the base classes.
        n_classes: number of all classes.
    """
    network = yield from learn_base(
        train, validation, replace(plan, tasks=(tuple(range(n_classes)),)), seeds
    )
    return cut_head(network, len(plan.tasks[0]))


def cut_head(network: Network, n_classes: int) -> Network:
    """A copy that knows only the first classes."""
    cut = copy.deepcopy(network)
    old = network.head
    cut.head = nn.Linear(old.in_features, n_classes).to(old.weight.device)
    with torch.no_grad():
        cut.head.weight.copy_(old.weight[:n_classes])
        cut.head.bias.copy_(old.bias[:n_classes])
    return cut
