"""The sections of `settings.yaml` that say how networks are trained, as frozen dataclasses."""

from typing import Annotated, Any, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from mtcil.settings.reader import STRICT
from mtcil.settings.sections import Count, Positive, Share, Weight, Whole, require, require_unique


@dataclass(frozen=True, config=STRICT)
class PhaseSettings:
    """One stretch of training, with one learning-rate curve and early stopping.

    Its length is the dataset's; validation is looked at 20 times, evenly over it.
    """

    patience: Whole | None  # checks without a better validation result; null: no early stopping
    learning_rate: Positive
    schedule: Literal["constant", "cosine"]


@dataclass(frozen=True, config=STRICT)
class SgdSettings:
    """Stochastic gradient descent, as the paper names it; its numbers are ours."""

    batch: Annotated[int, Field(ge=2)]  # BatchNorm needs two clips
    momentum: Annotated[float, Field(ge=0, lt=1)]
    weight_decay: Weight


@dataclass(frozen=True, config=STRICT)
class BaseTrainingSettings:
    """How the base step is learnt."""

    sgd: SgdSettings
    fit: PhaseSettings
    multitask_rate: Positive  # learning rate of base models with several tasks
    task_weight: Weight  # of the smaller tasks; the full one's is 1
    task_reduction: Literal["mean", "sum"]  # of the smaller tasks' losses
    # Which batches move BatchNorm's running statistics, where each task has its own pass.
    statistics: Literal["full_task", "all_tasks"]


@dataclass(frozen=True, config=STRICT)
class StepTrainingSettings:
    """How an incremental step is learnt: two-step fine-tuning (paper, section 3.3)."""

    sgd: SgdSettings
    head_first: PhaseSettings
    then_all: PhaseSettings
    frozen_blocks: Count  # the first blocks, which `head_first` keeps frozen
    validation: Literal["all_seen", "new_only", "memory"]
    validation_share: Share  # of the exemplars, under `memory`


@dataclass(frozen=True, config=STRICT)
class MemorySettings:
    """Which clips of old classes are kept; how many is `exemplars` (K)."""

    selection: Literal["herding", "random", "official"]


@dataclass(frozen=True, config=STRICT)
class ScheduleRates:
    """Learning rates of the schedules that `epoch_sweeps` compares (paper, section 3.3)."""

    large_rate: Positive  # of `cosine`
    small_rate: Positive  # of `small`


@dataclass(frozen=True, config=STRICT)
class ComparisonSettings:
    """How methods are compared: the same training and the same effort of tuning for all.

    Attributes:
        training: of every method's steps; a fixed number of updates, so that no clip of an old
            class is needed to stop early.
        head_first_share: of the updates, for methods that fine-tune in two steps.
        tuned: for a method of `methods`, the settings that `tune_methods` chose.
        grids: for a method of `methods`, values of some of its settings; every combination is
            tried.
    """

    training: StepTrainingSettings
    head_first_share: Share
    tuned: dict[str, dict[str, Any]]
    grids: dict[str, dict[str, tuple[Any, ...]]]

    def __post_init__(self) -> None:
        for name, grid in self.grids.items():
            for setting, values in grid.items():
                where = f"grids.{name}.{setting}"
                plain = all(isinstance(value, str | int | float | None) for value in values)
                require(plain, f"{where}: values must be numbers, words or null.")
                require_unique(values, where)
        phases = self.training.head_first, self.training.then_all
        require(
            all(phase.patience is None for phase in phases)
            and self.training.validation != "all_seen",
            "training: no early stopping (patience: null) and not validation: all_seen, or kept "
            "validation clips of old classes would count as memory.",
        )
