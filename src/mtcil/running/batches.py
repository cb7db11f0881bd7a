"""The rows and random numbers of every batch of a `Fit`, the same for both executors.

Everything is drawn from the run's own generators, in an order that the executor does not change.
"""

import copy
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from mtcil.learning.fit import Fit, Table
from mtcil.learning.network import Network, backbone_of, in_batches, train_mode

BLOCK = 64  # updates per draw of random numbers


def training_copy(fit: Fit) -> nn.Module:
    """A copy of the network in training mode; features enter after the frozen blocks."""
    module = copy.deepcopy(fit.network)
    train_mode(module, fit.frozen_blocks)
    network = backbone_of(module)
    if network is not None:
        network.first = fit.frozen_blocks
    return module


def frozen_rows(fit: Fit, features: Tensor) -> Tensor:
    """Output of the frozen blocks, computed once for the whole phase."""
    network = backbone_of(fit.network)
    if network is None or not fit.frozen_blocks:
        return features
    return in_batches(lambda x: network.maps(x, 0, fit.frozen_blocks), features)


def columns_of(fit: Fit, table: Table) -> dict[str, Tensor]:
    """The columns of a table; features are the output of the frozen blocks."""
    rows = dict(table.rows)
    if "features" in rows:
        rows["features"] = frozen_rows(fit, rows["features"])
    return rows


def rows_of_batches(fit: Fit, name: str, table: Table) -> Tensor:
    """The rows of the table for each update, (updates, share) int64 on CPU.

    Every batch is full; every row is used once per shuffle.
    """
    share, updates = table.share, fit.phase.updates
    generator = fit.seeds.generator("batches", fit.name, name)
    n_shuffles = -(-share * updates // len(table))
    order = [torch.randperm(len(table), generator=generator) for _ in range(n_shuffles)]
    return torch.cat(order)[: share * updates].view(updates, share)


def drawn_numbers(
    fit: Fit, name: str, features: Tensor | None, network: Network | None
) -> Iterator[dict[str, Tensor]]:
    """Endless blocks of random numbers, each for `BLOCK` updates: (BLOCK, share, ...).

    They are the result of the table's `draw`, and with dropout the factors `keep`: 0, or
    1 / (1 - p). They are drawn on the features' device.

    Args:
        name: of the table.
        features: the network's input; None for a table without features.
        network: in training mode, from `training_copy`.
    """
    table = fit.tables[name]
    if table is None:
        return
    device = next(iter(table.rows.values())).device
    numbers = fit.seeds.generator("numbers", fit.name, name)
    dropout = fit.seeds.generator("dropout", fit.name, name, device=device)
    shape = None
    if network is not None and network.dropout and features is not None:
        shape = (BLOCK, table.share, *last_maps_shape(network, features))
    while True:
        block = table.draw(BLOCK * table.share, numbers) if table.draw else {}
        drawn = {n: v.to(device).unflatten(0, (BLOCK, -1)) for n, v in block.items()}
        if shape is not None and network is not None:
            kept = 1 - network.dropout
            uniform = torch.rand(shape, generator=dropout, device=device)
            drawn["keep"] = (uniform < kept).to(torch.float32).div_(kept)
        yield drawn


@torch.no_grad()
def last_maps_shape(network: Network, features: Tensor) -> torch.Size:
    """Shape of one clip's maps before pooling, for features that enter at `network.first`."""
    was_training = network.training
    shape = network.eval().maps(features[:1], network.first).shape[1:]
    if was_training:
        train_mode(network, network.first)
    return shape
