"""Parts of a base training: each by numbers worked out by hand, and all of them trained."""

import copy
import inspect
import re
from dataclasses import replace
from itertools import combinations
from types import SimpleNamespace
from unittest.mock import patch

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from conftest import SGD, batches_of, blobs
from test_fleet import assert_as_alone, in_float64
from test_gpu import assert_captured
from tiny_study import ROOT, STUDIES, params
from torch import nn
from untrained import (
    NO_CLIPS,
    TINY,
    bases_of,
    close,
    kept_apart,
    made_study,
    network_of,
    numbers,
    run,
    seeded,
)

from mtcil.core.errors import UserError
from mtcil.core.lookup import find, names
from mtcil.core.randomness import numpy_generator
from mtcil.learning import parts as contract
from mtcil.learning import parts_step
from mtcil.learning.base_step import BasePlan, learn_base, separate_loss, shared_loss
from mtcil.learning.fit import Phase, Seeds
from mtcil.learning.network import Network, copy_state
from mtcil.learning.parts import Part, Pass, Sizes, one_hot, soft_cross_entropy
from mtcil.learning.parts_step import cut_head, learn_base_with_parts, parts_loss
from mtcil.learning.protocol import draw_tasks
from mtcil.learning.split import COLUMNS
from mtcil.learning.words import load_words
from mtcil.running.alone import train
from mtcil.running.base_jobs import PARTS, parts_of
from mtcil.running.run import train_all
from mtcil.settings.files import read_study
from mtcil.settings.sections import Heads, MachineSettings
from mtcil.settings.study import AUXILIARY, BaseRow
from mtcil.settings.training import BaseTrainingSettings, PhaseSettings
from mtcil.tables.ceiling import clips_per_update

STUDY = read_study(ROOT / "params.yaml")
LABELS = torch.tensor([0, 1, 2, 1])
FEATURES = numbers(4, 1, 8, 8)
TARGETS = one_hot(LABELS, 3, FEATURES)


def part(name, **changes):
    """A part with the settings of settings.yaml, some of them changed."""
    [(_, config)] = parts_of(STUDY, BaseRow("5", parts=(name,)))
    return Part(name, find(PARTS, name), replace(config, **changes))


def sizes_of(network):
    return Sizes(network.head.in_features, network.n_classes)


def pass_of(network, **changes):
    """A forward pass without dropout, as the loss makes it."""
    embeddings = network.embed(FEATURES)
    made = Pass(network, FEATURES, LABELS, FEATURES, TARGETS, embeddings, None, None)
    return replace(made, **changes)


def drawn(of, n=4, seed=0):
    return of.file.draw(of.config, FEATURES)(n, seeded(seed))


def changed(of, numbers_drawn=None):
    return of.file.change(of.config, FEATURES, TARGETS, numbers_drawn or {})


def test_cross_entropy_with_hard_targets_is_the_usual_one():
    logits = numbers(4, 3)
    close(soft_cross_entropy(logits, TARGETS), F.cross_entropy(logits, LABELS))
    by_hand = -(0.25 * logits.log_softmax(1)[:, 0] + 0.75 * logits.log_softmax(1)[:, 2]).mean()
    close(soft_cross_entropy(logits, torch.tensor([[0.25, 0.0, 0.75]] * 4)), by_hand)


def test_gain_adds_one_number_to_a_whole_clip():
    of = part("gain", most=0.5)
    features, targets = changed(of, {"gain": torch.tensor([0.5, -0.5, 0.0, 0.25])})
    for row, gain in enumerate((0.5, -0.5, 0.0, 0.25)):
        close(features[row], FEATURES[row] + gain)
    assert targets is TARGETS
    values = drawn(of, 1000)["gain"]
    assert values.abs().max() <= 0.5 and values.min() < -0.45 and values.max() > 0.45


def test_mixup_mixes_with_the_clip_before():
    of = part("mixup")
    features, targets = changed(of, {"share": torch.tensor([0.75, 1.0, 0.0, 0.5])})
    close(features[0], 0.75 * FEATURES[0] + 0.25 * FEATURES[3])
    close(features[1], FEATURES[1])
    close(features[2], FEATURES[1])
    close(targets, torch.tensor([[0.75, 0.25, 0], [0, 1, 0], [0, 1, 0], [0, 0.5, 0.5]]))


def test_shares_of_mixup_are_from_its_beta_distribution():
    shares = drawn(part("mixup", alpha=0.3), 20_000)["share"]
    close(shares.mean(), 0.5, 0.01)
    close(shares.var(), 0.25 / (2 * 0.3 + 1), 0.01)  # of Beta(a, a): 1 / (4 (2 a + 1))
    assert torch.equal(shares, drawn(part("mixup", alpha=0.3), 20_000)["share"])


def test_smoothing_spreads_its_amount_over_all_classes():
    _, targets = changed(part("smoothing", amount=0.3))
    close(targets[0], torch.tensor([0.8, 0.1, 0.1]))
    logits = numbers(4, 3)
    usual = F.cross_entropy(logits, LABELS, label_smoothing=0.3)
    close(soft_cross_entropy(logits, targets), usual)


def test_transforms_tell_classes_and_versions_apart():
    of, network = part("transforms", weight=2.0), network_of(3)
    head = of.file.head(of.config, sizes_of(network), seeded(1))
    assert head.out_features == 3 * 4
    versions = [FEATURES, FEATURES.flip(2), FEATURES.flip(3), FEATURES.flip(2).flip(3)]
    losses = [
        F.cross_entropy(head(network.embed(clips)), LABELS + 3 * k)
        for k, clips in enumerate(versions)
    ]
    close(of.file.term(of.config, pass_of(network), head, {}), 2.0 * sum(losses) / 4)
    one = part("transforms", versions=("frequency",))
    head = one.file.head(one.config, sizes_of(network), seeded(1))
    losses = [
        F.cross_entropy(head(network.embed(clips)), LABELS + 3 * k)
        for k, clips in enumerate((FEATURES, FEATURES.flip(3)))
    ]
    close(one.file.term(one.config, pass_of(network), head, {}), sum(losses) / 2)


def test_other_versions_of_clips_do_not_move_the_statistics():
    network = network_of(3).train()
    made = pass_of(network)
    before = [block[-1].running_mean.clone() for block in network.blocks]
    made.embed_again(FEATURES.flip(2))
    for block, old in zip(network.blocks, before, strict=True):
        assert torch.equal(block[-1].running_mean, old)
    pass_of(network)  # the clips as they are do
    assert not torch.equal(network.blocks[0][-1].running_mean, before[0])


def test_every_pair_of_classes_has_its_own_label():
    of = find(PARTS, "mixed_classes")
    pairs = list(combinations(range(5), 2))
    first, second = torch.tensor(pairs).T
    assert of.pair_labels(first, second, 5).tolist() == list(range(5, 15))
    assert of.pair_labels(second, first, 5).tolist() == list(range(5, 15))
    assert of.pair_labels(torch.arange(5), torch.arange(5), 5).tolist() == list(range(5))


def test_mixtures_of_one_class_do_not_count():
    of, network = part("mixed_classes", weight=0.5), network_of(3)
    head = of.file.head(of.config, sizes_of(network), seeded(1))
    assert head.out_features == 6
    labels = torch.tensor([0, 2, 2, 1])  # with the one before: (0, 1), (2, 0), (2, 2), (1, 2)
    share = torch.tensor([0.4, 0.5, 0.6, 0.5])
    found = of.file.term(of.config, pass_of(network, labels=labels), head, {"share": share})
    of_pairs = []
    for row, pair in ((0, 3), (1, 4), (3, 5)):
        mixed = share[row] * FEATURES[row] + (1 - share[row]) * FEATURES[row - 1]
        of_pairs.append(F.cross_entropy(head(network.embed(mixed[None])), torch.tensor([pair])))
    plain = F.cross_entropy(head(network.embed(FEATURES)), labels)
    close(found, 0.5 * (plain + sum(of_pairs) / 3))
    assert ((drawn(of, 500)["share"] - 0.5).abs() <= 0.1).all()


def test_the_contrastive_loss_is_that_of_the_paper():
    labels, temperature = torch.tensor([0, 1, 0, 1, 0]), 0.3
    rows = F.normalize(numbers(5, 6), dim=1)
    total = 0.0
    for i in range(5):
        others = [j for j in range(5) if j != i]
        below = sum((rows[i] @ rows[j] / temperature).exp() for j in others)
        same = [j for j in others if labels[j] == labels[i]]
        total += -sum(
            ((rows[i] @ rows[j] / temperature).exp() / below).log() for j in same
        ) / len(same)  # fmt: skip
    found = find(PARTS, "contrastive").contrastive_loss(7 * rows, labels, temperature)
    close(found, total / 5)


def test_a_clip_that_no_part_changes_is_not_contrasted_with_itself():
    of, network = part("contrastive", weight=1.0), network_of(3)
    head, made = of.file.head(of.config, sizes_of(network), seeded(1)), pass_of(network)
    wanted = of.file.contrastive_loss(head(made.embeddings), LABELS, of.config.temperature)
    close(of.file.term(of.config, made, head, {}), wanted)


def test_the_views_that_are_contrasted_are_the_clip_and_what_was_made_of_it():
    of, network = part("contrastive", weight=2.0, width=5), network_of(3)
    head, other = of.file.head(of.config, sizes_of(network), seeded(1)), numbers(4, 1, 8, 8, seed=9)
    made = pass_of(network, features=other, embeddings=network.embed(other))
    both = head(torch.cat([network.embed(other), network.embed(FEATURES)]))
    wanted = of.file.contrastive_loss(both, torch.cat([LABELS, LABELS]), of.config.temperature)
    close(of.file.term(of.config, made, head, {}), 2.0 * wanted)


def test_distillation_keeps_the_outputs_near_the_teachers():
    of, network, teacher = part("distillation", weight=3.0), network_of(3), network_of(3, seed=5)
    found = of.file.term(of.config, pass_of(network, teacher=teacher), None, {})
    wanted = kept_apart(network(FEATURES), teacher(FEATURES), 2.0)
    close(found, 3.0 * 4.0 * wanted)
    close(of.file.term(of.config, pass_of(network, teacher=network), None, {}), 0.0)


def words_batch(n=4, seed=5):
    """A batch of three auxiliary words."""
    features = numbers(n, 1, 8, 8, seed=seed)
    return SimpleNamespace(features=features, labels=torch.tensor([2, 0, 1, 2])[:n], keep=None)


def test_auxiliary_words_are_told_apart_by_a_head_of_their_own():
    of, network, words = part("auxiliary", weight=3.0), network_of(3), words_batch()
    head = of.file.head(of.config, Sizes(network.head.in_features, 3, 7), seeded(1))
    assert head.out_features == 7
    wanted = F.cross_entropy(head(network.embed(words.features)), words.labels)
    close(of.file.term(of.config, pass_of(network, words=words), head, {}), 3.0 * wanted)


def test_auxiliary_words_do_not_move_the_statistics():
    of, network, words = part("auxiliary"), network_of(3).train(), words_batch()
    head = of.file.head(of.config, Sizes(network.head.in_features, 3, 3), seeded(1))
    made = pass_of(network, words=words)
    before = copy_state(network)
    of.file.term(of.config, made, head, {}).backward()
    assert all(torch.equal(before[n], v) for n, v in network.state_dict().items())


def test_auxiliary_words_are_changed_like_the_clips_but_never_mixed():
    parts = (part("gain"), part("mixup"), part("smoothing"), part("auxiliary"))
    words = words_batch()
    setattr(words, "gain.gain", torch.tensor([1.0, -2.0, 0.0, 0.5]))
    found = parts_step.changed_words(SimpleNamespace(words=words), parts)
    close(found.features, words.features + torch.tensor([1.0, -2.0, 0.0, 0.5]).view(-1, 1, 1, 1))
    assert torch.equal(found.labels, words.labels)
    assert parts_step.changed_words(SimpleNamespace(), parts) is None


def test_words_are_normalised_by_themselves_and_labelled_as_in_their_table(tmp_path):
    folder = tmp_path / AUXILIARY
    folder.mkdir()
    features = 5 + 3 * numbers(6, 4, 2, seed=1).numpy()
    np.save(folder / "features.npy", features)
    rows = [(f"{word}/{i}", word, "v", 0, 1.0) for word in ("winter", "apple") for i in range(3)]
    pd.DataFrame(rows, columns=COLUMNS).to_csv(folder / "clips.csv", index=False)
    found = load_words(tmp_path, torch.device("cpu"))
    assert found.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert found.features.shape == (6, 1, 4, 2)
    close(found.features.mean((0, 1, 2)), torch.zeros(2))
    close(found.features.std((0, 1, 2), correction=0), torch.ones(2))
    np.save(folder / "features.npy", np.where(features > 5, features, np.nan))
    with pytest.raises(UserError, match="NaN or infinite"):
        load_words(tmp_path, torch.device("cpu"))
    (folder / "clips.csv").unlink()
    with pytest.raises(UserError, match="there is no such file"):
        load_words(tmp_path, torch.device("cpu"))


@pytest.mark.parametrize("n_classes", [2, 4])
def test_class_weights_of_the_frame_are_equally_far_apart(n_classes):
    rows = find(PARTS, "etf").frame(n_classes, 6, seeded())
    wanted = torch.full((n_classes, n_classes), -1 / (n_classes - 1)).fill_diagonal_(1.0)
    close(rows @ rows.T, wanted)
    with pytest.raises(UserError, match=r"etf: 7 base classes need as many.*it has 6\. Add"):
        find(PARTS, "etf").frame(7, 6, seeded())


# Training


def plan_of(heads="4", passes="separate", updates=60, seed=0):
    fit = PhaseSettings(None, 0.05, "constant")
    training = BaseTrainingSettings(SGD, fit, 0.05, 1.0, "mean", "full_task")
    tasks = draw_tasks(Heads.parse(heads, 4), 4, numpy_generator(seed, "tasks"))
    return BasePlan(tasks, passes, TINY, training, Phase(updates, 0.05))


def steps_of(parts, seed=0, validation=NO_CLIPS, **of_plan):
    clips = blobs(12 + seed, 4, seed)
    plan = plan_of(seed=seed, **of_plan)
    words = blobs(10 + seed, 3, 40 + seed) if "auxiliary" in [of.name for of in parts] else None
    return learn_base_with_parts(clips, validation, plan, parts, Seeds(seed, 0), words)


def accuracy(network):
    clips = blobs(10, 4, 77)
    return (network(clips.features).argmax(1) == clips.labels).float().mean().item()


def test_without_parts_it_is_the_single_task():
    clips, plan = blobs(12, 4, 0), plan_of(updates=5)
    usual, _ = run(learn_base(clips, NO_CLIPS, plan, Seeds(0, 0)))
    found, _ = run(steps_of([], updates=5))
    torch.testing.assert_close(found.state_dict(), usual.state_dict(), rtol=1e-5, atol=1e-6)


def test_without_parts_several_heads_are_the_papers_tasks_in_one_pass():
    clips, plan = blobs(12, 4, 0), plan_of("4-3-2", "shared", 5)
    usual, _ = run(learn_base(clips, NO_CLIPS, plan, Seeds(0, 0)))
    found, _ = run(steps_of([], heads="4-3-2", passes="shared", updates=5))
    torch.testing.assert_close(found.state_dict(), usual.state_dict(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", names(PARTS))
def test_each_part_learns_the_classes_and_changes_what_is_learnt(name):
    mild = {"augmentation": {"shift": 1, "mask_frames": 1, "mask_bins": 1}}.get(name, {})
    of = part(name, **mild)
    network, fits = run(steps_of([of], updates=150))
    assert accuracy(network.eval()) > 0.9
    assert all(p.requires_grad for p in network.parameters())
    plain, _ = run(steps_of([], updates=150))
    assert not torch.equal(plain.blocks[0][0].weight, network.blocks[0][0].weight)
    assert len(fits) == (2 if name == "distillation" else 1)
    again, _ = run(steps_of([of], updates=150))
    torch.testing.assert_close(again.state_dict(), network.state_dict(), rtol=0, atol=0)


def test_a_fixed_head_stays_as_it_was_set():
    of = part("etf", length=2.0)
    network, (fit,) = run(steps_of([of], updates=5))
    assert torch.equal(network.head.weight, fit.network.network.head.weight)
    close(network.head.weight.norm(dim=1), torch.full((4,), 2.0))
    assert not network.head.bias.any()


@pytest.mark.parametrize("heads", ["4", "4-3-2"])
@pytest.mark.parametrize("left_out", [("mixup",), ("contrastive", "mixed_classes")], ids=str)
def test_parts_together_are_trained_as_a_fleet(heads, left_out):
    """Fleets are made by vmap, which refuses much: whole numbers that depend on values, ifs."""
    parts = [part(name) for name in names(PARTS) if name not in left_out]
    fits = []
    for seed in range(3):
        held = blobs(3 + seed, 4, seed + 50)
        steps = steps_of(parts, seed, held, heads=heads, passes="shared")
        first = next(steps)
        second = steps.send(first.network)
        stopping = {"patience": 1, "checks": 5}
        fits.append([in_float64(fit, **stopping) for fit in (first, second)])
    for of_phase in zip(*fits, strict=True):
        assert_as_alone(of_phase)
        assert_captured(of_phase)


def test_a_teacher_has_other_first_weights_and_is_not_trained():
    steps = steps_of([part("etf"), part("distillation"), part("transforms")],
                     validation=blobs(5, 4, 9))  # fmt: skip
    first = next(steps)
    teacher = copy.deepcopy(first.network)
    second = steps.send(teacher)
    weights = [fit.network.network.blocks[0][0].weight for fit in (first, second)]
    assert not torch.equal(*weights)
    before = copy_state(second.network.teacher)
    stopping = replace(second, phase=replace(second.phase, patience=1, updates=40))
    trained = train(stopping).module
    after = copy_state(trained.teacher)
    assert all(torch.equal(before[name], value) for name, value in after.items())
    assert not torch.equal(trained.network.blocks[0][0].weight, weights[1])


def test_the_loss_is_the_sum_of_its_parts():
    parts = [part("gain"), part("mixup"), part("transforms")]
    fit = next(steps_of(parts))
    module = fit.network.eval()
    [batch] = batches_of(fit, 1)
    batch.full.keep = None
    rows = batch.full
    features = rows.features + getattr(rows, "gain.gain").view(-1, 1, 1, 1)
    of_mixup = {"share": getattr(rows, "mixup.share")}
    targets = one_hot(rows.labels, 4, features)
    features, targets = parts[1].file.change(parts[1].config, features, targets, of_mixup)
    embeddings = module.network.embed(features)
    made = Pass(module.network, rows.features, rows.labels, features, targets, embeddings, None,
                None)  # fmt: skip
    wanted = soft_cross_entropy(module.network.head(embeddings), targets)
    wanted = wanted + parts[2].file.term(parts[2].config, made, module.head_transforms, {})
    close(parts_loss(module, batch, None, fit.choices), wanted)


@pytest.mark.parametrize("others", [[], ["mixup"]], ids=str)
@pytest.mark.parametrize("name", [name for name in names(PARTS) if name != "mixup"])
def test_the_table_knows_the_clips_that_a_part_passes_forward(name, others):
    used = [*others, name]
    fits = run(steps_of([part(each) for each in used], updates=1))[1]
    wanted = clips_of(BaseRow("4", parts=tuple(used)))
    if name == "distillation":  # its two phases differ, and records add them up
        assert clips_passed(fits[0], parts_loss) < clips_passed(fits[1], parts_loss)
        assert np.isnan(wanted)
    else:
        assert clips_passed(fits[0], parts_loss) == wanted


@pytest.mark.parametrize("heads", ["4-3-2", "4-4-4", "4-3-3-3-2"])
@pytest.mark.parametrize("passes", ["separate", "shared"])
def test_the_table_knows_the_clips_of_all_tasks(passes, heads):
    odd = replace(SGD, batch=15)  # 11.25 and 7.5 clips of the smaller tasks are rounded
    plan = plan_of(heads, passes, 1)
    plan = replace(plan, training=replace(plan.training, sgd=odd))
    fits = run(learn_base(blobs(12, 4, 0), NO_CLIPS, plan, Seeds(0, 0)))[1]
    loss = {"separate": separate_loss, "shared": shared_loss}[passes]
    assert clips_passed(fits[0], loss) == clips_of(BaseRow(heads, passes=passes), odd)


def clips_passed(fit, loss):
    """Clips that enter the backbone for one loss."""
    [batch] = batches_of(fit, 1)
    numbers_ = SimpleNamespace(**fit.numbers)
    with patch.object(Network, "maps", autospec=True, side_effect=Network.maps) as maps:
        loss(fit.network, batch, numbers_, fit.choices)
    return sum(len(call.args[1]) for call in maps.call_args_list)


def clips_of(row, sgd=SGD):
    training = replace(STUDY.base_training, sgd=sgd)
    return clips_per_update(replace(STUDY, base_training=training), "us8k", row)


# The ceiling


def test_the_cut_network_knows_the_first_classes_as_before():
    network = network_of(6)
    cut = cut_head(network, 2)
    close(cut(FEATURES), network(FEATURES)[:, :2])
    assert (cut.n_classes, network.n_classes) == (2, 6)
    assert isinstance(cut.head, nn.Linear) and cut.head.weight.requires_grad


def study_with(folder, **rows):
    values = params(".")
    values["base_models"]["words"] |= rows
    made_study(folder, values)
    return bases_of(folder)


def test_the_ceiling_learns_all_classes_for_as_many_updates_more(tmp_path, monkeypatch):
    jobs = study_with(tmp_path, ceiling={"heads": "3", "control": "ceiling"})
    ceiling = [job for job in jobs if job.name.base == "ceiling"]
    assert {job.phase.updates for job in ceiling} == {round(5 / 3 * 4)}
    ceiling[0].file.unlink()
    seen = []

    def noted(train, validation, plan, seeds):
        seen.append((sorted(set(train.labels.tolist())), plan.tasks))
        return learn_base(train, validation, plan, seeds)

    monkeypatch.setattr("mtcil.learning.parts_step.learn_base", noted)
    train_all(ceiling[:1], MachineSettings("cpu", 1, "loky", None, False))
    assert seen == [([0, 1, 2, 3, 4], ((0, 1, 2, 3, 4),))]
    assert torch.load(ceiling[0].file, weights_only=True)["network"]["head.weight"].shape[0] == 3


def test_parts_are_in_the_key_and_in_the_name(tmp_path):
    mixed = {"heads": "3", "parts": ["mixup", "gain"]}
    jobs = {job.name.base: job for job in study_with(tmp_path, mixed=mixed)}
    assert jobs["mixed"].name.control == "mixup+gain"
    assert [name for name, _ in jobs["mixed"].parts] == ["mixup", "gain"]
    values = params(".")
    values["base_models"]["words"]["mixed"] = mixed
    values["overrides"]["base_parts"] = {"mixup": {"alpha": 0.7}, "etf": {"length": 3.0}}
    other = tmp_path / "other"
    other.mkdir()
    made_study(other, values)
    others = {job.name.base: job for job in bases_of(other)}
    assert {n for n in jobs if jobs[n].key != others[n].key} == {"mixed"}


def test_auxiliary_words_are_in_the_key_and_must_be_there(tmp_path):
    values = params(".")
    values["base_models"]["words"]["spoken"] = {"heads": "3", "parts": ["auxiliary"]}
    with pytest.raises(UserError, match=r"auxiliary needs words\. Name them: datasets\.words"):
        made_study(tmp_path, values)
    values["datasets"]["words"]["auxiliary"] = "english"
    (tmp_path / "none").mkdir()
    with pytest.raises(UserError, match=r"auxiliary/features\.npy is missing"):
        made_study(tmp_path / "none", values)
    keys = []
    for word in ("apple", "winter"):
        folder = tmp_path / "none/data/features/words" / AUXILIARY
        folder.mkdir(exist_ok=True)
        np.save(folder / "features.npy", np.ones((12, 32, 32), np.float32))
        rows = [(f"{word}/{i}", word, "v", 0, 1.0) for i in range(12)]
        pd.DataFrame(rows, columns=COLUMNS).to_csv(folder / "clips.csv", index=False)
        keys.append({job.name.base: job.key for job in bases_of(tmp_path / "none")})
    assert {name for name in keys[0] if keys[0][name] != keys[1][name]} == {"spoken"}
    spoken = [job for job in bases_of(tmp_path / "none") if job.name.base == "spoken"]
    train_all(spoken[:1], MachineSettings("cpu", 1, "loky", None, False))
    assert spoken[0].file.is_file()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["apple", "Yes"], r"auxiliary_words\.english has classes of this dataset: Yes\. Remove"),
        (["apple", "Apple"], "words: two names differ only in case"),
        (["apple", "zoom_in"], r"\['zoom_in'\] cannot be spoken"),
    ],
)
def test_impossible_auxiliary_words_are_refused(tmp_path, words, message):
    values = params(".")
    values["datasets"]["words"]["auxiliary"] = "english"
    values["overrides"]["auxiliary_words"] = {"english": {"words": words}}
    with pytest.raises(UserError, match=message):
        made_study(tmp_path, values)


def test_auxiliary_words_must_have_a_row(tmp_path):
    values = params(".")
    values["datasets"]["words"]["auxiliary"] = "french"
    with pytest.raises(UserError, match=r"no auxiliary_words\.french\. There are: english, none"):
        made_study(tmp_path, values)


def test_auxiliary_words_are_classes_of_no_study():
    for study in (read_study(folder / "params.yaml") for folder in STUDIES):
        words = {word.casefold() for word in study.auxiliary_words["english"].words}
        classes = {c.casefold() for of in study.datasets.values() for c in of.classes}
        assert words & classes == set(), study.root


def test_a_row_may_train_for_longer(tmp_path):
    long = {"heads": "3", "length": 2.5}
    parts = {"heads": "3", "length": 2.0, "parts": ["gain", "mixup"]}
    jobs = {j.name.base: j for j in study_with(tmp_path, long=long, both=parts)}
    assert [jobs[n].phase.updates for n in ("single", "long", "both")] == [4, 10, 8]
    assert jobs["long"].name.control == "2.5 x as long"
    assert jobs["both"].name.control == "gain+mixup, 2 x as long"
    with pytest.raises(ValueError, match="set length or control, not both"):
        BaseRow("3", control="longer", length=2.0)


def test_a_teacher_doubles_the_updates(tmp_path):
    taught = {"heads": "3", "parts": ["distillation"]}
    sizes = {job.name.base: job.size() for job in study_with(tmp_path, taught=taught)}
    assert (sizes["taught"], sizes["single"]) == (8, 4)


@pytest.mark.parametrize(
    ("row", "what"),
    [
        ({"heads": "3", "parts": ["mixup", "contrastive"]}, "contrastive"),
        ({"heads": "3", "parts": ["mixed_classes", "mixup"]}, "mixed_classes"),
        ({"heads": "3-2", "parts": ["mixup"], "passes": "shared"}, "heads 3-2"),
    ],
)
def test_what_needs_the_class_of_a_clip_does_not_go_with_mixtures(tmp_path, row, what):
    with pytest.raises(UserError, match=f"mixup mixes clips of different classes, but {what} need"):
        study_with(tmp_path, mixed=row)


def test_every_part_keeps_the_contract():
    asked = {
        name: re.findall(r"\w+", parameters)
        for name, parameters in re.findall(r"def (\w+)\(([^)]*)\)", contract.__doc__)
    }
    assert set(asked) == {"start", "head", "draw", "change", "term"}
    for name in names(PARTS):
        file = find(PARTS, name)
        own = {f for f in asked if hasattr(file, f)}
        assert own & {"start", "change", "term"}, name
        for function in own:
            parameters = inspect.signature(getattr(file, function)).parameters
            names_of = ["settings", "features"] if name == "augmentation" else asked[function]
            assert list(parameters) == (names_of if function == "draw" else asked[function])
        flags = {f for f in vars(file) if f.isupper() and getattr(file, f) is True}
        assert flags <= set(re.findall(r"- `(\w+)`", contract.__doc__))


def test_an_impossible_part_is_refused(tmp_path):
    values = params(".")
    values["base_models"]["words"]["mixed"] = {"heads": "3", "parts": ["mixup"]}
    values["overrides"]["base_parts"] = {"mixup": {"alpha": -1.0}}
    with pytest.raises(UserError, match=r"base_parts\.mixup.*alpha"):
        made_study(tmp_path, values)
