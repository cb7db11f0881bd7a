"""Every method of the study, and every file of mtcil/methods: two steps of a tiny trajectory."""

import os
import re
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from conftest import blobs
from untrained import TINY, TRAINING, network_of, state_after

from mtcil.core.errors import UserError
from mtcil.core.lookup import find, names
from mtcil.learning.clips import Clips, of_labels
from mtcil.learning.fit import Fit, Seeds, Trained, namespace
from mtcil.learning.learner import Learner
from mtcil.learning.network import backbone_of, copy_state, network_from_state
from mtcil.learning.split import SplitData
from mtcil.learning.steps import Cost, StepClips
from mtcil.learning.trajectory import Plan, Run, StepResult, exemplar_budget, trajectory
from mtcil.methods import lucir
from mtcil.running.alone import _batches, train
from mtcil.running.batches import training_copy
from mtcil.running.jobs import method_settings
from mtcil.settings.files import read_study
from mtcil.settings.training import MemorySettings

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
STUDY = read_study(Path(__file__).parents[2] / "params.yaml")
STUDY = replace(STUDY, methods={**OURS, **STUDY.methods})
LABELS = sorted(STUDY.methods)
STEPS = (4, 2, 2)
CLIP = 8 * 8 * 4  # bytes


def settings_of(label):
    """The file of a method and its settings; few updates of what a method trains for itself."""
    kind, config = method_settings(STUDY, label)
    return kind, replace(config, updates=20) if hasattr(config, "updates") else config


LIMITED = [label for label in LABELS if settings_of(label)[1].memory == "exemplars"]


@cache
def made_data():
    """Eight classes: 20 training, 3 test and 2 validation clips of each."""
    parts = {"train": blobs(20, 8, 0), "test": blobs(3, 8, 1), "validation": blobs(2, 8, 2)}
    return SplitData(tuple(map(str, range(8))), {}, **parts)


@dataclass
class Seen:
    """What a method was given and gave: at each step, the base step first."""

    results: list[StepResult] = field(default_factory=list)
    learners: list[Learner] = field(default_factory=list)  # after each step
    memories: list[Clips] = field(default_factory=list)  # after each step
    clips: list[Clips] = field(default_factory=list)  # what `state_after` was given
    steps: list[StepClips] = field(default_factory=list)  # of the incremental steps
    fits: list[Fit] = field(default_factory=list)
    trained: list[Trained] = field(default_factory=list)


def spied(method, seen):
    """The method, which notes what it is given and gives."""

    def learn_step(learner, clips, config, training, seeds):
        seen.steps.append(clips)
        return method.learn_step(learner, clips, config, training, seeds)

    def state_after(learner, clips, memory, config, seeds):
        kept = yield from method.state_after(learner, clips, memory, config, seeds)
        seen.learners.append(kept)
        seen.memories.append(memory)
        seen.clips.append(clips)
        return kept

    return SimpleNamespace(
        learn_step=learn_step,
        state_after=state_after,
        predict=method.predict,
        cost=method.cost,
    )


def plan_of(label, exemplars=24, **changes):
    kind, config = settings_of(label)
    config = replace(config, **changes)
    memory = MemorySettings("herding")
    return Plan(STEPS, kind, config, TRAINING, "new_only", 0.2, memory, exemplars, TINY)


def go(label, seed=0, exemplars=24, method=None, **changes):
    """Everything about a run of two incremental steps, and its plan."""
    plan, seen = plan_of(label, exemplars, **changes), Seen()
    method = spied(method or find("methods", plan.method), seen)
    steps = trajectory(Run(made_data(), plan, method, seed), Learner(network_of(4)), 0)
    try:
        fit = next(steps)
        while True:
            seen.fits.append(fit)
            seen.trained.append(train(fit))
            fit = steps.send(seen.trained[-1])
    except StopIteration as ended:
        seen.results = ended.value
    return seen, plan


# `make mutants` changes the code within one process, where a saved run would hide the change.
went = go if "MUTANT_UNDER_TEST" in os.environ else cache(go)


def bytes_of(memory, learner, bits=32):
    """Of exemplars, and of what else is kept."""
    apart = 0 if learner.apart is None else len(learner.apart) * CLIP
    return len(memory) * CLIP * bits // 32, apart + sum(t.nbytes for t in learner.tensors.values())


def test_every_file_is_tested():
    assert {settings_of(label)[0] for label in LABELS} == set(names("methods"))


def test_every_file_states_everything_of_a_method():
    for name in names("methods"):
        method = find("methods", name)
        for stated in ("Config", "learn_step", "state_after", "predict", "cost"):
            assert callable(getattr(method, stated)), (name, stated)


def test_memory_is_what_the_study_says_of_its_bounds():
    memory = {label: settings_of(label)[1].memory for label in LABELS}
    without = {label for label, kind in memory.items() if kind == "none"}
    assert without >= {"finetune", "lwf", "ewc", "mas", "generative_replay"}
    assert memory["joint"] == "all" and memory["replay"] == memory["lwf_replay"] == "exemplars"


@pytest.mark.parametrize("label", LABELS)
def test_a_method_learns_all_classes_within_its_bytes(label):
    seen, plan = went(label)
    method = find("methods", plan.method)
    for learner, memory, n_seen in zip(seen.learners, seen.memories, (4, 6, 8), strict=True):
        assert learner.n_classes == n_seen and not learner.network.training
        cost = method.cost(learner.network, n_seen, plan.config)
        of_exemplars, of_tensors = bytes_of(memory, learner, plan.config.bits)
        stated = cost.fixed + cost.per_exemplar * len(memory) + cost.share * 24 * CLIP
        if not cost.share:
            assert of_tensors <= stated
        if plan.config.memory == "exemplars":
            assert within_k(of_exemplars, of_tensors, 24, cost)
            assert len(set(torch.bincount(memory.labels, minlength=n_seen).tolist())) == 1
            assert len(memory) > 0
        if plan.config.memory == "none":
            assert of_exemplars == 0
        if plan.config.memory == "all":
            assert of_exemplars == n_seen * 20 * CLIP


def within_k(of_exemplars, of_tensors, exemplars, cost):
    """Whether all fits into K clips. State smaller than a clip is not counted: of a method that
    holds clips itself, their labels are such a state as well."""
    if cost.fixed < CLIP and not cost.per_exemplar:
        of_tensors = of_tensors // CLIP * CLIP
    return of_exemplars + of_tensors <= exemplars * CLIP


@pytest.mark.parametrize("label", LABELS)
def test_results_say_what_was_kept_and_trained(label):
    seen, plan = went(label)
    made = [(f, t.updates) for f, t in zip(seen.fits, seen.trained, strict=True)]
    for step in (1, 2):
        result, learner = seen.results[step], seen.learners[step - 1]
        of_exemplars, of_tensors = bytes_of(seen.memories[step - 1], learner, plan.config.bits)
        assert (result.memory_bytes, result.state_bytes) == (of_exemplars, of_tensors)
        own = [(fit, n) for fit, n in made if fit.seeds.step == step]
        assert result.updates == {fit.name: n for fit, n in own}
        of_network = [(fit, n) for fit, n in own if fit.name != "decoder"]
        assert sum(n for _, n in of_network) == TRAINING.whole.updates
        assert result.clips_passed == sum(n * fit.clips_per_update for fit, n in of_network)
        assert not result.diverged


@pytest.mark.parametrize("label", LABELS)
def test_learnt_weights_are_finite(label):
    seen, plan = went(label)
    method = find("methods", plan.method)
    for learner, n_seen in zip(seen.learners, (4, 6, 8), strict=True):
        values = [*learner.network.state_dict().values(), *learner.tensors.values()]
        assert all(value.isfinite().all() for value in values)
        predicted = method.predict(learner, made_data().test.features)
        assert predicted.dtype == torch.int64 and predicted.shape == (24,)
        assert predicted.min() >= 0 and predicted.max() < n_seen
    assert all(
        value.isfinite().all()
        for trained in seen.trained
        for value in trained.module.state_dict().values()
    )


@pytest.mark.parametrize("label", LABELS)
def test_a_loss_is_a_function_of_its_own_file_and_its_phases_are_named_apart(label):
    # So that it can be vmapped over runs, and so that no two phases draw the same batches.
    seen, _ = went(label)
    for fit in seen.fits:
        assert fit.loss.__qualname__ == fit.loss.__name__ and fit.loss.__name__.endswith("_loss")
        hash(fit.choices)  # runs with equal choices are trained together
    for step in range(3):
        own = [fit.name for fit in seen.fits if fit.seeds.step == step]
        assert len(set(own)) == len(own)


@pytest.mark.parametrize("label", LABELS)
def test_a_step_does_not_change_the_learner_given(label):
    method, noted = find("methods", settings_of(label)[0]), []

    def learn_step(learner, *rest):
        copies = copy_state(learner.network), {k: v.clone() for k, v in learner.tensors.items()}
        noted.append((learner, *copies))
        learnt = yield from method.learn_step(learner, *rest)
        assert learnt.network is not learner.network
        return learnt

    spy = {"learn_step": learn_step, "state_after": method.state_after}
    go(label, method=SimpleNamespace(**spy, predict=method.predict, cost=method.cost))
    assert len(noted) == 2
    for learner, network, tensors in noted:
        for name, value in learner.network.state_dict().items():
            assert torch.equal(network[name], value), name
        assert set(learner.tensors) == set(tensors)
        assert all(torch.equal(tensors[name], v) for name, v in learner.tensors.items())


def flat(seen):
    """Everything that a run ends with."""
    learner = seen.learners[-1]
    return {**learner.network.state_dict(), **learner.tensors, "memory": seen.memories[-1].features}


@pytest.mark.parametrize("label", LABELS)
def test_the_same_seed_gives_the_same_bits_and_another_seed_others(label):
    torch.seed()  # torch's own generator must not count
    first, again = (flat(seen) for seen in (went(label)[0], go(label)[0]))
    assert set(first) == set(again)
    assert all(torch.equal(first[name], again[name]) for name in first)
    other = flat(go(label, seed=1)[0])
    assert not torch.equal(first["head.weight"], other["head.weight"])


@pytest.mark.parametrize("label", LABELS)
def test_a_learner_is_its_tensors_and_nothing_else(label):
    # Read back from plain tensors, it predicts the same: no pickle is needed to keep it.
    seen, plan = went(label)
    method, x = find("methods", plan.method), made_data().test.features
    for learner in seen.learners:
        assert all(type(value) is torch.Tensor for value in learner.tensors.values())
        assert not any(value.requires_grad for value in learner.tensors.values())
        network = network_from_state(TINY, copy_state(learner.network)).eval()
        again = Learner(network, {k: v.clone() for k, v in learner.tensors.items()})
        assert torch.equal(method.predict(again, x), method.predict(learner, x))


@pytest.mark.parametrize("exemplars", [0, 3, 7])
@pytest.mark.parametrize("label", LABELS)
def test_a_method_works_with_few_exemplars_and_with_none(label, exemplars):
    seen, plan = go(label, exemplars=exemplars)
    steps = zip(seen.results, seen.learners, seen.memories, (4, 6, 8), strict=True)
    for result, learner, memory, n_seen in steps:
        assert learner.n_classes == n_seen
        assert result.confusion.sum() == 3 * n_seen
        if plan.config.memory == "exemplars" and exemplars * 32 // plan.config.bits < n_seen:
            assert len(memory) == 0


@pytest.mark.parametrize("label", LABELS)
def test_a_method_sees_the_clips_that_it_may(label):
    seen, plan = went(label)
    for step, n_old in ((1, 4), (2, 6)):
        clips = seen.steps[step - 1]
        assert (clips.n_old, clips.n_new) == (n_old, 2)
        for new in (clips.new, seen.clips[step]):
            assert set(new.labels.tolist()) == {n_old, n_old + 1} and len(new) == 40
        assert set(clips.validation.labels.tolist()) == {n_old, n_old + 1}  # `new_only`
        kept = {"none": 0, "all": 20 * n_old}.get(plan.config.memory)
        most = 24 * 32 // plan.config.bits
        assert set(clips.memory.labels.tolist()) <= set(range(n_old))
        assert len(clips.memory) == kept if kept is not None else 0 < len(clips.memory) <= most
        after = seen.memories[step]
        assert len(after) == 0 or plan.config.memory != "none"
        if plan.config.memory == "exemplars":
            assert len(after) == clips.per_class * (n_old + 2)


@pytest.mark.parametrize("label", LIMITED)
def test_fewer_bits_hold_more_exemplars_in_the_same_bytes(label):
    seen, plan = go(label, exemplars=16, bits=8)
    method, learner = find("methods", plan.method), seen.learners[0]
    cost = method.cost(learner.network, 4, plan.config)
    fixed = cost.fixed if cost.fixed >= CLIP else 0
    if cost.share:  # 4 clips of each class; 1 of them is held apart, at 32 bits a value
        assert cost.share <= 0.25 and fixed == 0
        room = 4 * 4 * (4 - 1)
        assert torch.bincount(learner.apart.labels).tolist() == [1] * 4
    else:
        room = (16 * CLIP - fixed) // (CLIP // 4 + cost.per_exemplar)
    assert torch.bincount(seen.memories[0].labels).tolist() == [room // 4] * 4
    if cost == Cost():
        assert room == 4 * 16
    assert seen.results[1].memory_bytes == len(seen.memories[0]) * CLIP // 4
    levels = seen.steps[0].memory.features * 127 / 6  # of the exemplars that it sees
    torch.testing.assert_close(levels, levels.round(), atol=1e-3, rtol=0)
    new = seen.steps[0].new.features
    assert not torch.allclose(new, new.round(decimals=1))


def room_of(plan, cost, n_seen=4):
    """Exemplars that fit beside what a method keeps."""
    method = SimpleNamespace(cost=lambda network, n_seen, config: cost)
    return exemplar_budget(Run(made_data(), plan, method, 0), Learner(network_of(4)), n_seen)


@pytest.mark.parametrize("bits", [8, 16, 32])
def test_the_room_is_k_clips_less_what_the_method_keeps(bits):
    plan = plan_of("replay", 10, bits=bits)
    room = (10 * CLIP - 400) // (CLIP * bits // 32 + 7)
    assert room_of(plan, Cost(400, 7)) == room
    assert room_of(replace(plan, exemplars=1), Cost(400, 7)) == 0
    assert room_of(plan, Cost()) == 10 * 32 // bits


def test_state_smaller_than_a_clip_costs_no_exemplar():
    plan = plan_of("replay", 24)
    assert room_of(plan, Cost(CLIP - 1)) == room_of(plan, Cost()) == 24
    assert room_of(plan, Cost(CLIP)) == 23
    assert room_of(plan, Cost(CLIP + 1)) == 22


@pytest.mark.parametrize(
    ("label", "kept"),
    [
        ("ccil", Cost()), ("best_recipe", Cost()), ("wa", Cost()),
        ("icarl", Cost(6 * 4 * 4)),  # the mean embedding of each class: 4 numbers of 4 bytes
        ("recipe", Cost(6 * 4 * 4)),
        ("lucir", Cost(4)),
        ("der_pp", Cost(per_exemplar=6 * 4)),
    ],
    ids=str,
)  # fmt: skip
def test_what_six_classes_cost_by_hand(label, kept):
    kind, config = settings_of(label)
    assert find("methods", kind).cost(network_of(6), 6, config) == kept


@pytest.mark.parametrize("label", LABELS)
def test_every_phase_of_the_network_stops_early_on_the_steps_validation_clips(label):
    seen, _ = went(label)
    for fit in seen.fits:
        if fit.name == "decoder":
            continue
        wanted = seen.steps[fit.seeds.step - 1].validation
        assert torch.equal(fit.validation.rows["features"], wanted.features)
        assert torch.equal(fit.validation.rows["labels"], wanted.labels)
        logits = fit.validation.logits(fit.network, wanted.features)
        assert logits.shape == (len(wanted), sum(STEPS[: fit.seeds.step + 1]))


def test_lucirs_scale_costs_no_exemplar():
    # 4 bytes: with K = 24 there are 4 exemplars of each of 6 classes, as for replay.
    plan = plan_of("lucir", 24)
    run = Run(made_data(), plan, lucir, 0)
    assert exemplar_budget(run, Learner(network_of(6)), 6) == 24
    for of_lucir, of_replay in zip(
        went("lucir")[0].memories, went("replay")[0].memories, strict=True
    ):
        assert len(of_lucir) == len(of_replay) == 24


@pytest.mark.parametrize("bits", [8, 32])
def test_a_share_of_k_is_taken_off_each_class_rounded_up(bits):
    # K = 30, 4 classes: 7 clips of each, of which 0.2, rounded up, are 2: 5 are left.
    plan = plan_of("replay", 30, bits=bits)
    assert room_of(plan, Cost(share=0.2)) == 4 * 5 * 32 // bits
    assert room_of(plan, Cost(share=0.1)) == 4 * 6 * 32 // bits
    assert room_of(replace(plan, exemplars=3), Cost(share=0.2)) == 0
    # State of 2 clips leaves 28: still 7 of each. A share of nothing takes nothing off.
    assert room_of(plan, Cost(2 * CLIP, share=0.2)) == 4 * 5 * 32 // bits
    assert room_of(plan, Cost(3 * CLIP, share=0.2)) == 4 * 4 * 32 // bits


def as_set(features):
    return set(map(tuple, features.flatten(1).tolist()))


def test_bics_correction_clips_are_never_trained_on_and_stay_the_same():
    seen, _ = go("bic", exemplars=48, held_share=0.25)
    held = [learner.apart for learner in seen.learners]
    # K // classes is 12, 8 and 6; a quarter of them, rounded up, is held: 3, 2 and 2.
    for clips, n_classes, n in zip(held, (4, 6, 8), (3, 2, 2), strict=True):
        assert torch.bincount(clips.labels).tolist() == [n] * n_classes
    for before, after in pairwise(held):
        n_old = int(before.labels.max()) + 1
        assert as_set(after[of_labels(after, 0, n_old)].features) <= as_set(before.features)
    for fit in seen.fits:
        learnt = as_set(fit.tables["seen"].rows["features"])
        for clips in held[fit.seeds.step :]:
            # Held after this step: neither in its training nor, by the rule above, later.
            classes = clips[of_labels(clips, 0, (4, 6, 8)[fit.seeds.step])]
            assert not learnt & as_set(classes.features)
    # They are counted: the memory has 9, 6 and 4 of each class beside them.
    assert [len(memory) for memory in seen.memories] == [4 * 9, 6 * 6, 8 * 4]
    for result, clips in zip(seen.results[1:], held[:-1], strict=True):
        assert result.state_bytes >= clips.features.nbytes
    for clips, memory in zip(held, seen.memories, strict=True):
        assert not as_set(clips.features) & as_set(memory.features)


@pytest.mark.parametrize("exemplars", [8, 16])
def test_gdumb_learns_from_as_many_of_each_class_as_k_allows(exemplars):
    # K = 16: 2 of each of 6 classes, then 2 of each of 8; but 12 exemplars // 8 classes is 1.
    seen, _ = go("gdumb", exemplars=exemplars)
    used = [torch.bincount(fit.tables["seen"].rows["labels"]).tolist() for fit in seen.fits]
    assert used == [[exemplars // 6] * 6, [exemplars // 8] * 8]


@pytest.mark.parametrize("name", names("methods"))
def test_state_after_needs_nothing_but_the_learner_the_clips_and_the_seeds(name):
    label = next(k for k in LABELS if settings_of(k)[0] == name)
    method, config = find("methods", name), settings_of(label)[1]
    base = made_data().train
    base = base[of_labels(base, 0, 4)]
    memory = base[torch.cat([of_labels(base, k, k + 1)[:3] for k in range(4)])]
    learner = Learner(network_of(4))
    first, again = (
        state_after(method, learner, base, memory, config, Seeds(0, 0)).tensors for _ in range(2)
    )
    assert set(first) == set(again)
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not learner.tensors


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
        ({"epochs": 3}, "epochs: unknown key. Known keys: memory, bits, learning_rate"),
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
        ("ss_il", {"kd_weight": -0.1}), ("ss_il", {"temperature": 0.0}),
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


def test_a_method_whose_file_is_not_whole_is_refused_before_anything_runs(monkeypatch):
    monkeypatch.delattr("mtcil.methods.finetune.cost")
    with pytest.raises(UserError, match=r"methods/finetune.py does not define cost. What a method"):
        method_settings(STUDY, "finetune")


def test_a_method_without_a_section_is_named():
    with pytest.raises(UserError, match=r"methods.recipe is missing, but a row asks for it. Add"):
        method_settings(replace(STUDY, methods={}), "recipe")
    with pytest.raises(UserError, match=r"No mtcil.methods called 'tyo'. There are: bic, .*To add"):
        method_settings(STUDY, "tyo")


def test_the_tiny_clips_are_what_the_bytes_say():
    assert isinstance(made_data().train, Clips) and made_data().train.features[0].nbytes == CLIP


@pytest.mark.parametrize("label", LABELS)
def test_dropout_reaches_every_table_of_every_loss(label):
    n_tables = 0
    for fit in went(label)[0].fits:
        module = training_copy(fit)
        batch = next(_batches(fit, backbone_of(module)))
        with_dropout = [rows for rows in vars(batch).values() if rows and rows.keep is not None]
        for rows in with_dropout:
            drawn, losses = rows.keep, []
            for rows.keep in (drawn, torch.zeros_like(drawn), drawn):
                losses.append(fit.loss(module, batch, namespace(fit.numbers), fit.choices).item())
            assert losses[0] == losses[2] and abs(losses[0] - losses[1]) > 1e-6, fit.name
        n_tables += len(with_dropout)
    assert n_tables
