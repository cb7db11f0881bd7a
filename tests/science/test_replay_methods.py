"""Methods that replay or generate: formulas by hand, and FACIL's, Mammoth's and others'."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import phase
from untrained import (
    NO_CLIPS,
    RATE,
    SEEDS,
    TRAINING,
    clips_of,
    close,
    kept_apart,
    learn,
    network_of,
    numbers,
    rows_of,
    run,
    seeded,
    state_after,
    step_of,
)

from mtcil.learning.augmentation import AugmentationSettings, augment, draw_changes
from mtcil.learning.clips import join, of_labels
from mtcil.learning.fit import Seeds
from mtcil.learning.groups import distil_by_step
from mtcil.learning.learner import Learner, nearest_mean
from mtcil.learning.network import WithParts, frozen_copy
from mtcil.learning.steps import StepClips, balanced_set
from mtcil.methods import der_pp, eeil, er_ace, gdumb, generative_replay, recipe, ss_il


@pytest.fixture
def step():
    return step_of()


def balanced_of(step):
    """The balanced set that a method draws in this step."""
    return balanced_set(step, SEEDS.generator("balanced set"))


def is_table_of(table, clips):
    """Whether a table has the rows of these clips, in their order."""
    return torch.equal(table.rows["features"], clips.features) and torch.equal(
        table.rows["labels"], clips.labels
    )


# --- DER++


def test_logit_loss_by_hand_leaves_out_what_was_not_stored():
    # Differences 1, 2 in the first row, 3 in the second: (1 + 4 + 9) / 3. Class 1 came later than
    # the second clip: whatever fills its place does not count.
    stored = torch.tensor([[1.0, 4.0], [0.0, 77.0]])
    known = torch.tensor([[1.0, 1.0], [1.0, 0.0]])
    logits = torch.tensor([[2.0, 2.0, 9.0], [3.0, 7.0, 9.0]], requires_grad=True)
    loss = der_pp.logit_loss(logits, stored, known)
    assert loss.item() == pytest.approx(14 / 3)
    loss.backward()
    assert logits.grad[1, 1] == 0 and not logits.grad[:, 2].any()
    assert logits.grad[1, 0].item() == pytest.approx(2 * 3 / 3)
    assert der_pp.logit_loss(logits, stored, 0 * known).item() == 0
    only = torch.tensor([[0.0, 0.0], [1.0, 0.0]])
    assert der_pp.logit_loss(logits, stored, only).item() == pytest.approx(9)


def test_stored_logits_are_cut_with_their_exemplars_and_never_computed_again():
    first = Learner(network_of(4))
    m5, m3 = clips_of(5, [0, 1, 2, 3], seed=3), clips_of(3, [4, 5], seed=4)
    kept = state_after(der_pp, first, NO_CLIPS, m5)
    cut = m5[torch.cat([of_labels(m5, c, c + 1)[:3] for c in range(4)])]
    second = Learner(network_of(6, seed=8), kept.tensors)
    again = state_after(der_pp, second, NO_CLIPS, join(cut, m3))
    smaller = join(cut, m3)
    smaller = smaller[torch.cat([of_labels(smaller, c, c + 1)[:2] for c in range(6)])]
    found, known = der_pp.logits_of_exemplars(again, smaller)
    assert found.shape == known.shape == (12, 6)
    close(found[:8, :4], first.network(smaller.features[:8]).detach())
    assert known[:8].tolist() == [[1, 1, 1, 1, 0, 0]] * 8 and known[8:].all()
    close(found[8:], second.network(smaller.features[8:]).detach())
    assert again.tensors["logits 0"].shape == (3, 4) and again.tensors["logits 5"].shape == (3, 6)
    cost = der_pp.cost(second.network, 6, None)
    assert sum(value.nbytes for value in again.tensors.values()) <= 18 * cost.per_exemplar


def test_der_loss_adds_its_three_terms():
    network, new, old = network_of(6), clips_of(8, [4, 5]), clips_of(4, [0, 1, 2, 3], seed=3)
    stored = numbers(16, 4)
    memory = rows_of(old, logits=stored, known=torch.ones(16, 4))
    weights = SimpleNamespace(alpha=0.3, beta=0.5)
    found = der_pp.der_loss(
        network, SimpleNamespace(new=rows_of(new), memory=memory), weights, None
    )
    logits = network(old.features)
    wanted = (
        F.cross_entropy(network(new.features), new.labels)
        + 0.3 * F.mse_loss(logits[:, :4], stored)
        + 0.5 * F.cross_entropy(logits, old.labels)
    )
    close(found, wanted)


def test_der_pp_replays_the_logits_that_it_kept(step):
    tensors = {f"logits {c}": numbers(5, 4, seed=c) for c in range(4)}
    _, after, (fit,) = learn(der_pp, step, der_pp.Config(alpha=0.3, beta=0.5), tensors)
    assert fit.loss is der_pp.der_loss and fit.numbers == {"alpha": 0.3, "beta": 0.5}
    assert is_table_of(fit.tables["new"], step.new)
    assert is_table_of(fit.tables["memory"], step.memory)
    stored = torch.cat([tensors[f"logits {c}"] for c in range(4)])
    assert torch.equal(fit.tables["memory"].rows["logits"], stored)
    assert fit.tables["memory"].rows["known"].all()
    assert after.tensors == tensors


def test_der_pp_without_memory_is_cross_entropy():
    tensors = {f"logits {c}": torch.zeros(0, 4) for c in range(4)}
    step = step_of(0)
    _, _, (fit,) = learn(der_pp, step, der_pp.Config(alpha=0.3, beta=0.5), tensors)
    assert fit.tables["memory"] is None
    batch = SimpleNamespace(new=rows_of(step.new), memory=None)
    found = fit.loss(fit.network, batch, SimpleNamespace(**fit.numbers), fit.choices)
    close(found, F.cross_entropy(fit.network(step.new.features), step.new.labels))
    batch.new.keep = torch.zeros(24, 4, 2, 2)  # dropout leaves nothing but the bias
    found = fit.loss(fit.network, batch, SimpleNamespace(**fit.numbers), fit.choices)
    close(found, F.cross_entropy(fit.network.head.bias.expand(24, 6), step.new.labels))


# --- EEIL and SS-IL


def test_distillation_by_step_is_the_sum_over_the_steps():
    logits, old, t = numbers(8, 9), numbers(8, 7, seed=1), 2.0
    found = distil_by_step(logits, old, [4, 2, 1], t)
    parts = [(0, 4), (4, 6), (6, 7)]
    close(found, sum(t**2 * kept_apart(logits[:, a:b], old[:, a:b], t) for a, b in parts))
    # SS-IL's own code: KLDivLoss(batchmean) of each step's logits, times T**2.
    official = sum(
        F.kl_div(
            (logits[:, a:b] / t).log_softmax(1), (old[:, a:b] / t).softmax(1), reduction="batchmean"
        )
        for a, b in parts
    )
    close(found, t**2 * official)


def test_steps_are_counted():
    learner = state_after(ss_il, Learner(network_of(4)))
    assert learner.tensors["steps"].tolist() == [4]
    wider = state_after(eeil, Learner(network_of(6), learner.tensors))
    assert wider.tensors["steps"].tolist() == [4, 2]


def test_separated_loss_by_hand():
    # Two old classes, one new. Row 1, label 0: softmax of (ln 3, 0), 3/4. Row 2, label 2: the only
    # new class, 0. Averaged over both rows: ln(4/3) / 2, however large the logits apart.
    logits = torch.tensor([[np.log(3), 0.0, 50.0], [90.0, 0.0, -7.0]]).float()
    found = ss_il.separated_loss(logits, torch.tensor([0, 2]), 2)
    assert found.item() == pytest.approx(np.log(4 / 3) / 2, rel=1e-5)
    for label in (0, 2):  # a batch of one kind alone
        assert ss_il.separated_loss(logits, torch.tensor([label, label]), 2).isfinite()


def test_ss_il_loss_separates_and_distils_both_kinds_of_clips():
    network, new, old = network_of(6), clips_of(8, [4, 5]), clips_of(4, [0, 1, 2, 3], seed=3)
    teacher = numbers(32, 4)
    batch = SimpleNamespace(
        new=rows_of(new, logits=teacher[:16]), memory=rows_of(old, logits=teacher[16:])
    )
    choices = ss_il.Choices(steps=(3, 1), temperature=2.0)
    found = ss_il.ss_il_loss(network, batch, SimpleNamespace(kd_weight=0.7), choices)
    of_new, of_old = network(new.features), network(old.features)
    apart = F.cross_entropy(of_new[:, 4:], new.labels - 4, reduction="sum")
    apart = apart + F.cross_entropy(of_old[:, :4], old.labels, reduction="sum")
    logits = torch.cat([of_new, of_old])
    kept = kept_apart(logits[:, :3], teacher[:, :3], 2.0)  # a step of one class distils nothing
    close(found, apart / 32 + 0.7 * 4 * kept)


def test_ss_il_draws_as_many_exemplars_as_new_clips_and_distils_the_old_network(step):
    config = ss_il.Config(kd_weight=0.7, temperature=2.0)
    before, after, (fit,) = learn(ss_il, step, config, {"steps": torch.tensor([3, 1])})
    assert fit.loss is ss_il.ss_il_loss and fit.choices == ((3, 1), 2.0)
    for name, clips in (("new", step.new), ("memory", step.memory)):
        assert is_table_of(fit.tables[name], clips) and fit.tables[name].share == 8
        close(fit.tables[name].rows["logits"], before.network(clips.features).detach())
    assert after.tensors["steps"].tolist() == [3, 1]


def test_eeil_loss_is_cross_entropy_and_distillation_by_step():
    network, seen, old = network_of(6), clips_of(4, [0, 3, 5]), numbers(12, 4)
    choices = eeil.Choices(steps=(2, 2), temperature=2.0)
    batch = SimpleNamespace(seen=rows_of(seen, logits=old))
    found = eeil.eeil_loss(network, batch, SimpleNamespace(kd_weight=0.7), choices)
    logits = network(seen.features)
    kept = kept_apart(logits[:, :2], old[:, :2], 2.0) + kept_apart(logits[:, 2:4], old[:, 2:], 2.0)
    close(found, F.cross_entropy(logits, seen.labels) + 0.7 * 4 * kept)


def test_eeil_learns_all_and_then_balances_with_a_newer_teacher(step):
    config = eeil.Config(kd_weight=0.7, temperature=2.0, balanced_rate=0.1)
    training = replace(TRAINING, whole=phase(7, rate=RATE))
    before, _, (first, second) = learn(
        eeil, step, config, {"steps": torch.tensor([2, 2])}, training
    )
    assert (first.name, second.name) == ("then_all", "balanced")
    assert (first.phase.updates, second.phase.updates) == (4, 3)
    assert first.phase.learning_rate == pytest.approx(RATE)
    assert second.phase.learning_rate == pytest.approx(0.1 * RATE)
    assert first.choices == ((2, 2), 2.0) and second.choices == ((2, 2, 2), 2.0)
    balanced = balanced_of(step)
    assert torch.bincount(balanced.labels).tolist() == [5] * 6
    assert is_table_of(first.tables["seen"], step.seen())
    assert is_table_of(second.tables["seen"], balanced)
    close(first.tables["seen"].rows["logits"], before.network(step.seen().features).detach())
    # The network after the first part is where the second starts, and its teacher.
    newer = second.network(balanced.features).detach()
    close(second.tables["seen"].rows["logits"], newer)
    assert newer.shape == (30, 6) and not torch.equal(
        second.network.head.weight, first.network.head.weight
    )


def test_eeil_without_exemplars_has_one_part_with_all_updates():
    config = eeil.Config(kd_weight=0.7, temperature=2.0, balanced_rate=0.1)
    _, _, (fit,) = learn(eeil, step_of(0), config, {"steps": torch.tensor([4])})
    assert fit.phase.updates == TRAINING.whole.updates


# --- ER-ACE and the recipe


def test_er_ace_loss_is_asymmetric_on_one_batch():
    network, new, old = network_of(6), clips_of(8, [4, 5]), clips_of(3, [0, 1, 2, 3, 4, 5], seed=3)
    batch = SimpleNamespace(new=rows_of(new), memory=rows_of(old))
    found = er_ace.er_ace_loss(network, batch, None, 4)
    logits = network(new.features)
    masked = logits.masked_fill(torch.arange(6) < 4, -1e9)  # Mammoth: absent classes masked
    wanted = F.cross_entropy(masked, new.labels)
    close(found, wanted + F.cross_entropy(network(old.features), old.labels))
    alone = er_ace.er_ace_loss(network, SimpleNamespace(new=rows_of(new), memory=None), None, 4)
    close(alone, wanted)


def test_er_ace_replays_clips_of_all_classes(step):
    _, _, (fit,) = learn(er_ace, step, er_ace.Config())
    assert fit.loss is er_ace.er_ace_loss and fit.choices == 4
    assert is_table_of(fit.tables["new"], step.new)
    assert is_table_of(fit.tables["memory"], balanced_of(step))
    assert torch.bincount(fit.tables["memory"].rows["labels"]).tolist() == [5] * 6


@pytest.mark.parametrize("first", [0, 4])
@pytest.mark.parametrize("changes", [(0, 0, 0), (1, 4, 4)])
def test_the_recipes_loss_adds_its_three_terms(changes, first):
    settings = AugmentationSettings(*changes)
    new, all_ = clips_of(8, [4, 5]), clips_of(2, [0, 1, 2, 3, 4, 5], seed=3)
    draw, teacher = draw_changes(settings, new.features), frozen_copy(network_of(4, seed=9))
    drawn = [draw(len(clips), seeded(seed)) for seed, clips in enumerate((new, all_))]
    batch = SimpleNamespace(new=rows_of(new, **drawn[0]), balanced=rows_of(all_, **drawn[1]))
    network = network_of(6)
    choices = recipe.Choices(first, temperature=2.0)
    module = WithParts(network, teacher=teacher)
    found = recipe.recipe_loss(module, batch, SimpleNamespace(kd_weight=0.7), choices)
    pairs = zip((new, all_), drawn, strict=True)
    both = torch.cat([augment(clips.features, **changes) for clips, changes in pairs])
    assert torch.equal(both, torch.cat([new.features, all_.features])) == (changes == (0, 0, 0))
    kept = kept_apart(network(both)[:, :4], teacher(both), 2.0)
    wanted = F.cross_entropy(network(both[:16])[:, first:], new.labels - first)
    wanted = wanted + F.cross_entropy(network(both[16:]), all_.labels)
    close(found, wanted + 0.7 * 4 * kept)


@pytest.mark.parametrize(("rivals", "first"), [("new", 4), ("all", 0)])
def test_the_recipe_augments_and_distils_new_clips_and_the_balanced_set(step, rivals, first):
    config = recipe.Config(
        kd_weight=0.7,
        temperature=2.0,
        classifier="argmax",
        rivals=rivals,
        augmentation=AugmentationSettings(1, 4, 4),
    )
    step = replace(step, validation=clips_of(3, [4, 5], seed=7))
    before, after, (fit,) = learn(recipe, step, config)
    x = step.validation.features
    close(fit.validation.logits(fit.network, x), fit.network.network(x))
    assert fit.loss is recipe.recipe_loss and fit.choices == (first, 2.0)
    assert fit.numbers == {"kd_weight": 0.7}
    assert is_table_of(fit.tables["new"], step.new)
    assert is_table_of(fit.tables["balanced"], balanced_of(step))
    drawn = [fit.tables[name].draw(8, seeded()) for name in ("new", "balanced")]
    assert all(set(d) == {"shift", "hidden_frames", "hidden_bins"} for d in drawn)
    x = step.new.features
    close(fit.network.teacher(x), before.network(x))
    assert after.n_classes == 6 and not after.tensors


def test_the_recipe_predicts_by_the_nearest_mean_if_it_has_means():
    network, x = network_of(4), clips_of(9, [0, 1, 2, 3]).features
    means = F.normalize(network.embed(x[:4]).detach())  # of four clips: each is its own nearest
    learner = Learner(network, {"class_means": means})
    found = recipe.predict(learner, x)
    assert torch.equal(found, nearest_mean(learner, x)) and found[:4].tolist() == [0, 1, 2, 3]
    assert torch.equal(recipe.predict(Learner(network), x), network(x).argmax(1))
    assert not torch.equal(found, network(x).argmax(1))


# --- GDumb


def gdumb_from(seed):
    learner = Learner(network_of(4, seed=seed))
    steps = gdumb.learn_step(learner, step_of(), gdumb.Config(), TRAINING, SEEDS)
    return run(steps)[0].network


def test_gdumb_takes_nothing_from_the_old_network():
    first, second = gdumb_from(0), gdumb_from(20)
    for name, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[name]), name


def test_gdumb_starts_like_a_new_network():
    old = network_of(6, seed=20)
    found = gdumb.reinitialised(old, seeded())
    for block in found.blocks:
        assert not block[-1].running_mean.any() and (block[-1].running_var == 1).all()
        assert (block[-1].weight == 1).all() and not block[-1].bias.any()
    assert not torch.equal(found.head.weight, old.head.weight)
    assert found.head.weight.abs().max() <= 0.5  # 1 / sqrt(4 inputs)


def test_gdumb_learns_from_a_balanced_part_of_k_clips(step):
    _, _, (fit,) = learn(gdumb, step, gdumb.Config())
    memory = balanced_of(step)
    part = memory[torch.cat([of_labels(memory, c, c + 1)[:3] for c in range(6)])]
    assert torch.bincount(part.labels).tolist() == [3] * 6  # of 20 exemplars
    assert is_table_of(fit.tables["seen"], part) and fit.loss is gdumb.gdumb_loss
    found = gdumb.gdumb_loss(fit.network, SimpleNamespace(seen=rows_of(part)), None, None)
    close(found, F.cross_entropy(fit.network(part.features), part.labels))


def test_gdumb_takes_each_clip_once_where_a_class_has_few(step):
    few = step.new[torch.cat([of_labels(step.new, 4, 5)[:2], of_labels(step.new, 5, 6)])]
    _, _, (fit,) = learn(gdumb, replace(step, new=few), gdumb.Config())
    assert torch.bincount(fit.tables["seen"].rows["labels"]).tolist() == [3, 3, 3, 3, 2, 3]


def test_gdumb_without_memory_learns_nothing():
    _, after, fits = learn(gdumb, step_of(0), gdumb.Config())
    assert fits == [] and after.n_classes == 6


# --- generative replay

GENERATOR = generative_replay.Config(
    feature_weight=0.7, latent=3, hidden=16, updates=500, rate=0.01
)


def test_divergence_is_torchs():
    mean, log_variance = numbers(7, 3), numbers(7, 3, seed=1)
    normal = torch.distributions.Normal
    wanted = torch.distributions.kl_divergence(
        normal(mean, (log_variance / 2).exp()), normal(torch.zeros(7, 3), torch.ones(7, 3))
    )
    close(generative_replay.divergence(mean, log_variance), wanted.sum(1))


def test_the_autoencoders_loss_is_minus_the_evidence_lower_bound():
    model = generative_replay.Autoencoder(4, 3, latent=2, hidden=5)
    x, labels, noise = numbers(6, 4), torch.arange(6) % 3, numbers(6, 2, seed=2)
    hidden = model.encoder(torch.cat([x, F.one_hot(labels, 3).float()], 1)).relu()
    mean, log_variance = model.to_latent(hidden)[:, :2], model.to_latent(hidden)[:, 2:]
    spread = (log_variance / 2).exp()
    decoded = torch.distributions.Normal(model.decode(mean + noise * spread, labels), 1.0)
    constant = 4 * 0.5 * np.log(2 * np.pi)
    normal = torch.distributions.Normal
    apart = torch.distributions.kl_divergence(normal(mean, spread), normal(0.0, 1.0)).sum(1)
    likelihood = decoded.log_prob(x).sum(1) + constant
    batch = SimpleNamespace(points=SimpleNamespace(embeddings=x, labels=labels, noise=noise))
    found = generative_replay.autoencoder_loss(model, batch, None, None)
    close(found, (apart - likelihood).mean())


def test_the_decoder_by_hand():
    model = generative_replay.Autoencoder(1, 2, latent=1, hidden=2)
    model.classes.weight.data = torch.tensor([[1.0, 0.0], [0.0, -9.0]])
    model.classes.bias.data = torch.tensor([0.5, 1.0])
    model.latent.weight.data = torch.tensor([[2.0], [0.0]])
    model.out.weight.data, model.out.bias.data = torch.tensor([[1.0, 10.0]]), torch.tensor([0.1])
    # Class 0, noise 3: hidden 1 + 0.5 + 6 = 7.5 and 1. Class 1, noise -3: 0.5 - 6 and 1 - 9, both
    # cut at 0.
    found = model.decode(torch.tensor([[3.0], [-3.0]]), torch.tensor([0, 1]))
    close(found, torch.tensor([[17.6], [0.1]]))


class Itself(torch.nn.Module):
    """A network whose embeddings are its features; only the number of its classes counts."""

    def __init__(self, n_classes):
        super().__init__()
        self.n_classes = n_classes

    def embed(self, features):
        return features


def generator_of(points, labels, n_classes, config=GENERATOR, seeds=None, tensors=None):
    """What generative replay keeps of embeddings, and the Fit of its decoder."""
    learner = Learner(Itself(n_classes), tensors or {})
    clips = replace(NO_CLIPS, features=points, labels=labels)
    steps = generative_replay.state_after(learner, clips, NO_CLIPS, config, seeds or Seeds(0, 0))
    kept, (fit,) = run(steps)
    return kept.tensors, fit


def three_gaussians():
    """Embeddings of three classes far apart, in units far from 1."""
    centres = torch.tensor([[90.0, 0, 5, 0], [0, 90.0, 5, 0], [0, 0, 5, 0.9]])
    labels = torch.arange(300) % 3
    return centres[labels] + torch.tensor([3.0, 3, 0.1, 0.03]) * numbers(300, 4), labels


@pytest.fixture(scope="module")
def generated():
    """The three Gaussians, and a generator of them."""
    points, labels = three_gaussians()
    return points, labels, generator_of(points, labels, 3)[0]


def test_the_generators_class_means_are_near_the_true_ones(generated):
    points, labels, tensors = generated
    found, of = generative_replay.replay(tensors, GENERATOR, 600, seeded())
    assert torch.bincount(of).tolist() == [200] * 3
    for label in range(3):
        gap = found[of == label].mean(0) - points[labels == label].mean(0)
        assert (gap.abs() / points.std(0)).max() < 0.35
    assert found.isfinite().all()


def test_the_generator_gives_each_class_its_turn_and_repeats(generated):
    def make(seed):
        return generative_replay.replay(generated[2], GENERATOR, 7, seeded(seed))

    first, labels = make(1)
    assert labels.tolist() == [0, 1, 2, 0, 1, 2, 0]
    assert torch.equal(first, make(1)[0]) and not torch.equal(first, make(2)[0])


def test_the_decoders_noise_is_of_the_runs_own_generator():
    points, labels = three_gaussians()
    config = replace(GENERATOR, updates=3)

    def tensors(seed):
        torch.seed()  # torch's own generator, which does not count
        return generator_of(points, labels, 3, config, Seeds(seed, 0))[0]

    first, again, other = tensors(0), tensors(0), tensors(1)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["out.weight"], other["out.weight"])
    # Not the first weights alone: the noise of the updates differs as well.
    _, fit = generator_of(points, labels, 3, config)
    draw = fit.tables["points"].draw
    a, b, c = (draw(64, seeded(seed))["noise"] for seed in (0, 0, 1))
    assert a.shape == (64, 3) and torch.equal(a, b) and not torch.equal(a, c)
    assert abs(a.mean()) < 0.3 and abs(a.std() - 1) < 0.2


def test_the_generators_cost_is_the_bytes_of_its_tensors():
    learner = Learner(network_of(4))
    config = generative_replay.Config(feature_weight=1.0, latent=3, hidden=16, updates=2, rate=0.01)
    base = state_after(generative_replay, learner, clips_of(6, [0, 1, 2, 3]), config=config)
    wider = Learner(network_of(6), base.tensors)
    after = state_after(generative_replay, wider, clips_of(6, [4, 5]), config=config)
    for kept, n_seen in ((base, 4), (after, 6)):
        cost = generative_replay.cost(kept.network, n_seen, config)
        assert cost.fixed == sum(value.nbytes for value in kept.tensors.values())
        assert cost.per_exemplar == 0


def test_a_new_generator_learns_old_classes_from_the_old_one(generated):
    points, labels = numbers(12, 4), torch.arange(12) % 2 + 3
    tensors, fit = generator_of(points, labels, 5, seeds=SEEDS, tensors=generated[2])
    rows = fit.tables["points"].rows
    # 12 clips of 2 new classes, and as many a class of the 3 old ones: 18.
    assert torch.bincount(rows["labels"]).tolist() == [6] * 5
    assert fit.network.n_classes == 5
    draw = SEEDS.generator("old embeddings")
    replayed, _ = generative_replay.replay(generated[2], GENERATOR, 18, draw)
    both = torch.cat([points, replayed])
    close(rows["embeddings"], (both - both.mean(0)) / (both.std(0) + 1e-6))
    close(tensors["centre"], both.mean(0))
    close(tensors["spread"], both.std(0))


def test_the_decoder_is_learnt_with_adam_at_its_own_rate(generated):
    _, fit = generator_of(*generated[:2], 3, replace(GENERATOR, updates=2))
    assert fit.loss is generative_replay.autoencoder_loss
    assert (fit.phase.updates, fit.phase.learning_rate) == (2, 0.01)
    assert fit.phase.optimiser == "adam" and fit.phase.schedule == "constant"


def test_generative_replay_loss_adds_its_terms():
    network, seen, then = network_of(5), clips_of(6, [3, 4]), numbers(12, 4)
    replayed, labels = numbers(9, 4, seed=1), torch.arange(9) % 3
    batch = SimpleNamespace(
        seen=rows_of(seen, embeddings=then),
        replayed=SimpleNamespace(embeddings=replayed, labels=labels),
    )
    found = generative_replay.generative_replay_loss(
        network, batch, SimpleNamespace(feature_weight=0.7), None
    )
    now = network.embed(seen.features)
    logits = network.head(torch.cat([now, replayed]))
    wanted = F.cross_entropy(logits, torch.cat([seen.labels, labels]))
    close(found, wanted + 0.7 * (now - then).square().mean())


def test_generative_replay_replays_as_many_of_each_old_class(generated):
    step = StepClips(clips_of(12, [3, 4]), NO_CLIPS, NO_CLIPS, 0, 3, 2)
    before, after, (fit,) = learn(generative_replay, step, GENERATOR, dict(generated[2]))
    assert fit.loss is generative_replay.generative_replay_loss
    assert fit.numbers == {"feature_weight": 0.7}
    seen, replayed = fit.tables["seen"], fit.tables["replayed"]
    assert (seen.share, replayed.share) == (16, 24)  # 8 of each of 2 and of 3 classes
    assert is_table_of(seen, step.new)
    close(seen.rows["embeddings"], before.network.embed(step.new.features).detach())
    wanted, labels = generative_replay.replay(
        generated[2], GENERATOR, 24 * TRAINING.whole.updates, SEEDS.generator("replay")
    )
    assert torch.equal(replayed.rows["embeddings"], wanted)
    assert torch.equal(replayed.rows["labels"], labels)
    assert after.tensors == dict(generated[2])
