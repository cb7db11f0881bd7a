"""Phases of training as values: the contract between methods and executors.

A run is a generator. It yields a `Fit` for each phase of training and receives the trained
network, so that the same code trains one run on a CPU core or a hundred at once on a GPU
(`mtcil.running`). All random numbers come from the run's own generators.
"""

import math
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, NamedTuple, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mtcil.core.randomness import seed_for
from mtcil.settings.training import PhaseSettings, SgdSettings

T = TypeVar("T")
Score = tuple[float, float]  # validation accuracy 0..1, and minus the validation loss
# (network, batch, numbers, choices) -> scalar. `batch.<table>.<name>` holds rows of a table,
# `batch.<table>.keep` the dropout factors (None without dropout). A loss is pure and at module
# level: no generator, file or boolean indexing, so that it can be vmapped over runs.
Loss = Callable[[Any, SimpleNamespace, SimpleNamespace, Any], Tensor]
Steps = Generator["Fit", Any, T]  # yields a Fit, receives the trained module
Training = Generator["Fit", "Trained", T]  # the same for an executor, which sends a `Trained`


@dataclass(frozen=True)
class Seeds:
    """The random generators of one step of one run, one per purpose."""

    seed: int
    step: int

    def generator(self, *purpose: str, device: torch.device | str = "cpu") -> torch.Generator:
        """A new generator, always the same for the same purpose."""
        seed = seed_for(self.seed, "step", self.step, *purpose)
        return torch.Generator(device).manual_seed(seed)


@dataclass(frozen=True)
class Table:
    """Rows that batches are drawn from.

    Attributes:
        rows: (n_rows, ...) tensors by name: `features` for the network, and whatever else the
            loss needs: labels, a teacher's logits, ...
        share: rows per batch. A smaller table repeats; it is never empty.
        draw: random numbers for n rows, by name: (n, generator) -> {name: (n, ...)}.
    """

    rows: Mapping[str, Tensor]
    share: int
    draw: Callable[[int, torch.Generator], dict[str, Tensor]] | None = None

    def __len__(self) -> int:
        return len(next(iter(self.rows.values())))


@dataclass(frozen=True)
class Phase:
    """Length, learning rate and optimiser of a phase. An update uses one full batch.

    Attributes:
        updates: the largest number of updates; 0 skips the phase.
        schedule: of the learning rate: constant, or `cosine`, which falls to 0 after the last
            update.
        patience: number of checks without improvement before training stops; None: never.
        checks: number of validation checks, spread evenly over the phase.
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
        """Whether validation is checked after an update, counted from 1."""
        done, before = (update * self.checks // self.updates, (update - 1) * self.checks)
        return done > before // self.updates


def phase_of(settings: PhaseSettings, updates: int) -> Phase:
    """A phase from its settings, with the dataset's number of updates."""
    return Phase(updates, settings.learning_rate, settings.schedule, settings.patience)


def updates_of(epochs: int, n_clips: int, batch: int) -> int:
    """Updates of `epochs` passes over `n_clips` in batches of `batch`; the paper counts epochs."""
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
        name: of the phase; used in records and as part of each generator's purpose.
        network: the module to start from; it is not changed. A trained copy is sent back.
        tables: rows by name; every batch takes each table's share. None is a table without rows,
            e.g. an empty memory; the loss then receives None.
        numbers: values that may differ between runs: weights of terms, small tensors.
        choices: values that runs must share to be trained together: terms, reduction ...
        frozen_blocks: the first `frozen_blocks` blocks are frozen, BatchNorm statistics
            included; rows enter after them.
        validation: for early stopping, which returns the best weights. If it or the patience is
            None, the last weights are returned.
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
    def stopping_on(self) -> Validation | None:
        """The clips for early stopping; None if all updates are made."""
        return None if self.phase.patience is None else self.validation

    @property
    def clips_per_update(self) -> int:
        """Clips in the forward passes of one update."""
        tables = (table for table in self.tables.values() if table is not None)
        return sum(table.share for table in tables if "features" in table.rows)


def score(logits: Tensor, labels: Tensor) -> Score:
    """Accuracy and negative cross entropy; larger is better."""
    accuracy = (logits.argmax(1) == labels).float().mean().item()
    return accuracy, -F.cross_entropy(logits, labels).item()


def namespace(tensors: Mapping[str, Any]) -> SimpleNamespace:
    """Turn nested mappings into attributes, the form that a loss receives."""
    return SimpleNamespace(
        **{k: namespace(v) if isinstance(v, Mapping) else v for k, v in tensors.items()}
    )


class Trained(NamedTuple):
    """The result of a `Fit`.

    Attributes:
        module: the trained module, in eval mode.
        updates: number of updates made.
    """

    module: nn.Module
    updates: int


class Phases:
    """Cost and outcome of the phases of a step.

    Attributes:
        updates: by phase name; phases of the same name are summed.
        clips_passed: clips in the forward passes of training.
        diverged: whether any trained weight is NaN or infinite.
    """

    def __init__(self) -> None:
        self.updates: dict[str, int] = {}
        self.clips_passed = 0
        self.diverged = False

    def add(self, fit: Fit, trained: Trained) -> None:
        """Count one phase."""
        self.updates[fit.name] = self.updates.get(fit.name, 0) + trained.updates
        self.clips_passed += trained.updates * fit.clips_per_update
        weights = trained.module.parameters()
        self.diverged |= not all(value.isfinite().all() for value in weights)


def logged(steps: Steps[T], phases: Phases) -> Training[T]:
    """Pass steps to an executor, and count each phase in `phases`."""
    try:
        fit = next(steps)
        while True:
            trained = yield fit
            phases.add(fit, trained)
            fit = steps.send(trained.module)
    except StopIteration as ended:
        return ended.value
