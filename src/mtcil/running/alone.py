"""Train one run at a time with plain autograd, on a CPU core; the reference for the fleet."""

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import TypeVar

import torch
from torch import nn

from mtcil.learning.fit import Fit, Score, Table, Trained, Training, namespace, score
from mtcil.learning.network import Network, backbone_of, copy_state, in_batches, train_mode
from mtcil.running.batches import (
    BLOCK,
    columns_of,
    drawn_numbers,
    frozen_rows,
    rows_of_batches,
    training_copy,
)

T = TypeVar("T")


def follow(training: Training[T]) -> T:
    """Train every Fit that a run yields, one by one; return the run's result."""
    try:
        fit = next(training)
        while True:
            fit = training.send(train(fit))
    except StopIteration as ended:
        return ended.value


def train(fit: Fit) -> Trained:
    """Train one phase.

    The best check has the highest validation accuracy; ties go to the lowest validation loss.
    Training stops after `patience` checks without improvement. Without validation clips or
    patience, all updates are made and the last weights are returned.
    """
    module = training_copy(fit)
    network = backbone_of(module)
    batches = _batches(fit, network)
    optimiser = _optimiser(fit, module)
    numbers = namespace(fit.numbers)
    validate = _validator(fit, module)
    best: Score | None = None
    best_check, checks, best_state, update = 0, 0, {}, 0
    for update in range(1, fit.phase.updates + 1):
        optimiser.param_groups[0]["lr"] = fit.phase.rate(update - 1)
        optimiser.zero_grad()
        fit.loss(module, next(batches), numbers, fit.choices).backward()
        optimiser.step()
        if validate is None or not fit.phase.is_check(update):
            continue
        checks += 1
        module.eval()
        now = validate()
        train_mode(module, fit.frozen_blocks)
        if best is None or now > best:
            best, best_check, best_state = now, checks, copy_state(module)
        if checks - best_check >= (fit.phase.patience or checks + 1):
            break
    if best is not None:
        module.load_state_dict(best_state)
    if network is not None:
        network.first = 0
    return Trained(module.requires_grad_(True).eval(), update)


def _batches(fit: Fit, network: Network | None) -> Iterator[SimpleNamespace]:
    """A batch for each update: rows of each table and their random numbers."""
    streams = {
        name: None if table is None else _rows(fit, name, table, network)
        for name, table in fit.tables.items()
    }
    while True:
        batch = {name: None if rows is None else next(rows) for name, rows in streams.items()}
        yield SimpleNamespace(**batch)


def _rows(fit: Fit, name: str, table: Table, network: Network | None) -> Iterator[SimpleNamespace]:
    columns = columns_of(fit, table)
    device = next(iter(columns.values())).device
    blocks = drawn_numbers(fit, name, columns.get("features"), network)
    drawn: dict[str, torch.Tensor] = {}
    for update, rows in enumerate(rows_of_batches(fit, name, table).to(device)):
        if update % BLOCK == 0:
            drawn = next(blocks)
        own = {column: values[update % BLOCK] for column, values in drawn.items()}
        found = {column: values[rows] for column, values in columns.items()}
        yield SimpleNamespace(**{"keep": None, **found, **own})


def _optimiser(fit: Fit, module: nn.Module) -> torch.optim.Optimizer:
    learning = [p for p in module.parameters() if p.requires_grad]
    if fit.phase.optimiser == "adam":
        return torch.optim.Adam(learning, fit.phase.learning_rate)
    return torch.optim.SGD(
        learning, fit.phase.learning_rate, fit.sgd.momentum, weight_decay=fit.sgd.weight_decay
    )


def _validator(fit: Fit, module: nn.Module) -> Callable[[], Score] | None:
    """A function that scores the module on the validation clips; None without early stopping."""
    held = fit.stopping_on
    if held is None:
        return None
    rows, labels = frozen_rows(fit, held.rows["features"]), held.rows["labels"]
    return lambda: score(in_batches(lambda part: held.logits(module, part), rows), labels)
