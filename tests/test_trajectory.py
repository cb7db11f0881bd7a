"""mtcil.learning.trajectory: memory within K, validation as asked, and the records of a run."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import NETWORK

from mtcil.learning.clips import of_labels
from mtcil.learning.learner import Learner
from mtcil.learning.network import Network
from mtcil.learning.trajectory import Plan, advance, start, step_clips
from mtcil.methods import ccil
from mtcil.records.rows import TABLES, Run, confusion_from_text, confusion_text, step_rows
from mtcil.settings.sections import MemorySettings

STEPS = (4, 2, 2)
CONFIG = ccil.Config("CE_N+CE_O+KD_N+KD_O", "together", 1.0, 0.66, "batchmean", 2.0)
RUN = Run(
    *("words", "random", "multitask", "4-3-2", "separate", "none"),
    *("ccil", "CE_N+CE_O+KD_N+KD_O", "two_step", "early", 20, 7),
)


def make_plan(step_training, exemplars=20, selection="herding"):
    return Plan(STEPS, "ccil", CONFIG, step_training, MemorySettings(selection), exemplars, NETWORK)


def base_learner():
    return Learner(Network(NETWORK, 4, torch.Generator().manual_seed(0)).eval())


def go(data, plan, seed=0):
    state = start(base_learner(), data, plan, ccil, seed)
    for _ in STEPS[1:]:
        state = advance(state, data, plan, ccil, seed)
    return state


@pytest.mark.parametrize("selection", ["herding", "random", "official"])
@pytest.mark.parametrize("exemplars", [0, 3, 7, 8, 20, 400])
def test_the_memory_never_holds_more_than_k_and_the_same_of_each_class(
    data, step_training, exemplars, selection
):
    quick = replace(
        step_training,
        head_first=replace(step_training.head_first, epochs=1),
        then_all=replace(step_training.then_all, epochs=0),
    )
    plan = make_plan(quick, exemplars, selection)
    state = start(base_learner(), data, plan, ccil, 0)
    for n_seen in (4, 6, 8):
        if n_seen > 4:
            state = advance(state, data, plan, ccil, 0)
        sizes = [len(rows) for rows in state.memory]
        enough = 20 if selection != "official" else exemplars
        assert sizes == [min(exemplars // n_seen, enough)] * n_seen
        assert sum(sizes) <= exemplars
        for label, rows in enumerate(state.memory):
            assert set(data.train.labels[rows].tolist()) <= {label}


def test_old_classes_keep_their_first_exemplars(data, step_training):
    plan = make_plan(step_training)
    first = start(base_learner(), data, plan, ccil, 0)
    second = advance(first, data, plan, ccil, 0)
    for before, after in zip(first.memory, second.memory, strict=False):
        assert torch.equal(before[: len(after)], after)


@pytest.mark.parametrize(
    ("validation", "labels", "n_validation", "n_memory"),
    [
        ("all_seen", {0, 1, 2, 3, 4, 5}, 6 * 4, 20),
        ("new_only", {4, 5}, 2 * 4, 20),
        ("memory", {0, 1, 2, 3, 4, 5}, 2 * 4 + 4, 16),
    ],
)
def test_validation_takes_the_clips_that_the_setting_allows(
    data, step_training, validation, labels, n_validation, n_memory
):
    kept = tuple(of_labels(data.train, c, c + 1)[:5] for c in range(4))
    plan = make_plan(replace(step_training, validation=validation))
    clips = step_clips(kept, data, plan, 4, 6, 3)
    assert set(clips.validation.labels.tolist()) == labels
    assert len(clips.validation) == n_validation
    assert len(clips.memory) == n_memory and clips.per_class == 3
    assert set(clips.new.labels.tolist()) == {4, 5} and len(clips.new) == 40


def test_same_seed_same_result_other_seed_another(data, step_training):
    plan = make_plan(step_training)
    first, again, other = (go(data, plan, seed) for seed in (0, 0, 1))
    assert torch.equal(first.learner.network.head.weight, again.learner.network.head.weight)
    assert not torch.equal(first.learner.network.head.weight, other.learner.network.head.weight)


def test_records_say_what_the_confusion_says(data, step_training):
    state = go(data, make_plan(step_training))
    rows = step_rows(RUN, STEPS, state.results, "a key")
    for table in TABLES:
        for row in rows[table]:
            assert {name: row[name] for name in vars(RUN)} == vars(RUN)
            assert list(row)[-1] == "key" and row["key"] == "a key"
    assert [r["classes_seen"] for r in rows["records"]] == [4, 6, 8]
    assert [len(confusion_from_text(r["counts"])) for r in rows["confusion"]] == [4, 6, 8]
    assert [(r["step"], r["of_step"]) for r in rows["matrix"]] == [
        (0, 0), (1, 0), (1, 1), (2, 0), (2, 1), (2, 2),
    ]  # fmt: skip
    last = state.results[-1].confusion
    assert last.sum() == 8 * 10  # every test clip of the classes seen, once
    record = rows["records"][-1]
    assert record["accuracy"] == pytest.approx(100 * np.trace(last) / 80)
    assert record["old_accuracy"] == pytest.approx(100 * np.trace(last[:6, :6]) / 60)
    assert record["new_accuracy"] == pytest.approx(100 * np.trace(last[6:, 6:]) / 20)
    assert record["memory_bytes"] == 6 * (20 // 6) * 8 * 8 * 4
    assert record["validation_bytes"] == 6 * 4 * 8 * 8 * 4
    weights = state.learner.network.state_dict().values()
    two_rows = 2 * (8 + 1) * 4
    assert record["teacher_bytes"] == sum(v.nbytes for v in weights) - two_rows


def test_confusion_counts_survive_being_written():
    counts = np.array([[3, 0], [11, 250]])
    np.testing.assert_array_equal(confusion_from_text(confusion_text(counts)), counts)


@pytest.mark.parametrize(("changes", "clips"), [({"memory": "all"}, 80), ({"bits": 8}, 4 * 16)])
def test_the_official_cut_keeps_to_the_bytes_that_there_are(data, step_training, changes, clips):
    quick = replace(
        step_training,
        head_first=replace(step_training.head_first, epochs=1),
        then_all=replace(step_training.then_all, epochs=0),
    )
    plan = replace(make_plan(quick, 24, "official"), config=replace(CONFIG, **changes))
    state = advance(start(base_learner(), data, plan, ccil, 0), data, plan, ccil, 0)
    bits = changes.get("bits", 32)
    assert state.results[1].memory_bytes == clips * 8 * 8 * bits // 8
