"""iCaRL and LUCIR, which predict by angles: formulas by hand, and FACIL's and Avalanche's."""

import copy
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import phase
from sklearn.neighbors import NearestCentroid
from torch import nn
from untrained import (
    NO_CLIPS,
    SEEDS,
    TRAINING,
    Embedded,
    clips_of,
    close,
    learn,
    network_of,
    numbers,
    rows_of,
    state_after,
    step_of,
)

from mtcil.learning.clips import Clips
from mtcil.learning.learner import Learner, class_means, cosines
from mtcil.learning.network import WithParts
from mtcil.learning.steps import Cost
from mtcil.methods import icarl, lucir


@pytest.fixture
def step():
    return step_of()


# --- iCaRL


def test_sigmoid_loss_by_hand():
    # Label 1 is new, class 0 old with sigmoid 1/2: both BCE at logit 0 are ln 2.
    # New logit 0 with target 1: ln 2. Sum 2 ln 2 a row, not divided by classes.
    found = icarl.sigmoid_loss(torch.zeros(2, 2), torch.tensor([1, 1]), torch.zeros(2, 1))
    assert found.item() == pytest.approx(2 * np.log(2))
    # An old clip's own class: target is the old sigmoid s(ln 3) = 3/4, not 1.
    found = icarl.sigmoid_loss(torch.zeros(1, 2), torch.tensor([0]), torch.tensor([[np.log(3)]]))
    assert found.item() == pytest.approx(2 * np.log(2))
    found = icarl.sigmoid_loss(
        torch.tensor([[0.0, np.log(3)]]), torch.tensor([0]), torch.tensor([[5.0]])
    )
    assert found.item() == pytest.approx(np.log(2) + np.log(4), rel=1e-5)


def test_sigmoid_loss_is_avalanches_times_the_classes():
    logits, old, labels = numbers(8, 6), numbers(8, 4, seed=1), torch.arange(8) % 6
    targets = F.one_hot(labels, 6).float()
    targets[:, :4] = old.sigmoid()
    close(icarl.sigmoid_loss(logits, labels, old), 6 * nn.BCELoss()(logits.sigmoid(), targets))


def test_icarl_loss_by_plain_sums():
    network, seen, old = network_of(6), clips_of(4, [0, 5]), numbers(8, 4)
    found = icarl.icarl_loss(network, SimpleNamespace(seen=rows_of(seen, logits=old)), None, None)
    logits, total = network(seen.features), 0.0
    for row, label in enumerate(seen.labels.tolist()):
        for c in range(6):
            p = logits[row, c].sigmoid()
            target = old[row, c].sigmoid() if c < 4 else float(c == label)
            total = total - target * p.log() - (1 - target) * (1 - p).log()
    close(found, total / len(seen))


def test_icarl_learns_from_the_old_networks_logits_on_all_clips(step):
    before, _, (fit,) = learn(icarl, step, icarl.Config())
    assert fit.loss is icarl.icarl_loss
    rows, seen = fit.tables["seen"].rows, step.seen()
    assert torch.equal(rows["features"], seen.features)
    close(rows["logits"], before.network(seen.features).detach())


def test_nearest_mean_agrees_with_brute_force_and_scikit_learn():
    points, labels = numbers(40, 3), torch.arange(40) % 4
    points = points + 0.7 * numbers(4, 3, seed=1)[labels]
    network = Embedded(numbers(4, 3), numbers(4))
    learner = state_after(icarl, Learner(network), NO_CLIPS, Clips(points, labels))
    unit = points.double().numpy()
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    means = np.array([unit[labels.numpy() == label].mean(0) for label in range(4)])
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    close(learner.tensors["class_means"], torch.tensor(means))
    x = 5 * numbers(60, 3, seed=2)
    directions = (x / x.norm(dim=1, keepdim=True)).numpy()
    gaps = np.linalg.norm(directions[:, None] - means[None], axis=2)
    found = icarl.predict(learner, x).numpy()
    np.testing.assert_array_equal(found, gaps.argmin(1))
    assert len(set(found.tolist())) == 4
    about = np.concatenate([means + 0.1, means - 0.1])  # whose centroids are the means
    centroids = NearestCentroid().fit(about, np.tile(np.arange(4), 2))
    np.testing.assert_array_equal(found, centroids.predict(directions))


def test_class_means_by_hand():
    # Unit embeddings (1, 0), (0, 1): mean (1/2, 1/2), unit (r, r). Lengths do not count.
    embeddings, r = torch.tensor([[10.0, 0.0], [0.0, 0.1], [0.0, -3.0]]), 0.5**0.5
    found = class_means(embeddings, torch.tensor([0, 0, 1]), 2)
    close(found, torch.tensor([[r, r], [0.0, -1.0]]))


def test_without_exemplars_of_some_class_icarl_takes_the_largest_logit(step):
    few = step.memory[step.memory.labels < 3]
    learner = state_after(icarl, Learner(network_of(4)), NO_CLIPS, few)
    assert not learner.tensors
    x = step.new.features
    assert torch.equal(icarl.predict(learner, x), learner.network(x).argmax(1))


def test_means_of_an_earlier_step_are_not_kept(step):
    old = Learner(network_of(4), {"class_means": torch.ones(4, 4)})
    kept = state_after(icarl, old, NO_CLIPS, step.memory)
    embeddings = old.network.embed(step.memory.features)
    close(kept.tensors["class_means"], class_means(embeddings, step.memory.labels, 4).detach())


# --- LUCIR


def test_the_cosine_rule_and_logits_by_hand():
    angles = cosines(torch.tensor([[3.0, 4.0]]), torch.tensor([[2.0, 0.0], [0.0, 0.1], [-1, 0]]))
    close(angles, torch.tensor([[0.6, 0.8, -0.6]]))
    lengths = torch.tensor([[1e4], [1.0], [0.1]])  # neither they nor biases count
    network = Embedded(numbers(3, 2) * lengths, torch.tensor([0.0, 1e6, 0.0]))
    x = numbers(30, 2, seed=1)
    wanted = [
        max(range(3), key=lambda c: np.dot(a, b[c]) / np.linalg.norm(b[c]))
        for a, b in ((row, network.head.weight.detach().numpy()) for row in x.numpy())
    ]
    assert lucir.predict(Learner(network), x).tolist() == wanted
    assert len(set(wanted)) > 1


def test_less_forget_loss_by_hand_and_as_facil():
    new, old = torch.tensor([[3.0, 4.0], [1.0, 0.0]]), torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    assert lucir.less_forget_loss(new, old).item() == pytest.approx(1 - (0.6 + 0.0) / 2)
    new, old = numbers(9, 4), numbers(9, 4, seed=1)
    close(lucir.less_forget_loss(new, old), nn.CosineEmbeddingLoss()(new, old, torch.ones(9)))


def test_ranking_loss_by_hand():
    # Two old classes, three new. Row 1 (own 0.9): 0.5 - 0.9 + 0.7 = 0.3 and 0.5 - 0.9 + 0.3 < 0.
    # Row 2 (own 0.1): 0.5 - 0.1 + 0.4 = 0.8 and 0.5 - 0.1 + 0.2 = 0.6. Row 3 is new: left out.
    # Two hardest: ((0.3 + 0) / 2 + (0.8 + 0.6) / 2) / 2 exemplars.
    angles = torch.tensor(
        [[0.9, 0.8, 0.7, -0.5, 0.3], [0.9, 0.1, 0.0, 0.4, 0.2], [0.9, 0.9, 0.9, 0.9, 0.9]]
    )
    labels = torch.tensor([0, 1, 3])
    found = lucir.ranking_loss(angles, labels, 2, hardest=2, margin=0.5)
    assert found.item() == pytest.approx((0.3 + 0.8 + 0.6) / 4)
    hardest = lucir.ranking_loss(angles, labels, 2, hardest=1, margin=0.5)
    assert hardest.item() == pytest.approx((0.3 + 0.8) / 2)
    # All three new classes, however many are asked for: row 2 also has 0.5 - 0.1 + 0.0 = 0.4.
    found = lucir.ranking_loss(angles, labels, 2, 9, 0.5)
    assert found.item() == pytest.approx((0.3 + 0.8 + 0.6 + 0.4) / 6)
    alone = lucir.ranking_loss(angles[1:], labels[1:], 2, 2, 0.5)  # one exemplar
    assert alone.item() == pytest.approx((0.8 + 0.6) / 2)
    assert lucir.ranking_loss(angles[2:], labels[2:], 2, 2, 0.5).item() == 0


def test_ranking_loss_is_facils():
    angles, labels = numbers(12, 7).tanh(), torch.arange(12) % 7
    old = labels < 4
    own = angles.gather(1, labels.unsqueeze(1))[old].repeat(1, 2)
    nearest = angles[old, 4:].topk(2, dim=1)[0]
    facil = nn.MarginRankingLoss(margin=0.5)(
        own.view(-1), nearest.view(-1), torch.ones(own.numel())
    )
    close(lucir.ranking_loss(angles, labels, 4, 2, 0.5), facil)


def test_imprint_sets_new_rows_along_class_means_as_long_as_the_old_rows():
    network, new = network_of(6), clips_of(5, [4, 5])
    old = network.head.weight[:4].detach().clone()
    lucir.imprint(network, 4, new)
    assert torch.equal(network.head.weight[:4], old)
    for label in (4, 5):
        unit = F.normalize(network.embed(new.features[new.labels == label])).mean(0)
        close(network.head.weight[label], unit / unit.norm() * old.norm(dim=1).mean())


CONFIG = lucir.Config(less_forget=5.0, margin=0.5, hardest=2)


def test_lucir_starts_from_imprinted_rows(step):
    still = replace(TRAINING, whole=phase(0))
    _, after, _ = learn(lucir, step, CONFIG, {"scale": torch.ones(1)}, still)
    wanted = copy.deepcopy(after.network)
    lucir.imprint(wanted, 4, step.new)
    close(after.network.head.weight, wanted.head.weight)


def test_lucir_loss_adds_its_three_terms():
    network, seen, then = network_of(6), clips_of(6, [0, 2, 5]), numbers(18, 4)
    module = WithParts(network, scale=nn.Parameter(torch.tensor([8.0])))
    found = lucir.lucir_loss(
        module,
        SimpleNamespace(seen=rows_of(seen, embeddings=then)),
        SimpleNamespace(less_forget=3.0),
        lucir.Choices(n_old=4, hardest=2, margin=0.5),
    )
    now = network.embed(seen.features)
    angles = F.normalize(now) @ F.normalize(network.head.weight).T
    wanted = (
        F.cross_entropy(8 * angles, seen.labels)
        + 3 * (1 - F.cosine_similarity(now, then)).mean()
        + lucir.ranking_loss(angles, seen.labels, 4, 2, 0.5)
    )
    close(found, wanted)
    assert torch.autograd.grad(found, module.scale)[0] != 0  # it is learnt


def test_lucir_weighs_less_forget_by_the_classes_and_its_teacher_is_the_old_network(step):
    before, after, (fit,) = learn(lucir, step, CONFIG, {"scale": torch.tensor([8.0])})
    assert fit.loss is lucir.lucir_loss
    assert fit.numbers["less_forget"] == pytest.approx(5 * (4 / 2) ** 0.5)
    assert fit.choices == (4, 2, 0.5)
    wanted = before.network.embed(step.seen().features).detach()
    close(fit.tables["seen"].rows["embeddings"], wanted)
    assert fit.network.scale.tolist() == before.tensors["scale"].tolist() == [8.0]
    assert set(after.tensors) == {"scale"} and after.tensors["scale"] != 8
    assert not after.tensors["scale"].requires_grad


def test_lucir_stops_early_by_scaled_cosines(step):
    step = replace(step, validation=clips_of(3, [4, 5], seed=7))
    _, _, (fit,) = learn(lucir, step, CONFIG, {"scale": torch.tensor([8.0])})
    x, network = step.validation.features, fit.network.network
    wanted = 8 * F.normalize(network.embed(x)) @ F.normalize(network.head.weight).T
    close(fit.validation.logits(fit.network, x), wanted)


def test_the_first_scale_makes_cosines_as_large_as_logits():
    learner, clips = Learner(network_of(4)), clips_of(5, [0, 1, 2, 3])
    kept = state_after(lucir, learner, clips)
    lengths = learner.network.embed(clips.features).norm(dim=1).mean()
    close(kept.tensors["scale"], (lengths * learner.network.head.weight.norm(dim=1).mean())[None])
    assert state_after(lucir, kept, clips, seeds=SEEDS) is kept
    assert lucir.cost(kept.network, 4, CONFIG) == Cost(kept.tensors["scale"].nbytes)
