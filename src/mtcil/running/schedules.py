"""Schedules of fine-tuning in an incremental step, to be compared (paper, section 3.3)."""

from dataclasses import replace

from mtcil.settings.sections import PhaseSettings, ScheduleRates, StepTrainingSettings


def scheduled(
    training: StepTrainingSettings,
    schedule: str,
    epochs: int | None,
    rates: ScheduleRates,
) -> StepTrainingSettings:
    """The settings of a step with another schedule, another end, or both.

    Args:
        training: the study's; its two phases are the two steps of fine-tuning.
        schedule: `two_step`: the frozen phase, then all layers, as `training` says;
            `cosine`: all layers from the start at the large rate, falling along a cosine;
            `small`: all layers from the start at the small rate.
        epochs: this many in all and no early stopping; `two_step` shares them out between its
            phases as `training` does. None: early stopping, at most as many epochs as
            `training` allows.
    """
    head_first, then_all = training.head_first, training.then_all
    most = head_first.epochs + then_all.epochs
    total = most if epochs is None else epochs
    patience = then_all.patience if epochs is None else None
    if schedule == "two_step":
        first = round(total * head_first.epochs / most)
        if epochs is not None:
            head_first = replace(head_first, epochs=first, patience=None)
            then_all = replace(then_all, epochs=total - first, patience=None)
        return replace(training, head_first=head_first, then_all=then_all)
    fit = (
        PhaseSettings(total, patience, rates.large_rate, "cosine")
        if schedule == "cosine"
        else PhaseSettings(total, patience, rates.small_rate, "constant")
    )
    return replace(training, head_first=replace(head_first, epochs=0), then_all=fit)
