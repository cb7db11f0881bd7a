"""mtcil.running.schedules and the control `longer`: the settings that come out, by hand."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from mtcil.learning.fit import Phase
from mtcil.learning.steps import StepTraining
from mtcil.running.base_jobs import base_phase
from mtcil.running.grid import with_base_training
from mtcil.running.jobs import comparison_training, own_training
from mtcil.running.schedules import compared, scheduled, step_training, updates_of_epochs
from mtcil.settings.files import read_study
from mtcil.settings.sections import SplitShares
from mtcil.settings.training import PhaseSettings, ScheduleRates

STUDY = read_study(Path(__file__).parents[2] / "params.yaml")
SETTINGS = replace(
    STUDY.step_training,
    head_first=PhaseSettings(5, 0.1, "constant"),
    then_all=PhaseSettings(4, 0.01, "cosine"),
)
TRAINING = step_training(SETTINGS, 400, 300)


def test_a_method_with_one_phase_gets_the_updates_of_both_phases():
    assert (
        StepTraining(
            sgd=SETTINGS.sgd,
            head_first=Phase(400, 0.1, "constant", 5),
            then_all=Phase(300, 0.01, "cosine", 4),
            frozen_blocks=SETTINGS.frozen_blocks,
            whole=Phase(700, 0.01, "cosine", 4),
        )
        == TRAINING
    )


def test_compared_methods_have_the_same_updates_whatever_their_phases():
    made = compared(SETTINGS, 1001, 0.4)
    assert (made.head_first.updates, made.then_all.updates) == (400, 601)  # 0.4 * 1001 is 400.4
    assert made.whole.updates == 1001


def phases(schedule, updates):
    made = scheduled(TRAINING, schedule, updates, ScheduleRates(large_rate=0.02, small_rate=0.003))
    assert replace(made, head_first=TRAINING.head_first, then_all=TRAINING.then_all) == TRAINING
    return made.head_first, made.then_all


def test_two_steps_with_early_stopping_are_the_studys_own():
    assert phases("two_step", None) == (TRAINING.head_first, TRAINING.then_all)


@pytest.mark.parametrize(
    ("updates", "first", "second"), [(15, 9, 6), (45, 26, 19), (100, 57, 43), (1400, 800, 600)]
)
def test_fixed_updates_are_shared_out_as_400_to_300_and_never_stopped(updates, first, second):
    assert phases("two_step", updates) == (
        Phase(first, 0.1, "constant", None),
        Phase(second, 0.01, "cosine", None),
    )


def test_one_schedule_for_all_layers_has_no_frozen_phase():
    nothing = replace(TRAINING.head_first, updates=0)
    assert phases("cosine", None) == (nothing, Phase(700, 0.02, "cosine", 4))
    assert phases("small", None) == (nothing, Phase(700, 0.003, "constant", 4))
    assert phases("cosine", 45) == (nothing, Phase(45, 0.02, "cosine", None))
    assert phases("small", 15) == (nothing, Phase(15, 0.003, "constant", None))


def test_the_papers_epochs_as_updates_by_hand():
    # gsc: 0.7 * 3 * 3200 = 6720 new clips a step, 32 in each update: 210 updates an epoch.
    # us8k: 0.7 * 2 * 1000 = 1400, 43.75 batches: 44.
    split, gsc, us8k = STUDY.split, STUDY.datasets["gsc"], STUDY.datasets["us8k"]
    assert [updates_of_epochs(n, gsc, split, 32) for n in (15, 45, 100)] == [3150, 9450, 21000]
    assert updates_of_epochs(1, us8k, split, 32) == 44
    assert updates_of_epochs(1, us8k, split, 64) == 22  # 21.875
    single = SimpleNamespace(
        steps=(4,), clips_per_class=1000
    )  # a study of the base step alone: its 2800 clips
    assert updates_of_epochs(2, single, split, 32) == 2 * 88


def test_an_epoch_has_no_update_too_many_by_rounding():
    """Where the batches come out even: 0.55 * 100 is above 55 in binary."""
    for percent in range(1, 99):
        split = SplitShares(percent / 100, (99 - percent) / 100, 0.01)
        for hundreds in range(1, 30):
            dataset = SimpleNamespace(steps=(2, 1), clips_per_class=100 * hundreds)
            assert updates_of_epochs(1, dataset, split, percent * hundreds) == 1


def test_the_studys_lengths_are_whole_epochs():
    """30 of the base step, 20 and 15 of a step, 25 of a comparison."""
    for name, n_base in (("gsc", 5), ("us8k", 4)):
        dataset, batch = STUDY.datasets[name], STUDY.base_training.sgd.batch
        one = updates_of_epochs(1, dataset, STUDY.split, STUDY.step_training.sgd.batch // 2)
        base = SimpleNamespace(steps=(n_base,), clips_per_class=dataset.clips_per_class)
        assert dataset.updates.base == updates_of_epochs(30, base, STUDY.split, batch)
        assert dataset.updates.head_first == 20 * one and dataset.updates.then_all == 15 * one
        assert dataset.updates.compare == 25 * one


def test_a_datasets_runs_have_its_own_lengths():
    own, both = own_training(STUDY, "us8k"), comparison_training(STUDY, "us8k")
    assert (own.head_first.updates, own.then_all.updates, own.whole.updates) == (880, 660, 1540)
    assert own.head_first.patience == STUDY.step_training.head_first.patience
    assert (both.head_first.updates, both.then_all.updates, both.whole.updates) == (440, 660, 1100)
    assert both.whole == Phase(1100, 0.05, "cosine", None)


def test_a_base_step_has_at_least_one_update():
    row = replace(STUDY.base_models["gsc"]["single"], length=1e-9)
    assert base_phase(STUDY, "gsc", row).updates == 1
    assert with_base_training(STUDY, "gsc", {"length": 1e-9}).datasets["gsc"].updates.base == 1


def test_longer_gives_one_head_as_many_clips_as_the_multitask_heads():
    rows, fit = STUDY.base_models["gsc"], STUDY.base_training.fit
    usual = Phase(10500, fit.learning_rate, fit.schedule, fit.patience)
    for name in ("single", "multitask", "multitask_shuffled"):
        assert base_phase(STUDY, "gsc", rows[name]) == usual
    assert rows["multitask"].heads == "5-4-3-2"  # 14 classes in all: 14 / 5 times as many
    # Patience counts checks, of which there are 20 in either: it waits 2.8 times as long too.
    assert base_phase(STUDY, "gsc", rows["single_longer"]) == replace(usual, updates=29400)
