"""What is trained, as a value: the contract between what is learnt and whoever executes it.

A run is a generator. It yields a `Fit` for each phase of training and gets the trained network
back, so that the same code trains one run on a CPU core or a hundred at once on a GPU
(`mtcil.running`). Everything random is drawn from the run's own generators.
"""

import math
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, NamedTuple, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mtcil.core.randomness import seed_for
from mtcil.settings.sections import PhaseSettings, SgdSettings

T = TypeVar("T")
Score = tuple[float, float]  # validation accuracy 0..1, and minus the validation loss
# (network, batch, numbers, choices) -> scalar. `batch.<table>.<name>` are rows of a table; with
# dropout `batch.<table>.keep` are its factors. Pure and at module level: no generator, no file, no
# boolean indexing, so that it can be vmapped over runs.
Loss = Callable[[Any, SimpleNamespace, SimpleNamespace, Any], Tensor]
Steps = Generator["Fit", Any, T]  # yields what is to be trained, is sent the trained module
Training = Generator["Fit", "Trained", T]  # the same for whoever executes it


@dataclass(frozen=True)
class Seeds:
    """The random generators of one step of one run, one per purpose."""

    seed: int
    step: int

    def generator(self, *purpose: str) -> torch.Generator:
        """A new CPU generator, always the same for the same purpose."""
        return torch.Generator().manual_seed(seed_for(self.seed, "step", self.step, *purpose))


@dataclass(frozen=True)
class Table:
    """Rows of which every batch takes some.

    Attributes:
        rows: (n_rows, ...) tensors by name; `features` go through the network, and with them
            whatever the loss needs: labels, a teacher's logits, ...
        share: rows of each batch. A smaller table repeats; it is never empty.
        draw: random numbers of a batch, by name: (share, generator) -> {name: (share, ...)}.
    """

    rows: Mapping[str, Tensor]
    share: int
    draw: Callable[[int, torch.Generator], dict[str, Tensor]] | None = None

    def __len__(self) -> int:
        return len(next(iter(self.rows.values())))


@dataclass(frozen=True)
class Phase:
    """One stretch of training. Its length is counted in updates, each on one full batch.

    Attributes:
        updates: at most; 0 leaves the phase out.
        patience: checks without a better validation result; None trains all updates.
        checks: how often validation is looked at, evenly over the phase.
        schedule: of the learning rate; `cosine` falls to 0 after the last update.
        optimiser: sgd (momentum and weight decay of `SgdSettings`) or adam.
    """

    updates: int
    learning_rate: float
    schedule: str = "constant"
    patience: int | None = None
    checks: int = 20
    optimiser: str = "sgd"

    def rate(self, update: int) -> float:
        """Learning rate of an update, counted from 0."""
        if self.schedule == "constant":
            return self.learning_rate
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * update / self.updates))

    def is_check(self, update: int) -> bool:
        """Whether validation is looked at after an update, counted from 1."""
        done, before = (update * self.checks // self.updates, (update - 1) * self.checks)
        return done > before // self.updates


def phase_of(settings: PhaseSettings, updates: int) -> Phase:
    """A phase of the settings with the dataset's length."""
    return Phase(updates, settings.learning_rate, settings.schedule, settings.patience)


def updates_of(epochs: int, n_clips: int, batch: int) -> int:
    """The paper counts in epochs: so many passes over `n_clips` in batches of `batch`."""
    return epochs * math.ceil(n_clips / batch)


@dataclass(frozen=True)
class Validation:
    """Clips for early stopping.

    Attributes:
        rows: `features` and `labels`.
        logits: (network, features) -> (n, n_classes).
    """

    rows: Mapping[str, Tensor]
    logits: Callable[[Any, Tensor], Tensor]


@dataclass(frozen=True)
class Fit:
    """One phase of training.

    Attributes:
        name: of the phase; in records, and part of each generator's purpose.
        network: any module to start from; it is not changed. Its trained copy is sent back.
        tables: rows by name; every batch takes each table's share. None is a table without rows,
            e.g. of a memory that holds nothing: the loss is given None for it.
        numbers: what differs between runs: weights of terms, small tensors.
        choices: what must be alike to train runs together: which terms, reduction ...
        frozen_blocks: the first blocks, which neither learn nor move their statistics; rows
            enter after them.
        validation: None, or without patience: the last weights are kept; else the best ones.
    """

    name: str
    network: nn.Module
    tables: Mapping[str, Table | None]
    loss: Loss
    phase: Phase
    sgd: SgdSettings
    seeds: Seeds
    numbers: Mapping[str, float | Tensor] = field(default_factory=dict)
    choices: Any = None
    frozen_blocks: int = 0
    validation: Validation | None = None

    @property
    def clips_per_update(self) -> int:
        """Clips passed forward in one update."""
        tables = (table for table in self.tables.values() if table is not None)
        return sum(table.share for table in tables if "features" in table.rows)


def draws(n_rows: int, share: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Batches of exactly `share` rows without end; every row is used once per shuffle."""
    waiting = torch.empty(0, dtype=torch.int64)
    while True:
        while len(waiting) < share:
            waiting = torch.cat([waiting, torch.randperm(n_rows, generator=generator)])
        yield waiting[:share]
        waiting = waiting[share:]


def score(logits: Tensor, labels: Tensor) -> Score:
    """Accuracy, and minus the cross entropy: the larger, the better."""
    accuracy = (logits.argmax(1) == labels).float().mean().item()
    return accuracy, -F.cross_entropy(logits, labels).item()


def namespace(tensors: Mapping[str, Any]) -> SimpleNamespace:
    """Nested mappings as attributes: what a loss is given."""
    return SimpleNamespace(
        **{k: namespace(v) if isinstance(v, Mapping) else v for k, v in tensors.items()}
    )


class Trained(NamedTuple):
    """What an executor sends back for a `Fit`.

    Attributes:
        module: trained, in eval mode.
        updates: how many were made.
    """

    module: nn.Module
    updates: int


def logged(steps: Steps[T], log: list[tuple[Fit, int]]) -> Training[T]:
    """The same steps for an executor; `log` gets each Fit with the updates that were made."""
    try:
        fit = next(steps)
        while True:
            trained = yield fit
            log.append((fit, trained.updates))
            fit = steps.send(trained.module)
    except StopIteration as ended:
        return ended.value
