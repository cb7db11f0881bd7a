"""Every method of the study, and every file of mtcil/methods: two steps of a tiny trajectory."""

import re
from dataclasses import replace
from functools import cache
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from conftest import blobs
from untrained import TINY, TRAINING, network_of

from mtcil.core.errors import UserError
from mtcil.core.lookup import find, names
from mtcil.learning.clips import Clips
from mtcil.learning.learner import RULES, Learner, from_plain, predict, to_plain
from mtcil.learning.network import copy_state
from mtcil.learning.split import SplitData
from mtcil.learning.steps import Cost
from mtcil.learning.trajectory import Plan, advance, affordable, start
from mtcil.running.jobs import method_settings
from mtcil.settings.files import read_study
from mtcil.settings.sections import MemorySettings

# Files that the study may not use, with settings of ours.
OURS = {
    "recipe": {
        "kd_weight": 1.0,
        "temperature": 2.0,
        "classifier": "nearest_mean",
        "rivals": "all",
        "augmentation": {"shift": 1, "mask_frames": 2, "mask_bins": 2},
    }
}
STUDY = read_study(Path(__file__).parents[1] / "params.yaml")
STUDY = replace(STUDY, methods={**OURS, **STUDY.methods})
LABELS = sorted(STUDY.methods)
QUICK = {"epochs": 3, "updates": 20}  # instead of the study's, where a method has them
STEPS = (4, 2, 2)
CLIP = 8 * 8 * 4  # bytes


def settings_of(label):
    """The file of a method and its settings, made quick."""
    kind, config = method_settings(STUDY, label)
    quick = {name: value for name, value in QUICK.items() if hasattr(config, name)}
    return kind, replace(config, **quick)


def cost_of(state, plan, n_seen):
    method = find("methods", plan.method)
    if not hasattr(method, "cost"):
        return Cost(0)
    return method.cost(state.learner.network, n_seen, plan.config)


LIMITED = [label for label in LABELS if settings_of(label)[1].memory == "exemplars"]
FREE = [label for label in LIMITED if not hasattr(find("methods", settings_of(label)[0]), "cost")]


@cache
def made_data():
    """Eight classes: 20 training, 3 test and 2 validation clips of each."""
    parts = {"train": blobs(20, 8, 0), "test": blobs(3, 8, 1), "validation": blobs(2, 8, 2)}
    return SplitData(tuple(map(str, range(8))), {}, **parts)


def plan_of(label, exemplars=24, **changes):
    kind, config = settings_of(label)
    config = replace(config, **changes)
    memory = MemorySettings("herding")
    return Plan(STEPS, kind, config, TRAINING, memory, exemplars, TINY), find("methods", kind)


def go(label, seed=0, exemplars=24, method=None, **changes):
    """States after the base step and after each of two incremental ones, and the plan."""
    plan, found = plan_of(label, exemplars, **changes)
    states = [start(Learner(network_of(4)), made_data(), plan, method or found, seed)]
    for _ in STEPS[1:]:
        states.append(advance(states[-1], made_data(), plan, method or found, seed))
    return states, plan


@cache
def went(label):
    return go(label)


def bytes_of(state, bits=32):
    """Of exemplars, and of tensors."""
    n_exemplars = sum(map(len, state.memory))
    return n_exemplars * CLIP * bits // 32, sum(t.nbytes for t in state.learner.tensors.values())


def test_every_file_is_tested():
    assert {settings_of(label)[0] for label in LABELS} == set(names("methods"))


def test_memory_is_what_the_study_says_of_its_bounds():
    memory = {label: settings_of(label)[1].memory for label in LABELS}
    without = {label for label, kind in memory.items() if kind == "none"}
    assert without >= {"finetune", "lwf", "ewc", "mas", "generative_replay"}
    assert memory["joint"] == "all" and memory["replay"] == memory["lwf_replay"] == "exemplars"


@pytest.mark.parametrize("label", LABELS)
def test_a_method_learns_all_classes_within_its_bytes(label):
    states, plan = went(label)
    for state, n_seen in zip(states, (4, 6, 8), strict=True):
        learner = state.learner
        assert learner.n_classes == n_seen and learner.rule in RULES
        assert not learner.network.training
        cost = cost_of(state, plan, n_seen)
        of_exemplars, of_tensors = bytes_of(state, plan.config.bits)
        assert of_tensors <= cost.fixed + cost.per_exemplar * sum(map(len, state.memory))
        if plan.config.memory == "exemplars":
            assert of_exemplars + of_tensors <= 24 * CLIP
            assert len({len(rows) for rows in state.memory}) == 1 and len(state.memory[0]) > 0
        if plan.config.memory == "none":
            assert of_exemplars == 0
        if plan.config.memory == "all":
            assert of_exemplars == n_seen * 20 * CLIP
    for before, after in pairwise(states):
        result = after.results[-1]
        assert (result.memory_bytes, result.state_bytes) == bytes_of(before, plan.config.bits)
        assert sum(result.epochs.values()) > 0


@pytest.mark.parametrize("label", LABELS)
def test_a_step_does_not_change_the_learner_given(label):
    plan, method = plan_of(label)
    state = start(Learner(network_of(4)), made_data(), plan, method, 0)
    for _ in STEPS[1:]:
        network, tensors = copy_state(state.learner.network), dict(state.learner.tensors)
        copies = {name: value.clone() for name, value in tensors.items()}
        after = advance(state, made_data(), plan, method, 0)
        for name, value in state.learner.network.state_dict().items():
            assert torch.equal(network[name], value), name
        assert set(state.learner.tensors) == set(copies)
        assert all(torch.equal(copies[n], v) for n, v in state.learner.tensors.items())
        assert after.learner.network is not state.learner.network
        state = after


def flat(state):
    plain = to_plain(state.learner)
    return {
        **plain["network"], **plain["tensors"],
        **{f"memory {i}": rows for i, rows in enumerate(state.memory)},
    }  # fmt: skip


@pytest.mark.parametrize("label", LABELS)
def test_the_same_seed_gives_the_same_bits_and_another_seed_others(label):
    first, again = (flat(states[-1]) for states in (went(label)[0], go(label)[0]))
    assert set(first) == set(again)
    assert all(torch.equal(first[name], again[name]) for name in first)
    other = flat(go(label, seed=1)[0][-1])
    assert not torch.equal(first["head.weight"], other["head.weight"])


@pytest.mark.parametrize("label", LABELS)
def test_a_learner_survives_being_made_plain(label):
    states, plan = went(label)
    method, x = find("methods", plan.method), made_data().test.features
    for state in states:
        learner = from_plain(to_plain(state.learner), TINY, torch.device("cpu"))
        assert torch.equal(predict(learner, x), predict(state.learner, x))
        assert (learner.rule, learner.epochs) == (state.learner.rule, state.learner.epochs)
    learner = from_plain(to_plain(states[1].learner), TINY, torch.device("cpu"))
    went_on = advance(replace(states[1], learner=learner), made_data(), plan, method, 0)
    wanted, found = flat(states[2]), flat(went_on)
    assert wanted.keys() == found.keys()
    assert all(torch.equal(wanted[name], found[name]) for name in wanted)


@pytest.mark.parametrize("exemplars", [0, 3, 7])
@pytest.mark.parametrize("label", LABELS)
def test_a_method_works_with_few_exemplars_and_with_none(label, exemplars):
    states, plan = go(label, exemplars=exemplars)
    for state, n_seen in zip(states, (4, 6, 8), strict=True):
        assert state.learner.n_classes == n_seen
        assert state.results[-1].confusion.sum() == 3 * n_seen
        if plan.config.memory == "exemplars" and exemplars * 32 // plan.config.bits < n_seen:
            assert sum(map(len, state.memory)) == 0


def spied(method):
    """The method, and a list of what it is given: (learner, StepClips) or (clips, memory)."""
    given = []

    def learn_step(learner, clips, *rest):
        given.append((learner.n_classes, clips.new, clips.memory, clips.validation))
        return method.learn_step(learner, clips, *rest)

    def keep(learner, clips, memory, *rest):
        given.append((len(clips.labels.unique()), clips, memory, None))
        return method.keep(learner, clips, memory, *rest)

    both = {"learn_step": learn_step, "keep": keep, "cost": getattr(method, "cost", None)}
    return SimpleNamespace(**{n: f for n, f in both.items() if hasattr(method, n)}), given


@pytest.mark.parametrize("label", LABELS)
def test_a_method_sees_the_clips_that_it_may(label):
    plan, method = plan_of(label)
    spy, given = spied(method)
    state = start(Learner(network_of(4)), made_data(), plan, spy, 0)
    for n_old in (4, 6):
        given.clear()
        state = advance(state, made_data(), plan, spy, 0)
        _, new, memory, validation = given[0]
        assert set(new.labels.tolist()) == {n_old, n_old + 1} and len(new) == 40
        assert set(validation.labels.tolist()) == {n_old, n_old + 1}  # `new_only`
        kept = {"none": 0, "all": 20 * n_old}.get(plan.config.memory)
        most = 24 * 32 // plan.config.bits
        assert set(memory.labels.tolist()) <= set(range(n_old))
        assert len(memory) == kept if kept is not None else 0 < len(memory) <= most
        for _, clips, exemplars, _ in given[1:]:
            assert set(clips.labels.tolist()) == {n_old, n_old + 1}
            assert len(exemplars) == sum(map(len, state.memory))
            assert len(exemplars) == 0 or plan.config.memory != "none"


@pytest.mark.parametrize("label", LIMITED)
def test_fewer_bits_hold_more_exemplars_in_the_same_bytes(label):
    plan, method = plan_of(label, 16, bits=8)
    spy, given = spied(method)
    state = start(Learner(network_of(4)), made_data(), plan, spy, 0)
    assert sum(bytes_of(state, 8)) <= 16 * CLIP
    cost = cost_of(state, plan, 4)
    room = (16 * CLIP - cost.fixed) // (CLIP // 4 + cost.per_exemplar)
    assert [len(rows) for rows in state.memory] == [room // 4] * 4
    if label in FREE:
        assert room == 4 * 16
    given.clear()
    after = advance(state, made_data(), plan, spy, 0)
    assert after.results[-1].memory_bytes == bytes_of(state, 8)[0]
    levels = given[0][2].features * 127 / 6  # of the exemplars that it sees
    torch.testing.assert_close(levels, levels.round(), atol=1e-3, rtol=0)
    assert not torch.allclose(given[0][1].features, given[0][1].features.round(decimals=1))


@pytest.mark.parametrize("bits", [8, 16, 32])
def test_the_room_is_k_clips_less_what_the_method_keeps(bits):
    plan, _ = plan_of("replay", 10, bits=bits)
    learner, train = Learner(network_of(4)), made_data().train
    method = SimpleNamespace(cost=lambda network, n_seen, config: Cost(100 * n_seen, 7))
    room = (10 * CLIP - 400) // (CLIP * bits // 32 + 7)
    assert affordable(learner, train, plan, method, 4) == room
    assert affordable(learner, train, replace(plan, exemplars=1), method, 4) == 0
    assert affordable(learner, train, plan, SimpleNamespace(), 4) == 10 * 32 // bits


@pytest.mark.parametrize("exemplars", [8, 16])
def test_gdumb_learns_from_as_many_of_each_class_as_k_allows(monkeypatch, exemplars):
    # K = 16: 2 of each of 6 classes, then 2 of each of 8; but 12 exemplars // 8 classes is 1.
    method, used = find("methods", "gdumb"), []
    whole = method.shuffled_rows
    monkeypatch.setattr(method, "shuffled_rows", lambda n, t: used.append(n) or whole(n, t))
    go("gdumb", exemplars=exemplars)
    assert used == [exemplars // 6 * 6, exemplars // 8 * 8]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"bits": 7}, "bits: must be 8, 16 or 32, got the number 7."),
        ({"bits": 64}, "bits: must be 8, 16 or 32, got the number 64."),
        ({"bits": "8"}, "bits: must be 8, 16 or 32, got the text '8'."),
        ({"learning_rate": 0.0}, "learning_rate: must be greater than 0, got the number 0.0."),
        ({"learning_rate": -0.1}, "learning_rate: must be greater than 0, got the number -0.1."),
        ({"memory": "some"}, "memory: must be 'exemplars', 'none' or 'all', got the text 'some'."),
        ({"tyo": 1}, "tyo: unknown key. Known keys: memory, bits, learning_rate"),
    ],
    ids=str,
)
def test_settings_that_every_method_refuses(changes, message):
    for label in LABELS:
        with pytest.raises(UserError, match=re.escape(message)) as refused:
            method_settings(STUDY, label, changes)
        assert str(refused.value).startswith(f"settings.yaml: methods.{label} with {changes}"), (
            label
        )


@pytest.mark.parametrize(
    ("label", "changes"),
    [
        ("lwf", {"kd_weight": -0.1}), ("lwf", {"temperature": 0.0}), ("ewc", {"strength": -1.0}),
        ("mas", {"strength": -1.0}), ("bic", {"temperature": 0.0}), ("bic", {"held_share": 0.0}),
        ("bic", {"held_share": 1.0}), ("wa", {"temperature": 0.0}), ("lucir", {"margin": -0.1}),
        ("lucir", {"less_forget": -0.1}), ("lucir", {"hardest": 0}), ("eeil", {"kd_weight": -0.1}),
        ("eeil", {"temperature": 0.0}), ("eeil", {"balanced_rate": 0.0}),
        ("ss_il", {"kd_weight": -0.1}), ("ss_il", {"temperature": 0.0}), ("gdumb", {"epochs": 0}),
        ("der_pp", {"alpha": -0.1}), ("der_pp", {"beta": -0.1}),
        ("generative_replay", {"feature_weight": -0.1}), ("generative_replay", {"latent": 0}),
        ("generative_replay", {"hidden": 0}), ("generative_replay", {"updates": 0}),
        ("generative_replay", {"rate": 0.0}), ("recipe", {"kd_weight": -0.1}),
        ("recipe", {"temperature": 0.0}), ("recipe", {"classifier": "furthest_mean"}),
        ("recipe", {"rivals": "old"}),
    ],
)  # fmt: skip
def test_settings_that_one_method_refuses(label, changes):
    (name,) = changes
    with pytest.raises(UserError, match=rf"^settings.yaml: methods.{label} with .*{name}: must be"):
        method_settings(STUDY, label, changes)


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"kind": "tyo"}, r"No mtcil.methods called 'tyo'. There are: .*To add one"),
        ({"kind": "__init__"}, r"No mtcil.methods called '__init__'"),
        ({"kind": 3}, r"methods.mine.kind must be a file of mtcil/methods"),
        ({"kind": "finetune", "tyo": 1}, r"methods.mine.tyo: unknown key. Known keys: memory, bi"),
        ({"kind": "lwf", "temperature": 2.0}, r"methods.mine.kd_weight: is missing. Add it."),
    ],
)
def test_a_section_that_is_not_right_gives_one_message(section, message):
    study = replace(STUDY, methods={**STUDY.methods, "mine": section})
    with pytest.raises(UserError, match=message):
        method_settings(study, "mine")


def test_a_method_without_a_section_is_named():
    with pytest.raises(UserError, match=r"methods.recipe is missing, but a row asks for it. Add"):
        method_settings(replace(STUDY, methods={}), "recipe")
    with pytest.raises(UserError, match=r"No mtcil.methods called 'tyo'. There are: bic, .*To add"):
        method_settings(STUDY, "tyo")


@pytest.mark.parametrize("rate", [None, 0.5])
def test_the_methods_own_learning_rate_is_that_of_then_all(rate):
    plan, method = plan_of("replay", learning_rate=rate)
    rates = []

    def learn_step(learner, clips, training, *rest):
        rates.append((training.head_first.learning_rate, training.then_all.learning_rate))
        return method.learn_step(learner, clips, training, *rest)

    spy = SimpleNamespace(learn_step=learn_step)
    advance(start(Learner(network_of(4)), made_data(), plan, spy, 0), made_data(), plan, spy, 0)
    assert rates == [(0.1, rate or 0.05)]


def test_the_tiny_clips_are_what_the_bytes_say():
    assert isinstance(made_data().train, Clips) and made_data().train.features[0].nbytes == CLIP
