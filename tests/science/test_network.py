"""mtcil.learning.network and mtcil.running.models."""

import copy

import pytest
import torch
from conftest import NETWORK, blobs

from mtcil.learning.learner import Learner
from mtcil.learning.network import (
    Network,
    WithParts,
    backbone_of,
    copy_state,
    frozen_copy,
    in_batches,
    train_mode,
    widen_head,
)
from mtcil.learning.steps import largest_logit
from mtcil.running.models import read_model, save_model, saved_updates
from mtcil.settings.sections import NetworkSettings


def new_network(n_classes=3, seed=0):
    return Network(NETWORK, n_classes, torch.Generator().manual_seed(seed))


def test_has_the_papers_layers_in_order():
    names = [type(layer).__name__ for layer in new_network().blocks[0]]
    assert names == ["Conv2d", "MaxPool2d", "ReLU", "BatchNorm2d"]
    assert len(new_network().blocks) == 4


def test_pooling_before_relu_gives_the_same_as_after():
    x = torch.randn(5, 3, 8, 8)
    pool, relu = torch.nn.MaxPool2d(2), torch.nn.ReLU()
    assert torch.equal(pool(relu(x)), relu(pool(x)))


@pytest.mark.parametrize("shape", [(32, 32), (128, 85)])
def test_takes_the_papers_inputs(shape):
    settings = NetworkSettings((16, 32, 64, 64), (3,) * 4, (1,) * 4, (2, 2, 2, 1), 0.5)
    network = Network(settings, 5, torch.Generator().manual_seed(0)).eval()
    assert network(torch.randn(2, 1, *shape)).shape == (2, 5)
    assert network.embed(torch.randn(2, 1, *shape)).shape == (2, 64)


def test_weights_depend_only_on_the_generator():
    torch.manual_seed(1)
    first = new_network(seed=5).state_dict()
    torch.manual_seed(2)
    same, other = new_network(seed=5).state_dict(), new_network(seed=6).state_dict()
    assert all(torch.equal(first[k], same[k]) for k in first)
    assert not torch.equal(first["blocks.0.0.weight"], other["blocks.0.0.weight"])


def test_initial_weights_have_the_spread_of_pytorchs_defaults():
    torch.manual_seed(0)
    default = torch.nn.Conv2d(32, 64, 3)
    settings = NetworkSettings((32, 64), (3, 3), (1, 1), (1, 1), 0.0)
    ours = Network(settings, 2, torch.Generator().manual_seed(0)).blocks[1][0]
    assert ours.weight.std().item() == pytest.approx(default.weight.std().item(), rel=0.02)


def test_a_wider_head_keeps_the_old_rows_and_the_old_logits():
    network = new_network().eval()
    wider = widen_head(network, 2, torch.Generator().manual_seed(1)).eval()
    x = blobs(4, 3, 0).features
    assert wider.n_classes == 5 and network.n_classes == 3
    assert torch.equal(wider.head.weight[:3], network.head.weight)
    torch.testing.assert_close(wider(x)[:, :3], network(x))
    wider.head.weight.data.zero_()
    assert network.head.weight.abs().sum() > 0


def test_frozen_blocks_keep_statistics_and_take_no_gradient():
    network = new_network()
    train_mode(network, frozen_blocks=3)
    before = {k: v.clone() for k, v in network.state_dict().items()}
    network(blobs(8, 3, 0).features).sum().backward()
    after = network.state_dict()
    changed = {k for k in before if not torch.equal(before[k], after[k])}
    assert changed and all(name.startswith("blocks.3") for name in changed)
    assert [block[0].weight.grad is not None for block in network.blocks] == [False] * 3 + [True]


def test_cached_maps_give_the_same_logits_as_the_whole_network():
    network = frozen_copy(new_network())
    x = blobs(8, 3, 0).features
    maps = in_batches(lambda part: network.maps(part, 0, 3), x, batch=7)
    late = copy.deepcopy(network)
    late.first = 3
    torch.testing.assert_close(late(maps), network(x))


def test_dropouts_factors_multiply_the_last_maps_by_hand():
    network, x = new_network().eval(), blobs(4, 3, 0).features
    maps = network.maps(x)
    keep = torch.zeros_like(maps)
    assert torch.equal(network(x, keep), network.head.bias.expand(12, 3))
    keep[:, 5, 1, 0] = 2.0  # one value of the channel is left, and twice as large
    embeddings = network.embed(x, keep)
    wanted = torch.zeros(12, 8)
    wanted[:, 5] = 2 * maps[:, 5, 1, 0] / 4  # the mean over the 2 x 2 that are left of a clip
    torch.testing.assert_close(embeddings, wanted)
    torch.testing.assert_close(network(x, keep), network.head(wanted))
    torch.testing.assert_close(network(x, torch.ones_like(maps)), network(x))


@pytest.mark.parametrize("training", [True, False])
def test_untracked_rows_get_the_same_output_and_leave_the_statistics_unchanged(training):
    network, x = new_network().train(training), blobs(4, 3, 0).features
    before = copy_state(network)
    quiet = network.embed(x, track=False)
    assert all(torch.equal(before[name], v) for name, v in network.state_dict().items())
    torch.testing.assert_close(quiet, network.embed(x))
    moved = {n for n, v in network.state_dict().items() if not torch.equal(before[n], v)}
    assert bool(moved) == training


def test_parts_learn_with_the_network_unless_they_take_no_gradient():
    heads, teacher = torch.nn.Linear(8, 5), frozen_copy(new_network(seed=1))
    module = WithParts(new_network(), heads=heads, scale=torch.nn.Parameter(torch.ones(())))
    module.teacher = teacher
    assert backbone_of(module) is module.network and backbone_of(heads) is None
    assert backbone_of(module.network) is module.network
    train_mode(module, 3)
    assert [block.training for block in module.network.blocks] == [False] * 3 + [True]
    assert module.heads.training and not any(m.training for m in teacher.modules())
    learning = {name.split(".")[0] for name, p in module.named_parameters() if p.requires_grad}
    assert learning == {"network", "heads", "scale"}


def test_a_base_model_survives_being_saved_without_pickle(tmp_path):
    network, file = new_network().eval(), tmp_path / "x.pt"
    save_model(network, 7, "a key", file)
    plain = torch.load(file, weights_only=True)
    assert (plain["key"], plain["updates"]) == ("a key", 7)
    again, updates = read_model(file, "a key", NETWORK, 3, torch.device("cpu"))
    x = blobs(4, 3, 0).features
    assert torch.equal(network(x), again(x)) and not again.training and updates == 7
    assert saved_updates(file, "a key") == 7 and saved_updates(file, "another") is None
    learner = Learner(again)
    assert learner.n_classes == 3 and dict(learner.tensors) == {}
    assert torch.equal(largest_logit(learner, x), network(x).argmax(1))
