"""The one training loop: stochastic gradient descent with early stopping."""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from mtcil.core.randomness import seed_for
from mtcil.learning.network import Network, copy_state, in_batches, train_mode
from mtcil.settings.sections import PhaseSettings, SgdSettings

Batch = TypeVar("Batch")
Score = tuple[float, float]  # validation accuracy 0..1, and minus the validation loss


@dataclass(frozen=True)
class Streams:
    """The random generators of one step of one run, one per purpose."""

    seed: int
    step: int

    def generator(self, *purpose: str) -> torch.Generator:
        """A new CPU generator, always the same for the same purpose."""
        return torch.Generator().manual_seed(self.number(*purpose))

    def number(self, *purpose: str) -> int:
        """The seed of that generator."""
        return seed_for(self.seed, "step", self.step, *purpose)


def shuffled(n_rows: int, batch: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Rows 0 .. n_rows - 1 in random order, in batches; the last one may be smaller."""
    yield from torch.randperm(n_rows, generator=generator).split(batch)


def endless(n_rows: int, batch: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Batches of exactly `batch` rows for ever, each row once before any comes again."""
    waiting = torch.empty(0, dtype=torch.int64)
    while True:
        while len(waiting) < batch:
            waiting = torch.cat([waiting, torch.randperm(n_rows, generator=generator)])
        yield waiting[:batch]
        waiting = waiting[batch:]


def score(logits: Tensor, labels: Tensor) -> Score:
    """Accuracy, and minus the cross entropy: the larger, the better."""
    accuracy = (logits.argmax(1) == labels).float().mean().item()
    return accuracy, -F.cross_entropy(logits, labels).item()


def fit(
    network: Network,
    batches: Callable[[], Iterable[Batch]],
    loss: Callable[[Batch], Tensor],
    validate: Callable[[], Score] | None,
    sgd: SgdSettings,
    phase: PhaseSettings,
    dropout_seed: int,
    frozen_blocks: int = 0,
    extra_parameters: Iterable[Tensor] = (),
    report: Callable[[str], None] | None = None,
) -> int:
    """Train `network` in place for one phase; keep the weights of its best epoch.

    The best epoch has the highest validation accuracy, the lowest validation loss among
    equals. Training ends after `patience` epochs without a better one. Without validation
    clips or patience all epochs are trained and the last weights are kept.

    Args:
        network: trained in place; ends in eval mode.
        batches: gives the batches of one epoch; called once per epoch.
        loss: scalar loss of one batch.
        validate: score on the validation split, in eval mode.
        sgd: batch, momentum and weight decay.
        phase: epochs, patience, learning rate and its curve.
        dropout_seed: seeds torch's global state, which dropout uses.
        frozen_blocks: so many up-stream blocks neither learn nor move their statistics.
        extra_parameters: trained as well, e.g. the heads of the other tasks.
        report: is told the epoch and the validation accuracy.

    Returns:
        Epochs trained.
    """
    if phase.epochs == 0:
        return 0
    torch.manual_seed(dropout_seed)
    train_mode(network, frozen_blocks)
    parameters = [p for p in network.parameters() if p.requires_grad] + list(extra_parameters)
    optimiser = torch.optim.SGD(
        parameters, phase.learning_rate, sgd.momentum, weight_decay=sgd.weight_decay
    )
    patience = phase.patience or phase.epochs
    stopping = validate is not None and phase.patience is not None
    best: Score = (-1.0, -math.inf)
    best_epoch, best_state = 0, copy_state(network) if stopping else {}
    epoch = 0
    for epoch in range(1, phase.epochs + 1):
        optimiser.param_groups[0]["lr"] = learning_rate(phase, epoch - 1)
        for batch in batches():
            optimiser.zero_grad()
            loss(batch).backward()
            optimiser.step()
        if stopping and validate is not None:
            network.eval()
            now = validate()
            train_mode(network, frozen_blocks)
            if now > best:
                best, best_epoch, best_state = now, epoch, copy_state(network)
            if report is not None:
                report(f"epoch {epoch}/{phase.epochs}, validation {100 * now[0]:.1f} %")
            if epoch - best_epoch >= patience:
                break
        elif report is not None:
            report(f"epoch {epoch}/{phase.epochs}")
    if stopping:
        network.load_state_dict(best_state)
    network.requires_grad_(True).eval()
    return epoch


def learning_rate(phase: PhaseSettings, epoch: int) -> float:
    """Learning rate of an epoch, counted from 0; `cosine` falls to 0 after the last epoch."""
    if phase.schedule == "constant":
        return phase.learning_rate
    return phase.learning_rate * 0.5 * (1 + math.cos(math.pi * epoch / phase.epochs))


def validator(
    network: Network, rows: Tensor, labels: Tensor, first: int = 0
) -> Callable[[], Score]:
    """Scores `network` on clips of which the input of block `first` is given.

    Args:
        network: in eval mode whenever the result is called.
        rows: (n_clips, channels, frames, bins), the input of block `first`.
        labels: (n_clips,) int64.
        first: blocks before it are not run again.
    """

    def logits(part: Tensor) -> Tensor:
        return network.head(network.pool(network.maps(part, first)))

    return lambda: score(in_batches(logits, rows), labels)
