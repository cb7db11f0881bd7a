"""mtcil.methods.ccil: the loss of one batch against its terms, and what a step must keep."""

from dataclasses import replace

import pytest
import torch
from conftest import NETWORK, blobs

from mtcil.learning.clips import Clips, of_labels
from mtcil.learning.fit import Streams, score
from mtcil.learning.learner import Learner
from mtcil.learning.network import Network, copy_state
from mtcil.learning.steps import StepClips
from mtcil.methods import ccil
from mtcil.settings.sections import LOSS_TERMS

CONFIG = ccil.Config("CE_N+CE_O+KD_N+KD_O", "together", 1.0, 0.66, "batchmean", 2.0)
NONE = Clips(torch.empty(0, 1, 8, 8), torch.empty(0, dtype=torch.int64))


@pytest.fixture
def old():
    return Learner(Network(NETWORK, 4, torch.Generator().manual_seed(0)).eval())


@pytest.fixture
def clips():
    train, validation = blobs(20, 6, 0), blobs(4, 6, 1)
    memory = torch.cat([of_labels(train, c, c + 1)[:5] for c in range(4)])
    return StepClips(train[of_labels(train, 4, 6)], train[memory], validation, per_class=2)


def learn(old, clips, training, **changes):
    return ccil.learn_step(old, clips, training, replace(CONFIG, **changes), Streams(0, 1))


def test_learns_new_classes_and_does_not_change_the_old_model(old, clips, step_training):
    before = copy_state(old.network)
    new = learn(old, clips, step_training)
    assert all(torch.equal(before[k], v) for k, v in old.network.state_dict().items())
    assert new.n_classes == 6 and not new.network.training
    test = blobs(10, 6, 2)
    rows = of_labels(test, 4, 6)
    assert score(new.network(test.features[rows]), test.labels[rows])[0] > 0.5


@pytest.mark.parametrize("order", ["together", "in_turn"])
@pytest.mark.parametrize("losses", ["CE_N", "CE_N+KD_N", "CE_N+CE_O", "CE_N+CE_O+KD_N+KD_O"])
def test_every_set_of_losses_runs_and_each_term_changes_the_result(
    old, clips, step_training, losses, order
):
    alone = learn(old, clips, step_training, losses="CE_N", order=order)
    found = learn(old, clips, step_training, losses=losses, order=order)
    same = torch.equal(alone.network.head.weight, found.network.head.weight)
    assert same == (losses == "CE_N")
    assert ("balanced" in found.epochs) == (order == "in_turn" and "_O" in losses)


def test_head_first_leaves_the_frozen_blocks_alone(old, clips, step_training):
    frozen = replace(step_training, then_all=replace(step_training.then_all, epochs=0))
    new = learn(old, clips, frozen).network
    for i in range(3):
        for (name, before), after in zip(
            old.network.blocks[i].state_dict().items(),
            new.blocks[i].state_dict().values(),
            strict=True,
        ):
            assert torch.equal(before, after), name
    assert not torch.equal(old.network.blocks[3][0].weight, new.blocks[3][0].weight)


def test_the_number_of_frozen_blocks_does_not_change_what_is_computed(old, clips, step_training):
    # With a rate of nearly zero nothing moves, so cached maps must give the old model's logits.
    still = replace(
        step_training,
        head_first=replace(step_training.head_first, learning_rate=1e-12),
        then_all=replace(step_training.then_all, epochs=0),
    )
    x = blobs(5, 6, 3).features
    for frozen_blocks in range(4):
        new = learn(old, clips, replace(still, frozen_blocks=frozen_blocks))
        assert new.n_classes == 6
        if frozen_blocks == 3:
            maps = [n.maps(x, 0, 3) for n in (old.network, new.network)]
            torch.testing.assert_close(*maps)


@pytest.mark.parametrize("m", [0, 1, 3])
def test_works_with_fewer_exemplars_than_a_batch_even_with_none(old, clips, step_training, m):
    memory = torch.cat([of_labels(clips.memory, c, c + 1)[:m] for c in range(4)])
    few = replace(clips, memory=clips.memory[memory])
    assert learn(old, few, step_training).n_classes == 6


@pytest.mark.parametrize("order", ["together", "in_turn"])
def test_works_without_validation_clips(old, clips, step_training, order):
    assert learn(old, replace(clips, validation=NONE), step_training, order=order).n_classes == 6


def test_a_step_of_one_class_works(old, clips, step_training):
    one = replace(clips, new=clips.new[clips.new.labels == 4])
    assert learn(old, one, step_training).n_classes == 5


def test_the_balanced_set_has_the_same_number_of_each_class(clips):
    balanced = ccil.balanced_set(clips, 4, torch.Generator().manual_seed(0))
    assert torch.bincount(balanced.labels).tolist() == [5] * 6
    assert torch.equal(balanced.features[:20], clips.memory.features)


def test_an_epoch_sees_each_new_clip_once_beside_full_balanced_batches():
    generator = torch.Generator().manual_seed(0)
    pairs = list(ccil.batches_of((50, 7), 16, generator))
    new = torch.cat([new for new, _ in pairs])
    assert sorted(new.tolist()) == list(range(50))
    assert [len(balanced) for _, balanced in pairs] == [16] * 4
    only_balanced = list(ccil.batches_of((0, 7), 16, generator))
    assert [(len(n), len(b)) for n, b in only_balanced] == [(0, 7)]


def test_the_terms_are_the_papers():
    assert LOSS_TERMS == ("CE_N", "CE_O", "KD_N", "KD_O")
    assert ccil.phases("in_turn", set(LOSS_TERMS)) == [
        ("head_first", {"CE_N", "KD_N"}),
        ("then_all", {"CE_N", "KD_N"}),
        ("balanced", {"CE_O", "KD_O"}),
    ]
