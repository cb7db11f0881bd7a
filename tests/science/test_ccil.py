"""mtcil.methods.ccil: the loss of one batch against its terms, and what a step must keep."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from conftest import NETWORK, batches_of, blobs, phase
from untrained import (
    NO_CLIPS,
    SEEDS,
    clips_of,
    close,
    kept_apart,
    network_of,
    numbers,
    rows_of,
    run,
)

from mtcil.learning.clips import of_labels
from mtcil.learning.fit import score
from mtcil.learning.learner import Learner
from mtcil.learning.network import Network, copy_state
from mtcil.learning.steps import StepClips, balanced_set
from mtcil.methods import ccil
from mtcil.settings.sections import LOSS_TERMS

ALL_FOUR = frozenset(LOSS_TERMS)
CONFIG = ccil.Config("CE_N+CE_O+KD_N+KD_O", "together", 1.0, 0.66, "batchmean", 2.0)


@pytest.fixture
def old():
    return Learner(Network(NETWORK, 4, torch.Generator().manual_seed(0)).eval())


@pytest.fixture
def clips():
    train, validation = blobs(20, 6, 0), blobs(4, 6, 1)
    memory = torch.cat([of_labels(train, c, c + 1)[:5] for c in range(4)])
    new = train[of_labels(train, 4, 6)]
    return StepClips(new, train[memory], validation, per_class=2, n_old=4, n_new=2)


def learn(old, clips, training, **changes):
    """The learner after a step, and every Fit of it."""
    return run(ccil.learn_step(old, clips, replace(CONFIG, **changes), training, SEEDS))


# --- the loss


@pytest.mark.parametrize("reduction", ["batchmean", "mean"])
@pytest.mark.parametrize(
    "terms",
    [{"CE_N"}, {"CE_N", "KD_N"}, {"CE_N", "CE_O"}, {"CE_O", "KD_O"}, ALL_FOUR],
    ids=lambda terms: "+".join(sorted(terms)),
)
def test_the_loss_is_the_sum_of_its_terms(terms, reduction):
    network, new, all_ = network_of(6), clips_of(8, [4, 5]), clips_of(2, list(range(6)), seed=3)
    teacher = numbers(28, 4)
    of_new, of_all = network(new.features), network(all_.features)
    divide = {"batchmean": 1, "mean": 4}[reduction]  # by the old classes
    wanted = {
        "CE_N": F.cross_entropy(of_new[:, 4:], new.labels - 4),
        "CE_O": F.cross_entropy(of_all, all_.labels),
        "KD_N": 0.7 * 2**2 * kept_apart(of_new[:, :4], teacher[:16], 2.0) / divide,
        "KD_O": 0.7 * 2**2 * kept_apart(of_all[:, :4], teacher[16:], 2.0) / divide,
    }
    batch = SimpleNamespace(
        new=rows_of(new, logits=teacher[:16]), balanced=rows_of(all_, logits=teacher[16:])
    )
    choices = ccil.Choices(frozenset(terms), reduction, 2.0)
    found = ccil.ccil_loss(network, batch, SimpleNamespace(kd_weight=0.7), choices)
    close(found, sum(wanted[term] for term in terms))


def test_the_loss_by_hand():
    # Every logit is 0; three old classes, two new. CE_N: ln 2. CE_O: ln 5. The teacher's logits
    # (2 ln 2, 0, 0) at T = 2: p = (1/2, 1/4, 1/4) against thirds: KL = 1/2 ln(3/2) + 1/2 ln(3/4).
    network = network_of(5)
    network.head.weight.data.zero_()
    network.head.bias.data.zero_()
    new, all_ = clips_of(2, [3]), clips_of(1, [0, 1, 4])
    teacher = torch.tensor([[2.0, 0, 0]]).expand(3, 3) * torch.tensor(2.0).log()
    batch = SimpleNamespace(
        new=rows_of(new, logits=teacher[:2]), balanced=rows_of(all_, logits=teacher)
    )
    choices = ccil.Choices(ALL_FOUR, "batchmean", 2.0)
    found = ccil.ccil_loss(network, batch, SimpleNamespace(kd_weight=0.5), choices)
    ln = torch.tensor([2.0, 5.0, 1.5, 0.75]).log()
    kl = (ln[2] + ln[3]) / 2
    close(found, ln[0] + ln[1] + 0.5 * 4 * 2 * kl)


def test_batchnorm_does_not_mix_new_clips_with_the_balanced_set():
    # In training, what the network makes of the new clips must not depend on the balanced rows.
    new, balanced = clips_of(8, [4, 5]), clips_of(2, list(range(6)), seed=3)

    def passes(scale):
        """What the last BatchNorm gives, pass by pass."""
        network, given = network_of(6).train(), []
        network.blocks[-1][-1].register_forward_hook(lambda layer, x, y: given.append(y.detach()))
        other = replace(balanced, features=scale * balanced.features)
        batch = SimpleNamespace(
            new=rows_of(new, logits=numbers(16, 4)), balanced=rows_of(other, logits=numbers(12, 4))
        )
        choices = ccil.Choices(ALL_FOUR, "batchmean", 2.0)
        ccil.ccil_loss(network, batch, SimpleNamespace(kd_weight=0.7), choices)
        return given

    first, second = passes(1.0), passes(30.0)
    assert [len(maps) for maps in first] == [16, 12]
    assert torch.equal(first[0], second[0]) and not torch.equal(first[1], second[1])
    close(first[0], network_of(6).train().maps(new.features))


@pytest.mark.parametrize("kept", [True, False])
def test_dropouts_factors_are_those_of_the_batch(kept):
    network, new = network_of(6), clips_of(8, [4, 5])
    keep = torch.full((16, 4, 2, 2), float(kept))
    batch = SimpleNamespace(new=rows_of(new, logits=numbers(16, 4), keep=keep), balanced=None)
    choices = ccil.Choices(frozenset({"CE_N"}), "batchmean", 2.0)
    found = ccil.ccil_loss(network, batch, SimpleNamespace(kd_weight=0.7), choices)
    logits = network(new.features) if kept else network.head.bias.expand(16, 6)
    close(found, F.cross_entropy(logits[:, 4:], new.labels - 4))


def test_the_weight_of_distillation_grows_with_the_classes(old, clips, step_training):
    # lambda_t = 0.3 * (6 / 2) ** 0.66
    _, fits = learn(old, clips, step_training, kd_weight=0.3)
    assert [fit.numbers["kd_weight"] for fit in fits] == [pytest.approx(0.3 * 3**0.66)] * 2


# --- the step


def test_learns_new_classes_and_does_not_change_the_old_model(old, clips, step_training):
    before = copy_state(old.network)
    new, _ = learn(old, clips, step_training)
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
    alone, _ = learn(old, clips, step_training, losses="CE_N", order=order)
    found, fits = learn(old, clips, step_training, losses=losses, order=order)
    same = torch.equal(alone.network.head.weight, found.network.head.weight)
    assert same == (losses == "CE_N")
    phases = [fit.name for fit in fits]
    assert phases == ["head_first", "then_all"] + ["balanced"] * (
        order == "in_turn" and "_O" in losses
    )
    assert all(fit.loss is ccil.ccil_loss for fit in fits)


def test_head_first_does_not_change_the_frozen_blocks(old, clips, step_training):
    frozen = replace(step_training, then_all=phase(0))
    new = learn(old, clips, frozen)[0].network
    for i in range(3):
        for (name, before), after in zip(
            old.network.blocks[i].state_dict().items(),
            new.blocks[i].state_dict().values(),
            strict=True,
        ):
            assert torch.equal(before, after), name
    assert not torch.equal(old.network.blocks[3][0].weight, new.blocks[3][0].weight)


def test_only_head_first_is_frozen_and_each_phase_has_its_own_length(old, clips, step_training):
    _, fits = learn(old, clips, step_training, order="in_turn")
    assert [fit.frozen_blocks for fit in fits] == [3, 0, 0]
    own = (step_training.head_first, step_training.then_all, step_training.then_all)
    assert tuple(fit.phase for fit in fits) == own
    assert [fit.choices.terms for fit in fits] == [
        {"CE_N", "KD_N"}, {"CE_N", "KD_N"}, {"CE_O", "KD_O"},
    ]  # fmt: skip


@pytest.mark.parametrize("order", ["together", "in_turn"])
@pytest.mark.parametrize("losses", ["CE_N", "CE_N+KD_N", "CE_N+CE_O", "CE_N+KD_O"])
def test_a_phase_draws_only_from_the_sets_that_its_terms_need(
    old, clips, step_training, losses, order
):
    _, fits = learn(old, clips, step_training, losses=losses, order=order, kd_reduction="mean")
    for fit in fits:
        terms = fit.choices.terms
        assert (fit.tables["new"] is not None) == bool(terms & {"CE_N", "KD_N"})
        assert (fit.tables["balanced"] is not None) == bool(terms & {"CE_O", "KD_O"})
        assert (fit.choices.kd_reduction, fit.choices.temperature) == ("mean", 2.0)
    assert frozenset.union(*(fit.choices.terms for fit in fits)) == set(losses.split("+"))


def test_the_number_of_frozen_blocks_does_not_change_what_is_computed(old, clips, step_training):
    # With a rate of nearly zero nothing moves, so cached maps must give the old model's logits.
    still = replace(step_training, head_first=phase(2, rate=1e-12), then_all=phase(0))
    x = blobs(5, 6, 3).features
    for frozen_blocks in range(5):
        new, _ = learn(old, clips, replace(still, frozen_blocks=frozen_blocks))
        maps = [n.maps(x, 0, frozen_blocks) for n in (old.network, new.network)]
        torch.testing.assert_close(*maps)
        if frozen_blocks == 4:
            torch.testing.assert_close(new.network(x)[:, :4], old.network(x))


@pytest.mark.parametrize("order", ["together", "in_turn"])
@pytest.mark.parametrize("m", [0, 1, 3])
def test_works_with_fewer_exemplars_than_a_batch_even_with_none(
    old, clips, step_training, m, order
):
    memory = torch.cat([of_labels(clips.memory, c, c + 1)[:m] for c in range(4)])
    few = replace(clips, memory=clips.memory[memory])
    new, fits = learn(old, few, step_training, order=order)
    assert new.n_classes == 6
    assert ("balanced" in [fit.name for fit in fits]) == (order == "in_turn" and m > 0)


@pytest.mark.parametrize("order", ["together", "in_turn"])
def test_works_without_validation_clips(old, clips, step_training, order):
    new, fits = learn(old, replace(clips, validation=NO_CLIPS), step_training, order=order)
    assert new.n_classes == 6 and {fit.validation for fit in fits} == {None}


@pytest.mark.parametrize("order", ["together", "in_turn"])
def test_every_phase_stops_early_on_the_validation_clips(old, clips, step_training, order):
    _, fits = learn(old, clips, step_training, order=order)
    for fit in fits:
        assert torch.equal(fit.validation.rows["features"], clips.validation.features)
        assert torch.equal(fit.validation.rows["labels"], clips.validation.labels)


def test_a_step_of_one_class_works(old, clips, step_training):
    one = replace(clips, new=clips.new[clips.new.labels == 4], n_new=1)
    assert learn(old, one, step_training)[0].n_classes == 5


def test_the_balanced_set_has_the_same_number_of_each_class(clips):
    balanced = balanced_set(clips, torch.Generator().manual_seed(0))
    assert torch.bincount(balanced.labels).tolist() == [5] * 6
    assert torch.equal(balanced.features[:20], clips.memory.features)


def test_half_of_each_batch_is_new_and_half_of_the_balanced_set(old, clips, step_training):
    _, fits = learn(old, clips, step_training)
    batches = batches_of(fits[1], 15)
    new = [batch.new for batch in batches]
    assert {len(rows.labels) for rows in new} == {8}
    assert {len(batch.balanced.labels) for batch in batches} == {8}
    # 5 batches of 8 are the 40 new clips, each once; then they come again.
    for first in (0, 5, 10):
        seen = torch.cat([rows.features for rows in new[first : first + 5]])
        assert len(seen.flatten(1).unique(dim=0)) == 40


def test_the_teachers_logits_are_the_old_networks(old, clips, step_training):
    _, fits = learn(old, clips, step_training)
    for fit in fits:
        for rows in (fit.tables["new"].rows, fit.tables["balanced"].rows):
            close(rows["logits"], old.network(rows["features"]).detach())


def test_the_terms_are_the_papers():
    assert LOSS_TERMS == ("CE_N", "CE_O", "KD_N", "KD_O")
    assert ccil.phases("in_turn", ALL_FOUR) == [
        ("head_first", {"CE_N", "KD_N"}),
        ("then_all", {"CE_N", "KD_N"}),
        ("balanced", {"CE_O", "KD_O"}),
    ]
    new = frozenset({"CE_N", "KD_N"})
    assert ccil.phases("in_turn", new) == [("head_first", new), ("then_all", new)]
    assert ccil.phases("together", ALL_FOUR) == [("head_first", ALL_FOUR), ("then_all", ALL_FOUR)]
