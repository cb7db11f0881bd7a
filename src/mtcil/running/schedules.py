"""Lengths and schedules of an incremental step: from settings and a dataset's updates."""

from dataclasses import replace

from mtcil.learning.fit import Phase, phase_of, updates_of
from mtcil.learning.steps import StepTraining
from mtcil.settings.sections import DatasetSettings, SplitShares
from mtcil.settings.training import ScheduleRates, StepTrainingSettings


def step_training(settings: StepTrainingSettings, head_first: int, then_all: int) -> StepTraining:
    """The training of a step, with this many updates per phase.

    A method with one phase gets the updates of both, at the second phase's rate.
    """
    return StepTraining(
        sgd=settings.sgd,
        head_first=phase_of(settings.head_first, head_first),
        then_all=phase_of(settings.then_all, then_all),
        frozen_blocks=settings.frozen_blocks,
        whole=phase_of(settings.then_all, head_first + then_all),
    )


def compared(settings: StepTrainingSettings, updates: int, share: float) -> StepTraining:
    """The same for comparing methods: this many updates in total, whatever the phases."""
    first = round(share * updates)
    return step_training(settings, first, updates - first)


def updates_of_epochs(epochs: int, dataset: DatasetSettings, split: SplitShares, batch: int) -> int:
    """Convert epochs over the clips of a step's new classes, which the paper counts, to updates.

    Args:
        batch: new clips per update.
    """
    n_classes = dataset.steps[min(1, len(dataset.steps) - 1)]
    return updates_of(epochs, round(split.train * n_classes * dataset.clips_per_class), batch)


def scheduled(
    training: StepTraining, schedule: str, updates: int | None, rates: ScheduleRates
) -> StepTraining:
    """The training of a step with another schedule, another end, or both (paper, section 3.3).

    Args:
        training: the study's; its two phases are the two steps of fine-tuning.
        schedule: `two_step`: the frozen phase, then all layers, as in `training`;
            `cosine`: all layers from the start, the large rate falling along a cosine;
            `small`: all layers from the start, at the small rate.
        updates: total number of updates, without early stopping; `two_step` divides them between
            its phases in the same ratio as `training`. None: early stopping, with the updates of
            `training` as the limit.
    """
    head_first, then_all = training.head_first, training.then_all
    most = head_first.updates + then_all.updates
    total = most if updates is None else updates
    patience = then_all.patience if updates is None else None
    if schedule == "two_step":
        first = round(total * head_first.updates / most)
        if updates is not None:
            head_first = replace(head_first, updates=first, patience=None)
            then_all = replace(then_all, updates=total - first, patience=None)
        return replace(training, head_first=head_first, then_all=then_all)
    cosine = schedule == "cosine"
    rate = rates.large_rate if cosine else rates.small_rate
    fit = Phase(total, rate, "cosine" if cosine else "constant", patience)
    return replace(training, head_first=replace(head_first, updates=0), then_all=fit)
