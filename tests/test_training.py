"""Fit and base step: what must hold, not accuracies someone once saw."""

from itertools import islice

import pytest
import torch
from conftest import NETWORK, SGD, blobs, phase

from mtcil.learning import base_step as base_module
from mtcil.learning.base_step import train_base
from mtcil.learning.fit import Streams, endless, fit, learning_rate, score, shuffled, validator
from mtcil.learning.network import Network
from mtcil.settings.sections import BaseTrainingSettings, PhaseSettings


def test_shuffled_gives_each_row_once_an_epoch():
    parts = list(shuffled(10, 4, torch.Generator().manual_seed(0)))
    assert [len(p) for p in parts] == [4, 4, 2]
    assert sorted(torch.cat(parts).tolist()) == list(range(10))


@pytest.mark.parametrize("n_rows", [1, 3, 10])
def test_endless_gives_full_batches_even_from_fewer_rows_than_a_batch(n_rows):
    parts = list(islice(endless(n_rows, 4, torch.Generator().manual_seed(0)), 5 * n_rows))
    assert all(len(p) == 4 for p in parts)
    assert torch.bincount(torch.cat(parts)).tolist() == [20] * n_rows


def test_cosine_falls_from_the_full_rate_to_nearly_none():
    cosine = PhaseSettings(10, None, 0.2, "cosine")
    assert learning_rate(cosine, 0) == 0.2
    assert learning_rate(cosine, 5) == pytest.approx(0.1)
    assert 0 < learning_rate(cosine, 9) < 0.01
    assert learning_rate(phase(10), 9) == 0.1


def test_score_by_hand():
    accuracy, minus_loss = score(torch.tensor([[0.0, 0.0], [0.0, 0.0]]), torch.tensor([0, 1]))
    assert accuracy == 0.5
    assert minus_loss == pytest.approx(-0.6931, abs=1e-4)


def network():
    return Network(NETWORK, 3, torch.Generator().manual_seed(0))


def fit_with_scores(scores, patience, epochs=10):
    """Train with made-up validation scores; the head's bias counts the epochs."""
    model, left = network(), iter(scores)

    def loss(batch):
        return -model.head.bias[0]  # each epoch, of one batch, adds the learning rate

    settings = PhaseSettings(epochs, patience, 1.0, "constant")
    sgd = SGD.__class__(batch=2, momentum=0.0, weight_decay=0.0)
    start = model.head.bias[0].item()
    n = fit(model, lambda: [0], loss, lambda: (next(left), 0.0), sgd, settings, 0)
    return n, round(model.head.bias[0].item() - start)


def test_early_stopping_keeps_the_best_epoch_and_ends_after_patience():
    assert fit_with_scores([0.1, 0.5, 0.3, 0.4, 0.2, 0.9], patience=3) == (5, 2)


def test_without_patience_all_epochs_are_trained_and_the_last_is_kept():
    assert fit_with_scores([], patience=None, epochs=4) == (4, 4)


def test_no_epochs_change_nothing():
    assert fit_with_scores([], patience=2, epochs=0) == (0, 0)


TASKS = [(0, 1, 2, 3), (0, 1, 2), (1, 3)]


def base(passes, base_training, seed=0, tasks=TASKS):
    train, validation = blobs(20, 4, 1), blobs(4, 4, 2)
    return train_base(train, validation, tasks, passes, NETWORK, base_training, Streams(seed, 0))


@pytest.mark.parametrize("passes", ["separate", "shared"])
def test_the_base_step_learns_classes_that_are_easy_to_tell_apart(passes, base_training):
    model, epochs = base(passes, base_training)
    test = blobs(20, 4, 3)
    assert epochs == 6 and model.n_classes == 4 and not model.training
    assert validator(model, test.features, test.labels)()[0] > 0.9


@pytest.mark.parametrize("passes", ["separate", "shared"])
def test_same_seed_same_weights_other_seed_other_weights(passes, base_training):
    first, again, other = (base(passes, base_training, seed)[0].state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(first[k], again[k]) for k in first)
    assert not torch.equal(first["head.weight"], other["head.weight"])


def test_with_one_task_separate_and_shared_are_the_same(base_training):
    one = [(0, 1, 2, 3)]
    separate = base("separate", base_training, tasks=one)[0].state_dict()
    shared = base("shared", base_training, tasks=one)[0].state_dict()
    for name, value in separate.items():
        torch.testing.assert_close(value, shared[name], rtol=1e-3, atol=1e-4)


def test_other_tasks_change_the_backbone(base_training):
    single = base("shared", base_training, tasks=TASKS[:1])[0].state_dict()
    multi = base("shared", base_training)[0].state_dict()
    assert not torch.equal(single["blocks.0.0.weight"], multi["blocks.0.0.weight"])


def test_shuffled_labels_reach_every_head_but_the_full_one(base_training, monkeypatch):
    dealt, learnt = [], []
    inner = base_module._separate_passes

    def spy(train, labels, *rest):
        dealt.append((train.labels, labels))
        return inner(train, labels, *rest)

    def cross_entropy(logits, labels):
        learnt.append((logits.shape[1], labels))
        return logits.sum()

    monkeypatch.setattr(base_module, "_separate_passes", spy)
    monkeypatch.setattr(base_module.F, "cross_entropy", cross_entropy)
    train, settings = blobs(20, 4, 1), BaseTrainingSettings(SGD, phase(1), 1.0)
    about = train, train[:0], [(0, 1, 2, 3), (1, 3)], "separate", NETWORK, settings, Streams(0, 0)
    for control in (False, True):
        train_base(*about, shuffled_labels=control)
    (true, plain), (_, shuffled_ones) = dealt
    assert torch.equal(true, plain) and not torch.equal(true, shuffled_ones)
    assert torch.equal(true, shuffled_ones.sort().values)  # the same number of each class
    full = torch.cat([labels for n, labels in learnt if n == 4])
    assert torch.equal(full.bincount(), torch.tensor([40] * 4))  # an epoch of each run


def test_a_shuffled_label_decides_whose_clip_it_is_and_what_is_learnt(base_training, monkeypatch):
    train, wanted = blobs(20, 4, 1), []
    labels = train.labels.flip(0)  # a clip of class 0 counts as class 3
    monkeypatch.setattr(base_module.F, "cross_entropy", lambda x, y: (wanted.append(y), x.sum())[1])
    tasks, others = [(0, 1, 2, 3), (1, 3)], torch.nn.Linear(8, 2)
    model = Network(NETWORK, 4, torch.Generator().manual_seed(0))
    batches, loss = base_module._separate_passes(
        train, labels, model, others, tasks, base_training, Streams(0, 0)
    )
    full, second = next(iter(batches()))
    loss([full, second])
    assert set(train.labels[second].tolist()) == {0, 2}
    assert torch.equal(wanted[0], train.labels[full])
    assert torch.equal(wanted[1], (train.labels[second] == 0).long())  # class 3 is at place 1
