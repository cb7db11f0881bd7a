"""mtcil.running.schedules and the control `longer`: the settings that come out, by hand."""

from dataclasses import replace
from pathlib import Path

import pytest

from mtcil.running.jobs import base_training_of
from mtcil.running.schedules import scheduled
from mtcil.settings.files import read_study
from mtcil.settings.sections import PhaseSettings, ScheduleRates

STUDY = read_study(Path(__file__).parents[1] / "params.yaml")
TRAINING = replace(
    STUDY.step_training,
    head_first=PhaseSettings(20, 5, 0.1, "constant"),
    then_all=PhaseSettings(15, 4, 0.01, "cosine"),
)


def phases(schedule, epochs):
    made = scheduled(TRAINING, schedule, epochs, ScheduleRates(large_rate=0.02, small_rate=0.003))
    assert replace(made, head_first=TRAINING.head_first, then_all=TRAINING.then_all) == TRAINING
    return made.head_first, made.then_all


def test_two_steps_with_early_stopping_are_the_studys_own():
    assert phases("two_step", None) == (TRAINING.head_first, TRAINING.then_all)


@pytest.mark.parametrize(("epochs", "first", "second"), [(15, 9, 6), (45, 26, 19), (100, 57, 43)])
def test_fixed_epochs_are_shared_out_as_20_to_15_and_never_stopped(epochs, first, second):
    assert phases("two_step", epochs) == (
        PhaseSettings(first, None, 0.1, "constant"),
        PhaseSettings(second, None, 0.01, "cosine"),
    )


def test_one_schedule_for_all_layers_has_no_frozen_phase():
    nothing = replace(TRAINING.head_first, epochs=0)
    assert phases("cosine", None) == (nothing, PhaseSettings(35, 4, 0.02, "cosine"))
    assert phases("cosine", 45) == (nothing, PhaseSettings(45, None, 0.02, "cosine"))
    assert phases("small", 15) == (nothing, PhaseSettings(15, None, 0.003, "constant"))


def test_longer_gives_one_head_as_many_clips_as_the_multitask_heads():
    rows, fit = STUDY.base_models["gsc"], STUDY.base_training.fit
    for name in ("single", "multitask", "multitask_shuffled"):
        assert base_training_of(STUDY, "gsc", rows[name]) == STUDY.base_training
    assert rows["multitask"].heads == "5-4-3-2"  # 14 classes in all: 14 / 5 times as many
    changed = base_training_of(STUDY, "gsc", rows["single_longer"]).fit
    assert changed.epochs == round(2.8 * fit.epochs)
    assert changed.patience == round(2.8 * fit.patience)
