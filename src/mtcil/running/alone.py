"""One run at a time: plain autograd, for a CPU core, and the reference for the fleet."""

import copy
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from mtcil.learning.fit import Fit, Score, Table, Trained, Training, draws, namespace, score
from mtcil.learning.network import Network, backbone_of, copy_state, in_batches, train_mode

T = TypeVar("T")
DROPOUT_BLOCK = 64  # updates whose factors are drawn at once


def follow(training: Training[T]) -> T:
    """Train every Fit that a run yields, one after the other; the run's result."""
    try:
        fit = next(training)
        while True:
            fit = training.send(train(fit))
    except StopIteration as ended:
        return ended.value


def train(fit: Fit) -> Trained:
    """Execute one phase.

    The best check has the highest validation accuracy, the lowest validation loss among equals.
    Training ends after `patience` checks without a better one. Without validation clips or
    patience all updates are made and the last weights are kept.

    """
    module = copy.deepcopy(fit.network)
    if fit.phase.updates == 0:
        return Trained(module.eval(), 0)
    tables = {name: frozen_rows(fit, table) for name, table in fit.tables.items()}
    train_mode(module, fit.frozen_blocks)
    network = backbone_of(module)
    if network is not None:
        network.first = fit.frozen_blocks
    batches = _batches(fit, tables, network)
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


def frozen_rows(fit: Fit, table: Table | None) -> Table | None:
    """The table with what the frozen blocks make of its features, once for the whole phase."""
    network = backbone_of(fit.network)
    if table is None or network is None or not fit.frozen_blocks or "features" not in table.rows:
        return table
    maps = in_batches(lambda x: network.maps(x, 0, fit.frozen_blocks), table.rows["features"])
    return Table({**table.rows, "features": maps}, table.share, table.draw)


def _batches(
    fit: Fit, tables: dict[str, Table | None], network: Network | None
) -> Iterator[SimpleNamespace]:
    """Batches without end: rows of each table, and dropout's factors."""
    streams = {
        name: _rows(fit, name, table, network)
        for name, table in tables.items()
        if table is not None
    }
    nothing = dict.fromkeys(name for name, table in tables.items() if table is None)
    while True:
        yield SimpleNamespace(**nothing, **{name: next(rows) for name, rows in streams.items()})


def _rows(fit: Fit, name: str, table: Table, network: Network | None) -> Iterator[SimpleNamespace]:
    places = draws(len(table), table.share, fit.seeds.generator("batches", fit.name, name))
    factors = keep_factors(fit, name, table, network)
    generator = fit.seeds.generator("numbers", fit.name, name)
    device = next(iter(table.rows.values())).device
    for rows in places:
        at = rows.to(device)
        found = {column: values[at] for column, values in table.rows.items()}
        if table.draw is not None:
            drawn = table.draw(table.share, generator)
            found |= {column: values.to(device) for column, values in drawn.items()}
        yield SimpleNamespace(**found, keep=next(factors))


def keep_factors(
    fit: Fit, name: str, table: Table, network: Network | None
) -> Iterator[Tensor | None]:
    """Dropout's factors of each batch: 0, or 1 / (1 - p); None without dropout."""
    if network is None or network.dropout == 0 or "features" not in table.rows:
        while True:
            yield None
    shape = (DROPOUT_BLOCK, table.share, *last_maps_shape(network, table.rows["features"]))
    kept = 1 - network.dropout
    generator = fit.seeds.generator("dropout", fit.name, name)
    device = table.rows["features"].device
    while True:
        block = (torch.rand(shape, generator=generator) < kept).to(torch.float32).div_(kept)
        yield from block.to(device)


@torch.no_grad()
def last_maps_shape(network: Network, features: Tensor) -> torch.Size:
    """Shape of one clip's maps before pooling, for features that enter at `network.first`."""
    was_training = network.training
    shape = network.eval().maps(features[:1], network.first).shape[1:]
    if was_training:
        train_mode(network, network.first)
    return shape


def _optimiser(fit: Fit, module: nn.Module) -> torch.optim.Optimizer:
    learning = [p for p in module.parameters() if p.requires_grad]
    if fit.phase.optimiser == "adam":
        return torch.optim.Adam(learning, fit.phase.learning_rate)
    return torch.optim.SGD(
        learning, fit.phase.learning_rate, fit.sgd.momentum, weight_decay=fit.sgd.weight_decay
    )


def _validator(fit: Fit, module: nn.Module) -> Any:
    """() -> score on the validation clips; None where no early stopping is asked for."""
    held = fit.validation
    if held is None or fit.phase.patience is None:
        return None
    rows, labels = held.rows["features"], held.rows["labels"]
    network = backbone_of(fit.network)
    if network is not None and fit.frozen_blocks:
        rows = in_batches(lambda x: network.maps(x, 0, fit.frozen_blocks), rows)
    return lambda: score(in_batches(lambda part: held.logits(module, part), rows), labels)
