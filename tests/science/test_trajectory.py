"""mtcil.learning.trajectory: memory within K, validation as asked, and the records of a run."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from conftest import NETWORK, phase

from mtcil.learning.clips import of_labels
from mtcil.learning.learner import Learner
from mtcil.learning.network import Network
from mtcil.learning.steps import Cost, StepClips, StepTraining
from mtcil.learning.trajectory import (
    Plan,
    Run,
    exemplar_budget,
    step_clips,
    training_of,
    trajectory,
)
from mtcil.methods import ccil
from mtcil.records.rows import TABLES, confusion_from_text, step_rows
from mtcil.records.rows import Run as RunName
from mtcil.running.alone import follow
from mtcil.settings.training import MemorySettings

STEPS = (4, 2, 2)
CONFIG = ccil.Config("CE_N+CE_O+KD_N+KD_O", "together", 1.0, 0.66, "batchmean", 2.0)
NAME = RunName(
    *("words", "random", "multitask", "4-3-2", "separate", "none"),
    *("ccil", "CE_N+CE_O+KD_N+KD_O", "two_step", "early", 20, 7),
)
CLIP = 8 * 8 * 4  # bytes


class Noted:
    """CCIL that notes what it is given and what comes out."""

    Config = ccil.Config
    predict = staticmethod(ccil.predict)
    cost = staticmethod(ccil.cost)

    def __init__(self):
        self.clips: list[StepClips] = []
        self.training: list[StepTraining] = []
        self.memories: list[torch.Tensor] = []
        self.learners: list[Learner] = []

    def learn_step(self, learner, clips, config, training, seeds):
        self.clips.append(clips)
        self.training.append(training)
        return (yield from ccil.learn_step(learner, clips, config, training, seeds))

    def state_after(self, learner, clips, memory, config, seeds):
        self.memories.append(memory)
        learner = yield from ccil.state_after(learner, clips, memory, config, seeds)
        self.learners.append(learner)
        return learner


def make_plan(step_training, exemplars=20, selection="herding", validation="all_seen"):
    return Plan(
        STEPS, "ccil", CONFIG, step_training, validation, 0.2, MemorySettings(selection), exemplars,
        NETWORK,
    )  # fmt: skip


def quick(step_training):
    """A single update of the head, so that the memory is what counts."""
    return replace(step_training, head_first=phase(1), then_all=phase(0))


def base_learner():
    return Learner(Network(NETWORK, 4, torch.Generator().manual_seed(0)).eval())


def begin(data, plan, seed=0):
    """A run that has not begun yet, and what it will note."""
    noted = Noted()
    return trajectory(Run(data, plan, noted, seed), base_learner(), 12), noted


def go(data, plan, seed=0):
    """The results of a run, and what it noted."""
    steps, noted = begin(data, plan, seed)
    return follow(steps), noted


def last_network(data, plan, seed=0):
    """The weights that a run ends with."""
    return go(data, plan, seed)[1].learners[-1].network.state_dict()


def rows_of(clips, train):
    """Rows of the training clips, class by class."""
    rows = torch.cdist(clips.features.flatten(1), train.features.flatten(1)).argmin(1)
    assert torch.equal(train.labels[rows], clips.labels)
    assert torch.equal(train.features[rows], clips.features)
    return [rows[clips.labels == label] for label in range(int(clips.labels.max()) + 1)]


@pytest.mark.parametrize("selection", ["herding", "random", "official"])
@pytest.mark.parametrize("exemplars", [0, 3, 7, 8, 20, 400])
def test_the_memory_never_holds_more_than_k_and_the_same_of_each_class(
    data, step_training, exemplars, selection
):
    plan = make_plan(quick(step_training), exemplars, selection)
    _, noted = go(data, plan)
    assert len(noted.memories) == 3
    for n_seen, memory in zip((4, 6, 8), noted.memories, strict=True):
        enough = 20 if selection != "official" else exemplars
        sizes = memory.labels.bincount(minlength=n_seen).tolist()
        assert sizes == [min(exemplars // n_seen, enough)] * n_seen
        assert sum(sizes) <= exemplars
        assert torch.equal(memory.labels, memory.labels.sort().values)  # class by class


def test_old_classes_keep_their_first_exemplars(data, step_training):
    _, noted = go(data, make_plan(quick(step_training), 40))
    kept = [rows_of(memory, data.train) for memory in noted.memories]
    assert [len(rows[0]) for rows in kept] == [10, 6, 5]
    for before, after in pairwise(kept):
        for old, new in zip(before, after, strict=False):
            assert torch.equal(old[: len(new)], new)


def test_a_step_replays_what_the_memory_held_before_it(data, step_training):
    _, noted = go(data, make_plan(quick(step_training)))
    for before, clips in zip(noted.memories, noted.clips, strict=False):
        assert torch.equal(clips.memory.features, before.features)
    assert [(c.n_old, c.n_new, c.per_class) for c in noted.clips] == [(4, 2, 3), (6, 2, 2)]
    assert [set(c.new.labels.tolist()) for c in noted.clips] == [{4, 5}, {6, 7}]


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
    plan = make_plan(step_training, validation=validation)
    clips = step_clips(Run(data, plan, ccil, 0), kept, 4, 6, 3)
    assert set(clips.validation.labels.tolist()) == labels
    assert len(clips.validation) == n_validation
    assert len(clips.memory) == n_memory and clips.per_class == 3
    assert (clips.n_old, clips.n_new) == (4, 2)
    assert set(clips.new.labels.tolist()) == {4, 5} and len(clips.new) == 40


def test_same_seed_same_result_other_seed_another(data, step_training):
    plan = make_plan(step_training)
    first, again, other = (last_network(data, plan, seed)["head.weight"] for seed in (0, 0, 1))
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_records_say_what_the_confusion_says(data, step_training):
    results, noted = go(data, make_plan(step_training))
    rows = step_rows(NAME, STEPS, results, "a key")
    for table in TABLES:
        for row in rows[table]:
            assert {name: row[name] for name in vars(NAME)} == vars(NAME)
            assert list(row)[-1] == "key" and row["key"] == "a key"
    assert [r["classes_seen"] for r in rows["records"]] == [4, 6, 8]
    assert [len(confusion_from_text(r["counts"])) for r in rows["confusion"]] == [4, 6, 8]
    assert [(r["step"], r["of_step"]) for r in rows["matrix"]] == [
        (0, 0), (1, 0), (1, 1), (2, 0), (2, 1), (2, 2),
    ]  # fmt: skip
    last = results[-1].confusion
    assert last.sum() == 8 * 10  # every test clip of the classes seen, once
    record = rows["records"][-1]
    assert record["accuracy"] == pytest.approx(100 * np.trace(last) / 80)
    assert record["old_accuracy"] == pytest.approx(100 * np.trace(last[:6, :6]) / 60)
    assert record["new_accuracy"] == pytest.approx(100 * np.trace(last[6:, 6:]) / 20)
    assert record["memory_bytes"] == 6 * (20 // 6) * CLIP
    assert record["validation_bytes"] == 6 * 4 * CLIP
    weights = noted.learners[-1].network.state_dict().values()
    two_rows = 2 * (8 + 1) * 4
    assert record["teacher_bytes"] == sum(v.nbytes for v in weights) - two_rows
    # Each phase has 9 updates, each of 8 new clips and 8 of the balanced set.
    assert [r["updates"] for r in rows["records"]] == [12, 18, 18]
    assert [r["clips_passed"] for r in rows["records"]] == [0, 18 * 16, 18 * 16]


@pytest.mark.parametrize(
    ("losses", "order", "updates", "clips"),
    [
        ("CE_N+CE_O", "together", {"head_first": 3, "then_all": 5}, 8 * (8 + 8)),
        ("CE_N", "together", {"head_first": 3, "then_all": 5}, 8 * 8),  # new clips alone
        # The balanced set has a phase of its own, as long as `then_all`.
        ("CE_N+CE_O", "in_turn", {"head_first": 3, "then_all": 5, "balanced": 5}, 13 * 8),
    ],
)
def test_updates_and_clips_passed_by_hand(data, step_training, losses, order, updates, clips):
    training = replace(step_training, head_first=phase(3), then_all=phase(5))
    plan = make_plan(training, validation="new_only")
    results, _ = go(data, replace(plan, config=replace(CONFIG, losses=losses, order=order)))
    assert results[0].updates == {"base": 12} and results[0].clips_passed == 0
    assert [result.updates for result in results[1:]] == [updates, updates]
    assert [result.clips_passed for result in results[1:]] == [clips, clips]


def test_a_phase_that_stops_early_counts_the_updates_that_it_made(data, step_training):
    # Without a rate and with all blocks frozen every check is as good as the first, after update 3:
    # the second one without a better result is after update 9.
    head_first = replace(phase(60, patience=2, rate=0.0), checks=20)
    training = replace(step_training, head_first=head_first, then_all=phase(0), frozen_blocks=4)
    results, _ = go(data, make_plan(training))
    for result in results[1:]:
        assert result.updates == {"head_first": 9, "then_all": 0}
        assert result.clips_passed == 9 * 16


@pytest.mark.parametrize(("measured", "each"), [("test", 10), ("held_out", 14)])
def test_held_out_accuracy_counts_validation_and_test_clips(data, step_training, measured, each):
    results, _ = go(data, replace(make_plan(quick(step_training)), measured=measured))
    for n_seen, result in zip((4, 6, 8), results, strict=True):
        assert result.confusion.sum(axis=1).tolist() == [each] * n_seen


@pytest.mark.parametrize(("rate", "length"), [(None, 1.0), (0.7, 1.0), (None, 2.5), (0.7, 0.5)])
def test_a_method_may_set_the_rate_of_the_whole_network_and_the_length_of_all_phases(
    data, step_training, rate, length
):
    plan = make_plan(step_training)
    plan = replace(plan, config=replace(CONFIG, learning_rate=rate, length=length))
    _, noted = go(data, plan)
    assert noted.training == [training_of(plan)] * 2
    training = noted.training[0]
    phases = training.head_first, training.then_all, training.whole
    assert [phase.learning_rate for phase in phases] == [0.1, rate or 0.02, rate or 0.02]
    assert [phase.updates for phase in phases] == [round(n * length) for n in (9, 9, 18)]


@pytest.mark.parametrize(("changes", "clips"), [({"memory": "all"}, 80), ({"bits": 8}, 4 * 16)])
def test_the_official_cut_keeps_to_the_bytes_that_there_are(data, step_training, changes, clips):
    plan = make_plan(quick(step_training), 24, "official")
    results, _ = go(data, replace(plan, config=replace(CONFIG, **changes)))
    bits = changes.get("bits", 32)
    assert results[1].memory_bytes == clips * 8 * 8 * bits // 8


class Costly(Noted):
    """A method that says what it keeps."""

    def __init__(self, cost):
        super().__init__()
        self.cost = lambda network, n_seen, config: cost


@pytest.mark.parametrize(
    ("cost", "bits", "n_exemplars"),
    [
        (Cost(), 32, 20),
        (Cost(fixed=CLIP - 1), 32, 20),  # smaller than a clip: it takes none away
        (Cost(fixed=CLIP), 32, 19),
        (Cost(fixed=CLIP + 1), 32, 18),
        (Cost(fixed=20 * CLIP), 32, 0),
        (Cost(fixed=99 * CLIP), 32, 0),  # never below none
        (Cost(per_exemplar=1), 32, 19),  # 20 * 256 // 257
        (Cost(), 8, 80),
        (Cost(fixed=CLIP - 1), 8, 80),
        (Cost(fixed=CLIP, per_exemplar=32), 8, 50),  # 19 * 256 // (64 + 32) is 50.7
        (Cost(share=0.1), 32, 16),  # of 5 clips of each of 4 classes one is held apart
        (Cost(share=0.25), 32, 12),  # two
        (Cost(fixed=CLIP + 1, share=0.1), 32, 12),  # 18 clips: 4 of each class, and one held apart
    ],
)
def test_state_of_a_method_leaves_fewer_exemplars_by_hand(
    data, step_training, cost, bits, n_exemplars
):
    plan = replace(make_plan(step_training), config=replace(CONFIG, bits=bits))
    assert exemplar_budget(Run(data, plan, Costly(cost), 0), base_learner(), 4) == n_exemplars


@pytest.mark.parametrize(("memory", "n_exemplars"), [("none", 0), ("all", 4 * 160)])
def test_a_method_without_memory_or_with_all_of_it_has_no_budget(
    data, step_training, memory, n_exemplars
):
    plan = replace(make_plan(step_training), config=replace(CONFIG, memory=memory))
    assert exemplar_budget(Run(data, plan, Costly(Cost(999)), 0), base_learner(), 4) == n_exemplars
