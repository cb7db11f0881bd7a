"""iCaRL and LUCIR, which predict by angles: formulas by hand, and as FACIL and Avalanche have them.

Closures inside `learn_step` are reached through `untrained`: see there.
"""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import phase
from sklearn.neighbors import NearestCentroid
from torch import nn
from untrained import (
    NO_CLIPS,
    TRAINING,
    batch_of,
    clips_of,
    close,
    learn,
    network_of,
    numbers,
    step_of,
    without_training,
)

from mtcil.learning.clips import Clips, join
from mtcil.learning.fit import Streams
from mtcil.learning.learner import Learner, class_means, cosines, predict
from mtcil.methods import icarl, lucir


@pytest.fixture
def step():
    return step_of()


@pytest.fixture
def untrained(monkeypatch):
    return without_training(monkeypatch)


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


def test_icarl_learns_from_the_old_sigmoids(untrained, step):
    before, _ = learn(icarl, step, icarl.Config())
    (call,) = untrained
    seen = batch_of(call, join(step.new, step.memory))
    logits, old = call.network(seen.features), before.network(seen.features)
    total = 0.0
    for row, label in enumerate(seen.labels.tolist()):
        for c in range(6):
            p = logits[row, c].sigmoid()
            target = old[row, c].sigmoid() if c < 4 else float(c == label)
            total = total - target * p.log() - (1 - target) * (1 - p).log()
    close(call.loss, total / len(seen))


class Embedded(nn.Module):
    """A network whose features are their own embeddings."""

    def __init__(self, weight, bias):
        super().__init__()
        self.head = nn.Linear(weight.shape[1], len(weight))
        self.head.weight.data, self.head.bias.data = weight, bias
        self.n_classes = len(weight)

    def embed(self, features):
        return features


def test_nearest_mean_agrees_with_brute_force_and_scikit_learn():
    points, labels = numbers(40, 3), torch.arange(40) % 4
    points = points + 0.7 * numbers(4, 3, seed=1)[labels]
    network = Embedded(numbers(4, 3), numbers(4))
    learner = icarl.keep(
        Learner(network), NO_CLIPS, Clips(points, labels), icarl.Config(), Streams(0, 0)
    )
    assert learner.rule == "nearest_mean"
    unit = points.double().numpy()
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    means = np.array([unit[labels.numpy() == label].mean(0) for label in range(4)])
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    close(learner.tensors["class_means"], torch.tensor(means))
    x = 5 * numbers(60, 3, seed=2)
    directions = (x / x.norm(dim=1, keepdim=True)).numpy()
    gaps = np.linalg.norm(directions[:, None] - means[None], axis=2)
    found = predict(learner, x).numpy()
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
    learner = icarl.keep(Learner(network_of(4)), NO_CLIPS, few, None, Streams(0, 0))
    assert learner.rule == "argmax" and not learner.tensors


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
    assert predict(Learner(network, rule="cosine"), x).tolist() == wanted
    assert len(set(wanted)) > 1


def test_less_forget_loss_by_hand_and_as_facil():
    new, old = torch.tensor([[3.0, 4.0], [1.0, 0.0]]), torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    assert lucir.less_forget_loss(new, old).item() == pytest.approx(1 - (0.6 + 0.0) / 2)
    new, old = numbers(9, 4), numbers(9, 4, seed=1)
    close(lucir.less_forget_loss(new, old), nn.CosineEmbeddingLoss()(new, old, torch.ones(9)))


def test_ranking_loss_by_hand():
    # Two old classes, three new. Row 1 (own 0.9): 0.5 - 0.9 + 0.7 = 0.3 and 0.5 - 0.9 + 0.3 < 0.
    # Row 2 (own 0.1): 0.5 - 0.1 + 0.4 = 0.8 and 0.5 - 0.1 + 0.2 = 0.6. Row 3 is new: left out.
    angles = torch.tensor(
        [[0.9, 0.8, 0.7, -0.5, 0.3], [0.9, 0.1, 0.0, 0.4, 0.2], [0.9, 0.9, 0.9, 0.9, 0.9]]
    )
    labels = torch.tensor([0, 1, 3])
    found = lucir.ranking_loss(angles, labels, 2, hardest=2, margin=0.5)
    assert found.item() == pytest.approx((0.3 + 0.8 + 0.6) / 2)
    assert lucir.ranking_loss(angles, labels, 2, 9, 0.5).item() == pytest.approx((1.7 + 0.4) / 2)
    assert lucir.ranking_loss(angles[2:], labels[2:], 2, 2, 0.5).item() == 0


def test_ranking_loss_is_facils_times_the_hardest():
    angles, labels = numbers(12, 7).tanh(), torch.arange(12) % 7
    old = labels < 4
    own = angles.gather(1, labels.unsqueeze(1))[old].repeat(1, 2)
    nearest = angles[old, 4:].topk(2, dim=1)[0]
    facil = nn.MarginRankingLoss(margin=0.5)(
        own.view(-1), nearest.view(-1), torch.ones(own.numel())
    )
    close(lucir.ranking_loss(angles, labels, 4, 2, 0.5), 2 * facil)


def test_imprint_sets_new_rows_along_class_means_as_long_as_the_old_rows():
    network, new = network_of(6), clips_of(5, [4, 5])
    old = network.head.weight[:4].detach().clone()
    lucir.imprint(network, 4, new)
    assert torch.equal(network.head.weight[:4], old)
    for label in (4, 5):
        unit = F.normalize(network.embed(new.features[new.labels == label])).mean(0)
        close(network.head.weight[label], unit / unit.norm() * old.norm(dim=1).mean())


def test_lucir_starts_from_imprinted_rows(step):
    still = replace(TRAINING, then_all=phase(0))
    config = lucir.Config(less_forget=5.0, margin=0.5, hardest=2)
    _, after = learn(lucir, step, config, {"scale": torch.ones(1)}, "cosine", still)
    wanted = copy.deepcopy(after.network)
    lucir.imprint(wanted, 4, step.new)
    close(after.network.head.weight, wanted.head.weight)


def test_lucir_adds_its_three_terms(untrained, step):
    config = lucir.Config(less_forget=5.0, margin=0.5, hardest=2)
    before, after = learn(lucir, step, config, {"scale": torch.tensor([8.0])}, "cosine")
    (call,) = untrained
    batch = batch_of(call, join(step.new, step.memory))
    now, then = call.network.embed(batch.features), before.network.embed(batch.features)
    angles = F.normalize(now) @ F.normalize(call.network.head.weight).T
    wanted = (
        F.cross_entropy(8 * angles, batch.labels)
        + 5 * (4 / 2) ** 0.5 * (1 - F.cosine_similarity(now, then)).mean()
        + lucir.ranking_loss(angles, batch.labels, 4, 2, 0.5)
    )
    close(call.loss, wanted)
    (scale,) = call.extra_parameters
    assert torch.autograd.grad(call.loss, scale)[0] != 0  # it is learnt
    assert after.rule == "cosine" and after.tensors["scale"].tolist() == [8.0]


def test_the_first_scale_makes_cosines_as_large_as_logits():
    learner, clips = Learner(network_of(4)), clips_of(5, [0, 1, 2, 3])
    kept = lucir.keep(learner, clips, NO_CLIPS, None, Streams(0, 0))
    lengths = learner.network.embed(clips.features).norm(dim=1).mean()
    close(kept.tensors["scale"], (lengths * learner.network.head.weight.norm(dim=1).mean())[None])
    assert kept.rule == "cosine"
    assert lucir.keep(kept, clips, NO_CLIPS, None, Streams(0, 1)) is kept
