"""The inputs of a fleet (`mtcil.running.fleet`): many runs' rows, validation clips and numbers.

Each is stacked along a first dimension. The loss is here too; the training is in `fleet`.
"""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, vmap

from mtcil.learning.fit import Fit, Score, Validation, namespace
from mtcil.learning.network import backbone_of
from mtcil.running.batches import BLOCK, columns_of, drawn_numbers, frozen_rows, rows_of_batches

Tensors = dict[str, Tensor]
VALIDATION_CLIPS = 4096  # of all runs in one forward pass, but at least 16 per run


def kind_of(fit: Fit) -> Hashable:
    """Values that Fits must share to be trained together; learning rate, `numbers` may differ."""
    network, held, phase = backbone_of(fit.network), fit.stopping_on, fit.phase
    tables = [
        (name, table and (table.share, table.draw is None, _columns(table.rows)))
        for name, table in fit.tables.items()
    ]
    return (
        *(fit.name, fit.loss, fit.choices, fit.sgd, fit.frozen_blocks, tuple(tables)),
        *(phase.updates, phase.schedule, phase.patience, phase.checks, phase.optimiser),
        *(repr(fit.network), network and network.dropout, _shapes(fit.network.state_dict())),
        *(_shapes(fit.numbers), held and (held.logits, _columns(held.rows))),
    )


def _columns(rows: Mapping[str, Tensor]) -> Hashable:
    return tuple((name, v.shape[1:], v.dtype, v.device) for name, v in rows.items())


def _shapes(values: Mapping[str, Any]) -> Hashable:
    return tuple(
        (name, _shapes(value) if isinstance(value, Mapping) else torch.as_tensor(value).shape)
        for name, value in values.items()
    )


def stacked(values: Sequence[Any], like: Tensor) -> Any:
    """Stack nested numbers and tensors of all runs along a new first dimension.

    The result is contiguous: vmap cannot use weights in PyTorch's channels_last order.

    Args:
        like: sets the device of all, and the dtype of plain numbers.
    """
    if isinstance(values[0], Mapping):
        return {name: stacked([v[name] for v in values], like) for name in values[0]}
    tensors = [v if isinstance(v, Tensor) else like.new_tensor(v) for v in values]
    return torch.stack([tensor.to(like.device) for tensor in tensors]).contiguous()


class LossOf(nn.Module):
    """The loss of a Fit as a function of a module's parameters (`functional_call`)."""

    def __init__(self, module: nn.Module, fit: Fit):
        super().__init__()
        self.module, self.fit = module, fit

    def forward(self, batch: dict[str, Tensors], numbers: dict[str, Any]) -> Tensor:
        rows = {n: {"keep": None} | batch[n] if n in batch else None for n in self.fit.tables}
        return self.fit.loss(self.module, namespace(rows), namespace(numbers), self.fit.choices)


class LogitsOf(nn.Module):
    """The logits of validation clips as a function of a module's parameters."""

    def __init__(self, module: nn.Module, held: Validation):
        super().__init__()
        self.module, self.held = module, held

    def forward(self, features: Tensor) -> Tensor:
        return self.held.logits(self.module, features)


class Rows:
    """A table of every run: the columns of all runs, and the rows that each update takes."""

    def __init__(self, fits: Sequence[Fit], name: str, modules: Sequence[nn.Module]):
        tables = [table for fit in fits if (table := fit.tables[name]) is not None]
        columns = [columns_of(fit, table) for fit, table in zip(fits, tables, strict=True)]
        self.columns = {c: torch.cat([own[c] for own in columns]) for c in columns[0]}
        device = next(iter(self.columns.values())).device
        starts = torch.tensor([0, *map(len, tables)]).cumsum(0)
        plans = [
            start + rows_of_batches(fit, name, table)
            for start, fit, table in zip(starts[:-1], fits, tables, strict=True)
        ]
        self.plan = torch.stack(plans, dim=1).to(device)  # (updates, run, share)
        self.streams = [
            drawn_numbers(fit, name, own.get("features"), backbone_of(module))
            for fit, own, module in zip(fits, columns, modules, strict=True)
        ]
        self.drawn: Tensors = {}

    def draw(self) -> None:
        """Draw the random numbers of the next `BLOCK` updates, into the same memory."""
        of_runs = [next(stream) for stream in self.streams]
        for column in of_runs[0]:
            values = [own[column] for own in of_runs]
            self.drawn[column] = torch.stack(values, dim=1, out=self.drawn.get(column))

    def batch(self, update: Tensor) -> Tensors:
        """The rows of an update, (run, share, ...).

        Args:
            update: (1,) int64, counted from 0.
        """
        rows = self.plan.index_select(0, update)[0]
        taken = {
            name: values.index_select(0, rows.flatten()).unflatten(0, rows.shape)
            for name, values in self.columns.items()
        }
        of_block = update % BLOCK
        return taken | {n: v.index_select(0, of_block)[0] for n, v in self.drawn.items()}


class Held:
    """The validation clips of every run, padded to the largest number."""

    def __init__(self, fits: Sequence[Fit], module: nn.Module):
        held = [one for fit in fits if (one := fit.stopping_on) is not None]
        pad = nn.utils.rnn.pad_sequence
        rows = [
            frozen_rows(f, h.rows["features"]).contiguous() for f, h in zip(fits, held, strict=True)
        ]
        self.features = pad(rows, batch_first=True)  # (run, clips, ...)
        self.labels = pad([h.rows["labels"] for h in held], batch_first=True)
        self.is_clip = pad([torch.ones_like(h.rows["labels"]) for h in held], batch_first=True)
        self.logits = LogitsOf(module, held[0])

    @torch.no_grad()
    def scores(self, state: Tensors) -> list[Score]:
        """Accuracy and negative cross entropy of every run; the module must be in eval mode."""
        forward = vmap(lambda state, features: functional_call(self.logits, state, (features,)))
        n_clips_at_once = max(16, VALIDATION_CLIPS // len(self.features))
        parts = self.features.split(n_clips_at_once, dim=1)
        logits = torch.cat([forward(state, part) for part in parts], dim=1)
        n_clips = self.is_clip.sum(1)
        right = (logits.argmax(2) == self.labels) * self.is_clip
        losses = F.cross_entropy(logits.flatten(0, 1), self.labels.flatten(), reduction="none")
        loss = (losses.view_as(self.labels) * self.is_clip).sum(1) / n_clips
        accuracy = right.sum(1) / n_clips
        return list(zip(accuracy.tolist(), (-loss).tolist(), strict=True))
