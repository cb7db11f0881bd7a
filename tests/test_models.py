"""mtcil.learning.network and mtcil.learning.learner."""

import pytest
import torch
from conftest import NETWORK, blobs

from mtcil.learning.learner import Learner, from_plain, predict, to_plain
from mtcil.learning.network import Network, frozen_copy, in_batches, train_mode, widen_head
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


def test_weights_come_from_the_generator_alone():
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
    late = network.head(network.pool(network.maps(maps, 3)))
    torch.testing.assert_close(late, network(x))


def test_a_learner_survives_being_saved_without_pickle(tmp_path):
    learner = Learner(new_network().eval(), {"means": torch.ones(3)}, "argmax", {"base": 7})
    torch.save(to_plain(learner), tmp_path / "x.pt")
    plain = torch.load(tmp_path / "x.pt", weights_only=True)
    again = from_plain(plain, NETWORK, torch.device("cpu"))
    x = blobs(4, 3, 0).features
    assert torch.equal(learner.network(x), again.network(x))
    assert again.rule == "argmax" and again.epochs == {"base": 7}
    assert torch.equal(again.tensors["means"], torch.ones(3))
    assert torch.equal(predict(again, x), learner.network(x).argmax(1))
