"""Augmentation, stored features and grids: what a method's settings are made of."""

from dataclasses import replace
from operator import attrgetter
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml

from mtcil.core.errors import UserError
from mtcil.learning.augmentation import AugmentationSettings, augment, draw_changes
from mtcil.learning.memory import RANGE, stored
from mtcil.running.base_jobs import Folders
from mtcil.running.grid import (
    base_grid_jobs,
    best_points,
    chosen,
    lines_for_settings,
    name_of,
    points_of,
    with_base_training,
)
from mtcil.settings.files import read_study
from mtcil.settings.study import Tuning

ROOT = Path(__file__).resolve().parents[2]


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


# --- augmentation


def augmented(x, settings, generator):
    """Each clip changed in its own way, as drawn from the generator."""
    return augment(x, **draw_changes(settings, x)(len(x), generator))


def test_shifts_by_hand():
    # Two bins; 1 2 3 4 5 later by two frames is 1 1 1 2 3, earlier by two 3 4 5 5 5.
    line = torch.arange(1.0, 6.0)
    x = torch.stack([line, 10 * line], dim=1).expand(200, 1, 5, 2)
    found = augmented(x, AugmentationSettings(2, 0, 0), seeded())
    assert torch.equal(found[..., 1], 10 * found[..., 0])  # all bins of a clip alike
    assert {tuple(row) for row in found[:, 0, :, 0].int().tolist()} == {
        (1, 1, 1, 2, 3), (1, 1, 2, 3, 4), (1, 2, 3, 4, 5), (2, 3, 4, 5, 5), (3, 4, 5, 5, 5),
    }  # fmt: skip


@pytest.mark.parametrize(("settings", "along"), [((0, 3, 0), 2), ((0, 0, 3), 3)])
def test_masks_are_one_run_of_zeros_anywhere_and_within_bounds(settings, along):
    found = augmented(torch.ones(400, 1, 7, 7), AugmentationSettings(*settings), seeded())
    lines = found.amin(dim=5 - along).squeeze(1)
    assert torch.equal(lines, found.amax(dim=5 - along).squeeze(1))  # whole frames or bins
    runs = {"".join(str(int(v)) for v in row) for row in lines.tolist()}
    wanted = {"1" * 7}
    for width in (1, 2, 3):
        wanted |= {"1" * a + "0" * width + "1" * (7 - a - width) for a in range(8 - width)}
    assert runs == wanted  # every width and place comes, the ends too, and nothing else


def test_both_masks_and_a_shift_at_once_change_each_clip_in_its_own_way():
    x = torch.randn(64, 1, 8, 8, generator=seeded(1))
    before = x.clone()
    found = augmented(x, AugmentationSettings(2, 3, 3), seeded())
    assert torch.equal(x, before) and found.shape == x.shape and found.dtype == x.dtype
    zeros = (found == 0).flatten(1)
    assert len({tuple(row) for row in zeros.tolist()}) > 20


def test_zero_settings_change_nothing():
    x = torch.randn(9, 1, 8, 6, generator=seeded(1))
    assert torch.equal(augmented(x, AugmentationSettings(0, 0, 0), seeded()), x)


def test_the_generator_decides():
    x, settings = torch.randn(9, 1, 8, 6, generator=seeded(1)), AugmentationSettings(2, 3, 3)
    first, again, other = (augmented(x, settings, seeded(seed)) for seed in (0, 0, 1))
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_a_change_by_hand():
    # Frames 1 2 3, bins a and 10 a. Later by one: 1 1 2; frame 2 hidden; in clip 2 earlier by one,
    # 2 3 3, and bin 1 hidden.
    x = torch.tensor([[1.0, 10], [2, 20], [3, 30]]).expand(2, 1, 3, 2)
    frames = torch.tensor([[False, False, True], [False, False, False]])
    bins = torch.tensor([[False, False], [False, True]])
    found = augment(x, torch.tensor([1, -1]), frames, bins)
    assert found[0, 0].tolist() == [[1, 10], [1, 10], [0, 0]]
    assert found[1, 0].tolist() == [[2, 0], [3, 0], [3, 0]]


def test_masks_longer_than_a_clip_hide_it_whole():
    found = augmented(torch.ones(200, 1, 4, 4), AugmentationSettings(0, 50, 0), seeded())
    assert (found.flatten(1).sum(1) == 0).float().mean() > 0.8


@pytest.mark.parametrize("settings", [(-1, 0, 0), (0, -1, 0), (0, 0, -1)])
def test_negative_changes_are_refused(settings):
    with pytest.raises(ValueError, match="greater than or equal to 0"):
        AugmentationSettings(*settings)


# --- stored


def test_eight_bits_err_by_half_a_step_at_most_and_clamp():
    x = torch.linspace(-RANGE, RANGE, 10_001)
    found, step = stored(x, 8), RANGE / 127
    assert (found - x).abs().max() <= step / 2 * 1.0001
    assert len(found.unique()) == 255
    assert found[0] == -RANGE and found[-1] == RANGE and stored(torch.zeros(1), 8) == 0
    assert stored(torch.tensor([-99.0, 6.1, torch.inf]), 8).tolist() == [-6.0, 6.0, 6.0]
    assert torch.equal(stored(found, 8), found)


def test_eight_bits_by_hand():
    # 1.0 is 21.1667 steps of 6 / 127: 21 of them.
    assert stored(torch.tensor([1.0, -1.0]), 8).tolist() == pytest.approx([126 / 127, -126 / 127])


def test_sixteen_bits_are_half_precision_and_thirty_two_all():
    x = torch.randn(500, generator=seeded())
    assert torch.equal(stored(x, 32), x)
    half = stored(x, 16)
    assert half.dtype == torch.float32 and torch.equal(half, x.to(torch.float16).float())
    assert 0 < (half - x).abs().max() < 0.002


# --- tuned

GRID = {"kd_weight": [1.0, 3.0], "learning_rate": [0.01, 0.05]}


def test_points_are_every_combination_in_order():
    assert points_of(GRID) == [
        {"kd_weight": 1.0, "learning_rate": 0.01}, {"kd_weight": 1.0, "learning_rate": 0.05},
        {"kd_weight": 3.0, "learning_rate": 0.01}, {"kd_weight": 3.0, "learning_rate": 0.05},
    ]  # fmt: skip
    assert points_of({}) == [{}]


def test_names_tell_points_apart():
    assert name_of("lwf", {"kd_weight": 3.0, "learning_rate": 0.01}) == (
        "lwf kd_weight=3.0 learning_rate=0.01"
    )
    assert name_of("icarl", {}) == "icarl"
    assert len({name_of("lwf", point) for point in points_of(GRID)}) == 4


def test_chosen_points_are_lines_of_settings_yaml_that_name_values_at_an_edge():
    best = {
        "lwf": {"kd_weight": 3.0, "learning_rate": 0.02},
        "recipe": {"rivals": "new", "bits": None},
    }
    grids = {
        "lwf": {"kd_weight": [1.0, 3.0], "learning_rate": [0.01, 0.02, 0.05]},
        "recipe": {"rivals": ["new", "all"], "bits": [None, 8]},
    }
    text = lines_for_settings(best, grids)
    assert yaml.safe_load(text) == best
    first, second = text.splitlines()
    edge = "at the edge of its grid: kd_weight"
    assert first == f"    lwf: {{kd_weight: 3.0, learning_rate: 0.02}}  # {edge}"
    assert "edge" not in second


STUDY = read_study(ROOT / "studies/development/params.yaml")


def test_a_point_of_a_base_grid_changes_rate_weight_and_length_of_base_training():
    tuned = with_base_training(
        STUDY, "arabic", {"learning_rate": 0.3, "task_weight": 0.2, "length": 0.5}
    )
    training, before = tuned.base_training, STUDY.base_training
    assert (training.fit.learning_rate, training.multitask_rate) == (0.3, 0.3)
    assert training.task_weight == 0.2 and training.sgd == before.sgd
    updates = STUDY.datasets["arabic"].updates
    assert tuned.datasets["arabic"].updates == replace(updates, base=updates.base // 2)
    assert with_base_training(STUDY, "arabic", {}) == STUDY


def test_a_point_of_a_base_grid_changes_numbers_of_parts():
    point = {"augmentation.shift": 5.0, "mixup.alpha": 0.7}  # a grid has no whole numbers
    tuned, before = with_base_training(STUDY, "arabic", point).base_parts, STUDY.base_parts
    assert tuned["augmentation"] == before["augmentation"] | {"shift": 5} != before["augmentation"]
    assert isinstance(tuned["augmentation"]["shift"], int)
    assert tuned["mixup"] == {"alpha": 0.7} != before["mixup"]
    assert {n: v for n, v in tuned.items() if n not in ("augmentation", "mixup")} == {
        n: v for n, v in before.items() if n not in ("augmentation", "mixup")
    }


@pytest.fixture
def grid_jobs(tmp_path):
    folders = Folders(tmp_path, tmp_path / "models", tmp_path / "checkpoints")
    for name in ("features.npy", "clips.csv"):
        (tmp_path / name).write_text("")
    return base_grid_jobs(STUDY, "arabic", folders, "cpu")


def test_every_point_of_a_base_grid_is_trained_with_every_seed_in_a_file_of_its_own(grid_jobs):
    tuning = STUDY.tunings["arabic"]
    points = {name_of(b, p) for b, grid in tuning.base_grids.items() for p in points_of(grid)}
    names = {(job.run.base, job.run.seed) for job in grid_jobs}
    assert names == {(point, seed) for point in points for seed in tuning.seeds}
    for value in ("base.file", "base.key", "key"):
        assert len({attrgetter(value)(job) for job in grid_jobs}) == len(grid_jobs) == len(names)
    assert {(job.run.method, job.plan.measured) for job in grid_jobs} == {("ccil", "held_out")}


def test_a_point_of_a_base_grid_is_what_the_base_model_is_trained_with(grid_jobs):
    rates = {
        (job.run.base, job.base.phase.learning_rate, job.base.training.task_weight)
        for job in grid_jobs
    }
    assert ("multitask learning_rate=0.02 task_weight=3.0", 0.02, 3.0) in rates
    assert ("single learning_rate=0.05 length=2.0", 0.05, 1.0) in rates
    lengths = {job.base.phase.updates for job in grid_jobs if "length=2.0" in job.run.base}
    assert lengths == {2 * STUDY.datasets["arabic"].updates.base}


def test_the_best_points_of_methods_and_of_base_models_are_chosen_apart():
    study = replace(
        STUDY,
        tunings={
            "arabic": Tuning(
                "single", (0,), ("gdumb",), "group", {"multitask": {"length": (1.0, 2.0)}}
            )
        },
    )
    rates = STUDY.comparison.grids["gdumb"]["learning_rate"]
    accuracies = {f"gdumb learning_rate={rate}": {0: [0, rate, rate]} for rate in rates}
    of_methods = table(accuracies).assign(base="single")
    of_bases = pd.concat(
        table({"ccil": {0: [0, accuracy, 0]}}).assign(base=f"multitask length={length}")
        for length, accuracy in ((1.0, 50), (2.0, 40))
    )
    text = chosen(study, "arabic", pd.concat([of_bases, of_methods]))
    assert yaml.safe_load(text) == {
        "comparison": {"tuned": {"gdumb": {"learning_rate": max(rates)}}}
    }
    of_base_training = "# base_training:\n#   multitask: {length: 1.0}  # at the edge"
    assert of_base_training in text
    none = replace(study.tunings["arabic"], methods=())
    text = chosen(replace(study, tunings={"arabic": none}), "arabic", of_bases)
    assert text.startswith(of_base_training)


def test_a_tuning_without_methods_and_base_grids_is_refused():
    with pytest.raises(ValueError, match="tunes nothing: name methods or base_grids"):
        Tuning("single", (0,), (), "group")


def table(accuracies):
    """Records of {method: {seed: accuracies of the steps}}, in no order."""
    rows = [
        {"method": method, "seed": seed, "step": step, "accuracy": accuracy}
        for method, seeds in accuracies.items()
        for seed, steps in seeds.items()
        for step, accuracy in enumerate(steps)
    ]
    return pd.DataFrame(rows).sample(frac=1, random_state=0)


def test_the_best_point_has_the_highest_mean_over_incremental_steps_and_seeds():
    records = table(
        {
            "a x=1": {0: [99, 50, 40], 1: [99, 50, 40]},  # the base step does not count: 45
            "a x=2": {0: [10, 40, 40], 1: [10, 60, 50]},  # 40 and 55: 47.5
            "a x=3": {0: [10, 70, 60], 1: [10, 10, 10]},  # the best seed alone: 37.5
            "b": {0: [1, 1, 1], 1: [1, 1, 1]},
        }
    )
    assert best_points(records, {"a": {"x": [1, 2, 3]}, "b": {}}) == {"a": {"x": 2}, "b": {}}


def test_the_first_of_equals_is_taken():
    equal = {f"a x={x}": {0: [0, 50, 50]} for x in (2, 1, 3)}
    for order in ([1, 2, 3], [3, 1, 2]):
        assert best_points(table(equal), {"a": {"x": order}}) == {"a": {"x": order[0]}}


def test_a_point_without_records_is_refused():
    records = table({"a x=1": {0: [0, 50, 50]}})
    with pytest.raises(UserError, match=r"no records of a x=2\. Run again"):
        best_points(records, {"a": {"x": [1, 2]}})


def test_a_point_that_lacks_a_seed_is_refused():
    records = table({"a x=1": {0: [0, 60, 60]}, "a x=2": {0: [0, 50, 50], 1: [0, 50, 50]}})
    with pytest.raises(UserError, match=r"no records of a x=1\. Run again"):
        best_points(records, {"a": {"x": [1, 2]}})
