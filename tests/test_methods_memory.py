"""Methods that replay or generate: formulas by hand, and as FACIL, Mammoth and others have them.

Closures inside `learn_step` are reached through `untrained`: see there.
"""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from untrained import (
    NO_CLIPS,
    TRAINING,
    batch_of,
    clips_of,
    close,
    kept_apart,
    learn,
    network_of,
    numbers,
    seeded,
    step_of,
    without_training,
)

from mtcil.learning.augmentation import AugmentationSettings, augmented
from mtcil.learning.clips import join, of_labels
from mtcil.learning.fit import Streams
from mtcil.learning.groups import distil_by_step
from mtcil.learning.learner import Learner
from mtcil.learning.steps import StepClips
from mtcil.methods import der_pp, eeil, er_ace, gdumb, generative_replay, recipe, ss_il


@pytest.fixture
def step():
    return step_of()


@pytest.fixture
def untrained(monkeypatch):
    return without_training(monkeypatch)


# --- DER++


def test_logit_loss_by_hand_leaves_out_what_was_not_stored():
    # Differences 1, 2 in the first row, 3 in the second: (1 + 4 + 9) / 3.
    stored = torch.tensor([[1.0, 4.0], [0.0, torch.nan]])
    logits = torch.tensor([[2.0, 2.0, 9.0], [3.0, 7.0, 9.0]], requires_grad=True)
    loss = der_pp.logit_loss(logits, stored)
    assert loss.item() == pytest.approx(14 / 3)
    loss.backward()
    assert logits.grad[1, 1] == 0 and not logits.grad[:, 2].any() and logits.grad.isfinite().all()


def test_stored_logits_are_cut_with_their_exemplars_and_never_computed_again():
    first = Learner(network_of(4))
    m5, m3 = clips_of(5, [0, 1, 2, 3], seed=3), clips_of(3, [4, 5], seed=4)
    kept = der_pp.keep(first, NO_CLIPS, m5, None, Streams(0, 0))
    cut = m5[torch.cat([of_labels(m5, c, c + 1)[:3] for c in range(4)])]
    second = Learner(network_of(6, seed=8), kept.tensors)
    again = der_pp.keep(second, NO_CLIPS, join(cut, m3), None, Streams(0, 1))
    smaller = join(cut, m3)
    smaller = smaller[torch.cat([of_labels(smaller, c, c + 1)[:2] for c in range(6)])]
    found = der_pp.of_exemplars(again, smaller)
    assert found.shape == (12, 6)
    close(found[:8, :4], first.network(smaller.features[:8]).detach())
    assert found[:8, 4:].isnan().all()
    close(found[8:], second.network(smaller.features[8:]).detach())
    assert again.tensors["logits 0"].shape == (3, 4) and again.tensors["logits 5"].shape == (3, 6)


def test_der_pp_adds_its_three_terms(untrained, step):
    tensors = {f"logits {c}": numbers(5, 4, seed=c) for c in range(4)}
    _, after = learn(der_pp, step, der_pp.Config(alpha=0.3, beta=0.5), tensors)
    (call,) = untrained
    new, old = step.new[call.rows[0]], step.memory[call.rows[1]]
    logits = call.network(old.features)
    stored = torch.cat([tensors[f"logits {c}"] for c in range(4)])[call.rows[1]]
    wanted = (
        F.cross_entropy(call.network(new.features), new.labels)
        + 0.3 * F.mse_loss(logits[:, :4], stored)
        + 0.5 * F.cross_entropy(logits, old.labels)
    )
    close(call.loss, wanted)
    assert after.tensors == tensors


def test_der_pp_without_memory_is_cross_entropy(untrained):
    tensors = {f"logits {c}": torch.zeros(0, 4) for c in range(4)}
    step = step_of(0)
    learn(der_pp, step, der_pp.Config(alpha=0.3, beta=0.5), tensors)
    new = step.new[untrained[0].rows[0]]
    close(untrained[0].loss, F.cross_entropy(untrained[0].network(new.features), new.labels))


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
    learner = ss_il.keep(Learner(network_of(4)), NO_CLIPS, NO_CLIPS, None, Streams(0, 0))
    assert learner.tensors["steps"].tolist() == [4]
    wider = eeil.keep(
        Learner(network_of(6), learner.tensors), NO_CLIPS, NO_CLIPS, None, Streams(0, 1)
    )
    assert wider.tensors["steps"].tolist() == [4, 2]


def test_separated_loss_by_hand():
    # Two old classes, one new. Row 1, label 0: softmax of (ln 3, 0), 3/4. Row 2, label 2: the only
    # new class, 0. Averaged over both rows: ln(4/3) / 2, however large the logits apart.
    logits = torch.tensor([[np.log(3), 0.0, 50.0], [90.0, 0.0, -7.0]]).float()
    found = ss_il.separated_loss(logits, torch.tensor([0, 2]), 2)
    assert found.item() == pytest.approx(np.log(4 / 3) / 2, rel=1e-5)
    for label in (0, 2):  # a batch of one kind alone
        assert ss_il.separated_loss(logits, torch.tensor([label, label]), 2).isfinite()


def test_ss_il_separates_and_distils_both_kinds_of_clips(untrained, step):
    before, _ = learn(
        ss_il, step, ss_il.Config(kd_weight=0.7, temperature=2.0), {"steps": torch.tensor([3, 1])}
    )
    (call,) = untrained
    new, old = step.new[call.rows[0]], step.memory[call.rows[1]]
    of_new, of_old = call.network(new.features), call.network(old.features)
    apart = F.cross_entropy(of_new[:, 4:], new.labels - 4, reduction="sum")
    apart = apart + F.cross_entropy(of_old[:, :4], old.labels, reduction="sum")
    both, teacher = join(new, old), before.network(join(new, old).features)
    logits = call.network(both.features)
    kept = kept_apart(logits[:, :3], teacher[:, :3], 2.0)  # a step of one class distils nothing
    close(call.loss, apart / len(both) + 0.7 * 4 * kept)
    assert len(old) == len(new)


def test_eeil_learns_all_and_then_balances_with_a_newer_teacher(untrained, step):
    config = eeil.Config(kd_weight=0.7, temperature=2.0, balanced_rate=0.1)
    before, after = learn(eeil, step, config, {"steps": torch.tensor([2, 2])})
    first, second = untrained
    assert (first.name, second.name) == ("then_all", "balanced")
    assert first.phase.learning_rate == pytest.approx(0.05)
    assert second.phase.learning_rate == pytest.approx(0.005)
    for call, part, teacher, steps in (
        (first, join(step.new, step.memory), before.network, [2, 2]),
        (second, None, first.network, [2, 2, 2]),
    ):
        if part is None:
            part = er_ace.balanced_set(step, 4, Streams(0, 1).generator("balanced set"))
            assert torch.bincount(part.labels).tolist() == [5] * 6
        batch = batch_of(call, part)
        logits, old = call.network(batch.features), teacher(batch.features)
        kept = distil_by_step(logits, old, steps, 2.0)
        close(call.loss, F.cross_entropy(logits, batch.labels) + 0.7 * kept)
    assert set(after.epochs) == {"then_all", "balanced"}


# --- ER-ACE and the recipe


def test_er_ace_is_asymmetric_on_one_batch(untrained, step):
    learn(er_ace, step, er_ace.Config())
    (call,) = untrained
    memory = er_ace.balanced_set(step, 4, Streams(0, 1).generator("balanced set"))
    new, replayed = step.new[call.rows[0]], memory[call.rows[1]]
    logits = call.network(new.features)
    masked = logits.masked_fill(torch.arange(6) < 4, -1e9)  # Mammoth: absent classes masked
    wanted = F.cross_entropy(masked, new.labels)
    close(call.loss, wanted + F.cross_entropy(call.network(replayed.features), replayed.labels))
    assert {row for _, rows in call.epoch for row in rows.tolist()} == set(range(30))  # 5 of each


@pytest.mark.parametrize(("rivals", "first"), [("new", 4), ("all", 0)])
@pytest.mark.parametrize("changes", [(0, 0, 0), (1, 4, 4)])
def test_the_recipe_adds_its_three_terms(untrained, step, changes, rivals, first):
    settings = AugmentationSettings(*changes)
    config = recipe.Config(
        kd_weight=0.7,
        temperature=2.0,
        classifier="argmax",
        rivals=rivals,
        augmentation=settings,
    )
    before, _ = learn(recipe, step, config)
    (call,) = untrained
    balanced = er_ace.balanced_set(step, 4, Streams(0, 1).generator("balanced set"))
    new, all_ = step.new[call.rows[0]], balanced[call.rows[1]]
    both = torch.cat([new.features, all_.features])
    both = augmented(both, settings, Streams(0, 1).generator("augmentation"))
    kept = kept_apart(call.network(both)[:, :4], before.network(both), 2.0)
    n = len(new)
    wanted = F.cross_entropy(call.network(both[:n])[:, first:], new.labels - first)
    wanted = wanted + F.cross_entropy(call.network(both[n:]), all_.labels)
    close(call.loss, wanted + 0.7 * 4 * kept)


@pytest.mark.parametrize(("n_new", "n_balanced"), [(40, 9), (9, 40), (20, 20), (20, 0)])
def test_an_epoch_of_the_recipe_is_the_larger_set_once(n_new, n_balanced):
    batches = list(recipe.longer_once(n_new, n_balanced, 8, seeded()))
    new, balanced = (torch.cat(rows).tolist() for rows in zip(*batches, strict=True))
    larger, smaller = (new, balanced) if n_new >= n_balanced else (balanced, new)
    assert sorted(larger) == list(range(max(n_new, n_balanced)))
    assert set(smaller) == set(range(min(n_new, n_balanced)))


# --- GDumb


def gdumb_from(seed, n_exemplars=5):
    learner = Learner(network_of(4, seed=seed))
    config = gdumb.Config(epochs=2)
    return gdumb.learn_step(learner, step_of(n_exemplars), TRAINING, config, Streams(0, 1)).network


def test_gdumb_takes_nothing_from_the_old_network():
    first, second = gdumb_from(0), gdumb_from(20)
    for name, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[name]), name


def test_gdumb_learns_from_a_balanced_part_of_k_clips(untrained, step):
    learn(gdumb, step, gdumb.Config(epochs=9))
    (call,) = untrained
    assert sum(map(len, call.epoch)) == 20 // 6 * 6  # of 20 exemplars
    assert call.phase.epochs == 9
    memory = er_ace.balanced_set(step, 4, Streams(0, 1).generator("balanced set"))
    part = memory[torch.cat([of_labels(memory, c, c + 1)[:3] for c in range(6)])]
    assert torch.bincount(part.labels).tolist() == [3] * 6
    batch = batch_of(call, part)
    close(call.loss, F.cross_entropy(call.network(batch.features), batch.labels))


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
    close(model.loss(x, labels, noise), (apart - likelihood).mean())


@pytest.fixture(scope="module")
def generated():
    """Three Gaussians far apart, in units far from 1, and a generator of them."""
    centres = torch.tensor([[90.0, 0, 5, 0], [0, 90.0, 5, 0], [0, 0, 5, 0.9]])
    labels = torch.arange(300) % 3
    points = centres[labels] + torch.tensor([3.0, 3, 0.1, 0.03]) * numbers(300, 4)
    tensors = generative_replay.train_generator(points, labels, 3, GENERATOR, Streams(0, 0))
    return points, labels, tensors


def test_the_generators_class_means_are_near_the_true_ones(generated):
    points, labels, tensors = generated
    found, of = generative_replay.generator_of(tensors, GENERATOR)(600, seeded())
    assert torch.bincount(of).tolist() == [200] * 3
    for label in range(3):
        gap = found[of == label].mean(0) - points[labels == label].mean(0)
        assert (gap.abs() / points.std(0)).max() < 0.35
    assert found.isfinite().all()


def test_the_generator_gives_each_class_its_turn_and_repeats(generated):
    make = generative_replay.generator_of(generated[2], GENERATOR)
    first, labels = make(7, seeded(1))
    assert labels.tolist() == [0, 1, 2, 0, 1, 2, 0]
    assert torch.equal(first, make(7, seeded(1))[0]) and not torch.equal(
        first, make(7, seeded(2))[0]
    )


def test_the_generators_cost_is_the_bytes_of_its_tensors():
    learner = Learner(network_of(4))
    config = generative_replay.Config(feature_weight=1.0, latent=3, hidden=16, updates=2, rate=0.01)
    clips = clips_of(6, [0, 1, 2, 3])
    base = generative_replay.keep(learner, clips, NO_CLIPS, config, Streams(0, 0))
    after = generative_replay.keep(
        Learner(network_of(6), base.tensors), clips_of(6, [4, 5]), NO_CLIPS, config, Streams(0, 1)
    )
    for kept, n_seen in ((base, 4), (after, 6)):
        cost = generative_replay.cost(kept.network, n_seen, config)
        assert cost.fixed == sum(value.nbytes for value in kept.tensors.values())
        assert cost.per_exemplar == 0


def test_a_new_generator_learns_old_classes_from_the_old_one(monkeypatch, generated):
    seen = {}

    def spy(embeddings, labels, n_classes, config, streams):
        seen.update(embeddings=embeddings, labels=labels, n_classes=n_classes)
        return generated[2]

    monkeypatch.setattr(generative_replay, "train_generator", spy)
    learner, clips = Learner(network_of(5), generated[2]), clips_of(6, [3, 4])
    generative_replay.keep(learner, clips, NO_CLIPS, GENERATOR, Streams(0, 1))
    # 12 clips of 2 new classes, and as many a class of the 3 old ones: 18.
    assert torch.bincount(seen["labels"]).tolist() == [6] * 5 and seen["n_classes"] == 5
    close(seen["embeddings"][:12], learner.network.embed(clips.features).detach())
    draw = Streams(0, 1).generator("old embeddings")
    replayed, _ = generative_replay.generator_of(generated[2], GENERATOR)(18, draw)
    assert torch.equal(seen["embeddings"][12:], replayed)


def test_generative_replay_adds_its_terms(untrained, generated):
    step = StepClips(clips_of(12, [3, 4]), NO_CLIPS, NO_CLIPS, 0)
    learner = Learner(network_of(3), generated[2])
    generative_replay.learn_step(learner, step, TRAINING, GENERATOR, Streams(0, 1))
    (call,) = untrained
    batch = batch_of(call, step.new)
    now, then = call.network.embed(batch.features), learner.network.embed(batch.features)
    make = generative_replay.generator_of(generated[2], GENERATOR)
    replayed, labels = make(len(batch) * 3 // 2, Streams(0, 1).generator("replay"))
    logits = call.network.head(torch.cat([now, replayed]))
    wanted = F.cross_entropy(logits, torch.cat([batch.labels, labels]))
    close(call.loss, wanted + 0.7 * (now - then).square().mean())
