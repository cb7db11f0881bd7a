"""Methods that hold parameters or old logits: formulas by hand, and FACIL's and PyCIL's."""

import copy
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import phase
from scipy.optimize import minimize
from torch import nn
from untrained import (
    NO_CLIPS,
    SEEDS,
    TRAINING,
    Fixed,
    clips_of,
    close,
    kept_apart,
    learn,
    network_of,
    numbers,
    rows_of,
    seeded,
    state_after,
    step_of,
)

from mtcil.learning import importance as _importance
from mtcil.learning.augmentation import AugmentationSettings, augment
from mtcil.learning.clips import join, of_labels
from mtcil.learning.fit import Seeds
from mtcil.learning.learner import Learner
from mtcil.learning.losses import blended_loss
from mtcil.learning.memory import held_apart, stored
from mtcil.learning.steps import Cost
from mtcil.methods import bic, ewc, finetune, lwf, mas, wa


@pytest.fixture
def step():
    return step_of()


def loss_of(fit, batch, network=None):
    """The loss that a method asks for, on a batch made by hand."""
    names = {k: SimpleNamespace(**v) if isinstance(v, dict) else v for k, v in fit.numbers.items()}
    return fit.loss(network or fit.network, batch, SimpleNamespace(**names), fit.choices)


# --- EWC and MAS


def clip_gradients(network, clips, score):
    """Each clip's own gradient, one backward pass a clip: name -> (n_clips, ...)."""
    found = {name: [] for name, _ in network.named_parameters()}
    for row in range(len(clips)):
        network.zero_grad()
        score(network(clips.features[row : row + 1]), clips.labels[row]).backward()
        for name, value in network.named_parameters():
            found[name].append(value.grad.clone())
    return {name: torch.stack(values) for name, values in found.items()}


def test_fisher_is_the_mean_of_squared_gradients_clip_by_clip():
    network, clips = network_of(3), clips_of(15, [0, 1, 2])  # 45 clips: more than one batch of 32
    gradients = clip_gradients(network, clips, lambda z, y: z.log_softmax(1)[0, y])
    found = ewc.fisher(network, clips)
    assert set(found) == {name for name, _ in network.named_parameters()}
    for name, value in gradients.items():
        close(found[name], value.square().mean(0))
    of_mean = gradients["head.weight"].mean(0).square()  # the trap: what a batch would give
    assert found["head.weight"].sum() > 3 * of_mean.sum()


def test_mas_is_the_mean_size_of_the_gradients_of_the_squared_length():
    network, clips = network_of(3), clips_of(15, [0, 1, 2])
    gradients = clip_gradients(network, clips, lambda z, y: (z**2).sum())
    for name, value in mas.importances(network, clips).items():
        close(value, gradients[name].abs().mean(0))


def test_each_value_of_the_fisher_information_counts_as_the_cap_at_most():
    found = ewc.capped({"a": torch.tensor([0.5, 3.0]), "b": torch.tensor([1.0])}, 1.0)
    assert found["a"].tolist() == [0.5, 1.0] and found["b"].tolist() == [1.0]
    network, clips = network_of(3), clips_of(5, [0, 1, 2])
    raw = ewc.fisher(network, clips)["head.weight"]
    config = ewc.Config(strength=1.0, fisher_cap=raw.median().item())
    kept = state_after(ewc, Learner(network), clips, config=config).tensors["head.weight"]
    assert torch.equal(kept, raw.clamp(max=raw.median()))
    assert not torch.equal(kept, raw)


def test_a_strong_penalty_diverges_only_without_the_cap():
    # Gradient descent on w / 2 theta^2 diverges where rate * w > 2 (1 + momentum).
    step = replace(step_of(), memory=NO_CLIPS)
    long = replace(TRAINING, whole=phase(60, rate=0.1))
    finite = []
    for cap in (1e-4, 1e9):
        config = ewc.Config(strength=1e5, fisher_cap=cap)
        base = Learner(network_of(4))
        base = state_after(ewc, base, clips_of(12, [0, 1, 2, 3]), config=config)
        _, after, _ = learn(ewc, step, config, base.tensors, long)
        finite.append(all(p.isfinite().all() for p in after.network.parameters()))
    assert finite == [True, False]


def test_importances_leave_the_network_as_it_was_even_in_training_mode():
    network, clips = network_of(3), clips_of(5, [0, 1, 2])
    quiet = ewc.fisher(network, clips)
    network.train()
    before = copy.deepcopy(network.state_dict())
    again = ewc.fisher(network, clips)
    assert network.training and all(p.requires_grad for p in network.parameters())
    assert all(torch.equal(before[k], v) for k, v in network.state_dict().items())
    assert all(torch.equal(quiet[name], again[name]) for name in quiet)


class Head(nn.Module):
    def __init__(self, weight, bias):
        super().__init__()
        self.head = nn.Linear(1, len(bias))
        self.head.weight.data, self.head.bias.data = torch.tensor(weight), torch.tensor(bias)


def test_penalty_by_hand_leaves_new_rows_free():
    # Weights 1 -> 3 at 2 and 0 -> 1 at 5; bias 1 -> 0 at 7 and 0 -> 0; third row is new.
    network = Head([[3.0], [1.0], [9.0]], [0.0, 0.0, 9.0])
    anchor = {"head.weight": torch.tensor([[1.0], [0.0]]), "head.bias": torch.tensor([1.0, 0.0])}
    weights = {"head.weight": torch.tensor([[2.0], [5.0]]), "head.bias": torch.tensor([7.0, 11.0])}
    value = _importance.penalty(network, anchor, weights)
    assert value.item() == 2 * 4 + 5 * 1 + 7 * 1
    value.backward()  # 2 w (theta - anchor)
    assert network.head.weight.grad.flatten().tolist() == [8.0, 10.0, 0.0]


def test_fused_weighs_by_classes_as_pycil_and_keeps_the_new_rows():
    old = {"head.weight": numbers(4, 3), "head.bias": numbers(4), "blocks": numbers(2, 2)}
    new = {
        "head.weight": numbers(6, 3, seed=1), "head.bias": numbers(6, seed=1),
        "blocks": numbers(2, 2, seed=1),
    }  # fmt: skip
    merged = _importance.fused(old, new, 4)
    share = 4 / 6  # alpha = known / total
    close(merged["blocks"], share * old["blocks"] + (1 - share) * new["blocks"])
    close(merged["head.bias"][:4], share * old["head.bias"] + (1 - share) * new["head.bias"][:4])
    assert torch.equal(merged["head.weight"][4:], new["head.weight"][4:])
    first = _importance.fused({}, new, 0)
    assert all(torch.equal(first[name], new[name]) for name in new)


@pytest.mark.parametrize("first", [0, 4])
def test_penalty_loss_is_cross_entropy_from_a_class_on_and_the_penalty(first):
    old, network, seen = network_of(4), network_of(6, seed=5), clips_of(8, [4, 5])
    anchor = {name: value.detach() for name, value in old.named_parameters()}
    weights = {name: numbers(*v.shape, seed=9).abs() for name, v in anchor.items()}
    moved = dict(network.named_parameters())
    far = sum((weights[n] * (moved[n][: len(v)] - v) ** 2).sum() for n, v in anchor.items())
    given = SimpleNamespace(
        weight=3.0, anchor=SimpleNamespace(**anchor), importance=SimpleNamespace(**weights)
    )
    found = _importance.penalty_loss(network, SimpleNamespace(seen=rows_of(seen)), given, first)
    wanted = F.cross_entropy(network(seen.features)[:, first:], seen.labels - first)
    close(found, wanted + 3 * far)


@pytest.mark.parametrize(("method", "factor"), [(ewc, 0.5), (mas, 1.0)])
@pytest.mark.parametrize("memory", [True, False])
def test_ewc_and_mas_weigh_their_penalty_and_without_exemplars_use_the_new_logits_only(
    step, method, factor, memory
):
    # EWC, equation 3: lambda / 2. MAS, equation 4: lambda.
    if not memory:
        step = replace(step, memory=NO_CLIPS)
    old = dict(network_of(4).named_parameters())
    tensors = {name: numbers(*v.shape, seed=9).abs() for name, v in old.items()}
    cap = {"fisher_cap": 1e-4} if method is ewc else {}
    _, after, (fit,) = learn(method, step, method.Config(strength=6.0, **cap), tensors)
    assert fit.loss is _importance.penalty_loss
    assert fit.numbers["weight"] == 6 * factor
    assert fit.choices == (0 if memory else 4)
    assert all(torch.equal(fit.numbers["anchor"][name], value) for name, value in old.items())
    assert fit.numbers["importance"] == tensors == after.tensors
    assert torch.equal(fit.tables["seen"].rows["labels"], step.seen().labels)
    # The old classes' biases get no gradient from the cross entropy over the new logits.
    seen = rows_of(step.new)
    network = copy.deepcopy(fit.network)
    loss_of(fit, SimpleNamespace(seen=seen), network).backward()
    assert network.head.bias.grad[:4].any() == memory and network.head.bias.grad[4:].all()


def test_state_after_fuses_the_new_importances_into_the_old_ones():
    base, first = Learner(network_of(4)), clips_of(4, [0, 1, 2, 3])
    config = ewc.Config(strength=1.0, fisher_cap=1e9)
    base = state_after(ewc, base, first, config=config, seeds=Seeds(0, 0))
    wider, clips = Learner(network_of(6, seed=5), base.tensors), clips_of(4, [4, 5])
    kept = state_after(ewc, wider, clips, config=config)
    new = ewc.fisher(wider.network, clips)
    close(
        kept.tensors["head.bias"][:4],
        (4 * base.tensors["head.bias"] + 2 * new["head.bias"][:4]) / 6,
    )
    assert kept.network is wider.network
    close(kept.tensors["head.bias"][4:], new["head.bias"][4:])


# --- LwF, fine-tuning, WA: distillation of the old logits


def test_finetune_is_cross_entropy_over_all_logits_on_all_clips(step):
    _, _, (fit,) = learn(finetune, step, finetune.Config())
    seen = step.seen()
    found = finetune.replay_loss(fit.network, SimpleNamespace(seen=rows_of(seen)), None, None)
    close(found, F.cross_entropy(fit.network(seen.features), seen.labels))
    assert torch.equal(fit.tables["seen"].rows["features"], seen.features)
    assert fit.loss is finetune.replay_loss


def test_finetune_may_augment_its_clips(step):
    _, _, (fit,) = learn(
        finetune, step, finetune.Config(augmentation=AugmentationSettings(3, 2, 1))
    )
    assert fit.loss is finetune.augmented_loss
    changes = fit.tables["seen"].draw(8, torch.Generator().manual_seed(0))
    rows = rows_of(step.seen()[torch.arange(8)], **changes)
    found = finetune.augmented_loss(fit.network, SimpleNamespace(seen=rows), None, None)
    close(found, F.cross_entropy(fit.network(augment(rows.features, **changes)), rows.labels))
    assert not torch.equal(augment(rows.features, **changes), rows.features)


@pytest.mark.parametrize("first", [0, 4])
def test_lwf_loss_is_cross_entropy_from_a_class_on_and_distillation(first):
    network, seen, old = network_of(6), clips_of(8, [4, 5]), numbers(16, 4)
    batch = SimpleNamespace(seen=rows_of(seen, logits=old))
    choices = lwf.Choices(first, temperature=2.0)
    found = lwf.lwf_loss(network, batch, SimpleNamespace(kd_weight=0.7), choices)
    logits = network(seen.features)
    learnt = F.cross_entropy(logits[:, first:], seen.labels - first)
    close(found, learnt + 0.7 * 2**2 * kept_apart(logits[:, :4], old, 2.0))


@pytest.mark.parametrize("memory", [True, False])
def test_lwf_is_local_without_memory_and_global_with_it(step, memory):
    if not memory:
        step = replace(step, memory=NO_CLIPS)
    before, _, (fit,) = learn(lwf, step, lwf.Config(kd_weight=0.7, temperature=2.0))
    assert fit.loss is lwf.lwf_loss and fit.numbers == {"kd_weight": 0.7}
    assert fit.choices == (0 if memory else 4, 2.0)
    close(fit.tables["seen"].rows["logits"], before.network(step.seen().features).detach())


def test_lwf_pulls_as_facils_soft_cross_entropy_does_times_t_squared():
    new, old, t = numbers(8, 4).requires_grad_(), numbers(8, 4, seed=1), 2.0
    p = old.softmax(1) ** (1 / t)
    q = new.softmax(1) ** (1 / t)
    soft = -((p / p.sum(1, keepdim=True)) * (q / q.sum(1, keepdim=True)).log()).sum(1).mean()
    (facil,) = torch.autograd.grad(soft, new)
    (ours,) = torch.autograd.grad(lwf.distillation_loss(new, old, t), new)
    close(ours, t**2 * facil)


def test_blended_loss_is_pycils_bic():
    logits, old, labels = numbers(8, 6).requires_grad_(), numbers(8, 4, seed=1), torch.arange(8) % 6
    t, share = 2.0, 4 / 6
    soft = -((old / t).softmax(1) * (logits[:, :4] / t).log_softmax(1)).sum(1).mean()
    (pycil,) = torch.autograd.grad(
        (1 - share) * F.cross_entropy(logits, labels) + share * soft, logits
    )
    (ours,) = torch.autograd.grad(blended_loss(logits, labels, old, t), logits)
    close(ours, pycil)


def moved(fit):
    """Instead of training: a copy of the network whose parameters have moved at random."""
    network = copy.deepcopy(fit.network)
    with torch.no_grad():
        for value in network.parameters():
            value += 0.1 * numbers(*value.shape, seed=7) * value.requires_grad
    return network.requires_grad_(True)


def test_wa_loss_is_the_blend():
    network, seen, old = network_of(6), clips_of(8, [0, 5]), numbers(16, 4)
    found = wa.wa_loss(network, SimpleNamespace(seen=rows_of(seen, logits=old)), None, 2.0)
    close(found, blended_loss(network(seen.features), seen.labels, old, 2.0))


def test_wa_learns_the_blend_without_new_biases_and_then_aligns(step):
    before, after, (fit,) = learn(wa, step, wa.Config(temperature=2.0), execute=moved)
    assert fit.loss is wa.wa_loss and fit.choices == 2.0
    close(fit.tables["seen"].rows["logits"], before.network(step.seen().features).detach())
    head, raw = after.network.head.weight, moved(fit).head.weight
    lengths = raw.norm(dim=1)
    close(head[4:], raw[4:] * lengths[:4].mean() / lengths[4:].mean())
    assert torch.equal(head[:4], raw[:4]) and not torch.equal(head[4:], raw[4:])
    assert not fit.network.head.bias.requires_grad


def test_alignment_makes_mean_row_lengths_equal_by_hand():
    network = network_of(4)
    rows = torch.tensor([[3.0, 4, 0, 0], [0, 0, 0, 1], [12.0, 0, 0, 5], [0, 9, 0, 0]])
    network.head.weight.data = rows.clone()  # lengths 5, 1 | 13, 9: means 3 and 11
    wa.align(network, 2)
    close(network.head.weight, torch.cat([rows[:2], rows[2:] * 3 / 11]))


def test_wa_has_no_bias_for_new_classes_and_leaves_the_old_ones(step):
    before, after, _ = learn(wa, step, wa.Config(temperature=2.0))
    assert torch.equal(after.network.head.bias[:4], before.network.head.bias)
    assert after.network.head.bias[4:].tolist() == [0.0, 0.0]
    assert not torch.equal(after.network.head.weight[:4], before.network.head.weight)
    assert all(value.requires_grad for value in after.network.parameters())


# --- BiC


BIC = bic.Config(temperature=2.0, held_share=0.4)


# What BiC keeps of four classes, two of them corrected.
CORRECTED = {
    "scale": torch.tensor([1.0, 1, 0.4, 0.4]), "shift": torch.tensor([0.0, 0, -0.7, -0.7]),
}  # fmt: skip


def test_the_correction_stays_finite_where_nothing_is_mistaken():
    logits = 4.0 * F.one_hot(torch.arange(18) % 6, 6).float()
    alpha, beta = bic.fit_correction(logits, torch.arange(18) % 6, 4)
    assert 0.5 < alpha < 3 and abs(beta) < 1


@pytest.mark.parametrize("seed", range(4))
def test_the_correction_is_scipys_minimum(seed):
    logits, labels = numbers(60, 7, seed=seed), torch.arange(60) % 7
    logits = logits + 1.5 * F.one_hot(labels, 7) + 2.0 * (torch.arange(7) >= 4)

    def restrained(values):
        z = logits.double().numpy().copy()
        z[:, 4:] = values[0] * z[:, 4:] + values[1]
        cross_entropy = np.mean(np.log(np.exp(z).sum(1)) - z[np.arange(60), labels.numpy()])
        return cross_entropy + ((values[0] - 1) ** 2 + values[1] ** 2) / 20

    wanted = minimize(
        restrained, [1.0, 0.0], method="Nelder-Mead", options={"xatol": 1e-8, "fatol": 1e-14}
    ).x
    assert bic.fit_correction(logits, labels, 4) == pytest.approx(wanted, rel=1e-4)


def as_set(clips):
    """The clips as values that can be compared, whatever their order."""
    return set(map(tuple, clips.features.flatten(1).tolist()))


def test_k_clips_of_a_class_are_divided_as_facil_does():
    # A class may keep k clips: the share of them, rounded up, is held, the rest is learnt from.
    assert [held_apart(k, 0.1) for k in (0, 1, 9, 10, 11, 20)] == [0, 1, 1, 1, 2, 2]
    assert [held_apart(k, 0.4) for k in (1, 2, 5, 10)] == [1, 1, 2, 4]


@pytest.mark.parametrize("bits", [8, 16, 32])
@pytest.mark.parametrize("share", [0.05, 0.1, 0.2, 0.25, 0.4, 0.5, 0.9])
def test_held_clips_and_exemplars_fit_into_k(share, bits):
    config = replace(BIC, held_share=share, bits=bits)
    for k in range(200):
        m = (k - held_apart(k, share)) * 32 // bits
        held = bic.n_held(m, config)
        assert held + m * bits / 32 <= k
        assert held >= 1 or m == 0
        assert held == held_apart(round(m * bits / 32) + held, share) or m == 0


def test_new_clips_are_drawn_at_random_and_held_apart_from_what_is_learnt(step):
    held_of_old = clips_of(2, [0, 1, 2, 3], seed=21)
    step = replace(step, per_class=3)  # 3 exemplars beside 2 held: 3 * 0.4 / 0.6
    _, after, (fit,) = learn(bic, step, BIC, CORRECTED, apart=held_of_old)
    held = after.apart
    assert torch.bincount(held.labels).tolist() == [2] * 6
    seen = fit.tables["seen"].rows
    assert torch.bincount(seen["labels"]).tolist() == [5] * 4 + [10] * 2
    of_new = held[of_labels(held, 4, 6)]
    assert as_set(of_new) < as_set(step.new)
    learnt = set(map(tuple, seen["features"].flatten(1).tolist()))
    assert learnt == (as_set(step.new) | as_set(step.memory)) - as_set(of_new)
    assert torch.equal(held[of_labels(held, 0, 4)].features, held_of_old.features)
    first = [step.new[of_labels(step.new, k, k + 1)].features[:2] for k in (4, 5)]
    assert not torch.equal(of_new.features, torch.cat(first))


@pytest.mark.parametrize("bits", [8, 32])
def test_exemplars_of_the_base_classes_are_not_held_apart(bits):
    # The memory is chosen first, and comes at the precision that it is stored at.
    clips = clips_of(6, [0, 1, 2, 3])
    memory = clips[torch.cat([of_labels(clips, k, k + 1)[:4] for k in range(4)])]
    stored_clips = replace(memory, features=stored(memory.features, bits))
    config, base = replace(BIC, bits=bits, held_share=0.5), Learner(network_of(4))
    held = state_after(bic, base, clips, stored_clips, config, Seeds(0, 0)).apart
    assert len(held) >= 4 and not as_set(held) & as_set(memory)


def test_held_clips_stay_the_same_and_are_cut_with_the_memory():
    base, clips = Learner(network_of(4)), clips_of(20, [0, 1, 2, 3])
    memory = clips[torch.cat([of_labels(clips, k, k + 1)[:6] for k in range(4)])]
    first = state_after(bic, base, clips, memory, BIC, Seeds(0, 0))
    held = first.apart
    assert torch.bincount(held.labels).tolist() == [4] * 4  # 6 * 0.4 / 0.6
    assert as_set(held) < as_set(clips)
    step = replace(step_of(), per_class=3)
    _, after, _ = learn(bic, step, BIC, first.tensors, apart=held)
    assert torch.bincount(after.apart.labels).tolist() == [2] * 6  # of the correction: balanced
    memory = join(step.memory, step.new)
    memory = memory[torch.cat([of_labels(memory, k, k + 1)[:3] for k in range(6)])]
    second = state_after(bic, after, step.new, memory, BIC)
    cut = second.apart
    assert torch.bincount(cut.labels).tolist() == [2] * 6
    for label in range(4):
        of_class = held[of_labels(held, label, label + 1)].features[:2]
        assert torch.equal(cut[of_labels(cut, label, label + 1)].features, of_class)
    again = state_after(bic, second, step.new, memory, BIC)
    assert torch.equal(again.apart.features, cut.features)


def test_a_class_gives_its_share_at_most():
    clips = clips_of(10, [0, 1])
    assert torch.bincount(bic.some_of_each(clips, 1000, BIC, seeded()).labels).tolist() == [4, 4]


def test_the_first_of_each_class_are_all_of_a_class_that_has_fewer():
    clips = clips_of(3, [0, 1, 2])
    few = clips[torch.cat([of_labels(clips, 0, 1)[:1], of_labels(clips, 1, 3)])]
    found = bic.first_of_each(few, 3, 2)
    assert found.labels.tolist() == [0, 1, 1, 2, 2]
    assert torch.equal(found.features, few.features[[0, 1, 2, 4, 5]])


def test_bic_states_that_its_share_of_k_is_its_own():
    assert bic.cost(network_of(4), 6, BIC) == Cost(fixed=6 * 8, share=0.4)


def test_bic_without_memory_corrects_nothing():
    step = replace(step_of(0), per_class=0)
    base = state_after(bic, Learner(network_of(4)), clips_of(3, [0, 1, 2, 3]), NO_CLIPS, BIC)
    _, after, (fit,) = learn(bic, step, BIC, base.tensors, apart=base.apart)
    assert len(after.apart) == len(base.apart) == 0
    assert after.tensors["scale"].tolist() == [1.0] * 6
    assert after.tensors["shift"].tolist() == [0.0] * 6
    assert len(fit.tables["seen"]) == len(step.new)


def test_bic_loss_blends_with_corrected_logits():
    # The old classes' own correction must stand in what is learnt, or not in what predicts.
    network, seen, old = network_of(6), clips_of(8, [0, 5]), numbers(16, 4)
    given = SimpleNamespace(scale=numbers(6, seed=1), shift=numbers(6, seed=2))
    batch = SimpleNamespace(seen=rows_of(seen, logits=old))
    logits = network(seen.features) * given.scale + given.shift
    close(bic.bic_loss(network, batch, given, 2.0), blended_loss(logits, seen.labels, old, 2.0))


def test_bics_teacher_is_corrected_and_new_classes_are_not_yet(step):
    before, _, (fit,) = learn(bic, step, BIC, CORRECTED)
    assert fit.loss is bic.bic_loss and fit.choices == 2.0
    raw = before.network(fit.tables["seen"].rows["features"]).detach()
    wanted = raw * torch.tensor([1.0, 1, 0.4, 0.4]) - torch.tensor([0, 0, 0.7, 0.7])
    close(fit.tables["seen"].rows["logits"], wanted)
    close(fit.numbers["scale"], torch.tensor([1.0, 1, 0.4, 0.4, 1, 1]))
    close(fit.numbers["shift"], torch.tensor([0.0, 0, -0.7, -0.7, 0, 0]))


def test_bic_corrects_only_the_new_classes_on_its_held_out_clips(step):
    step = replace(step, per_class=3)
    apart = clips_of(2, [0, 1, 2, 3], seed=21)
    _, after, _ = learn(bic, step, BIC, CORRECTED, apart=apart)
    scale, shift = after.tensors["scale"], after.tensors["shift"]
    assert scale.shape == shift.shape == (6,)
    close(scale[:4], torch.tensor([1.0, 1, 0.4, 0.4]))
    close(shift[:4], torch.tensor([0.0, 0, -0.7, -0.7]))
    assert scale[4] == scale[5] != 1 and shift[4] == shift[5] != 0
    held = after.apart
    logits = after.network(held.features).detach()
    ready = torch.cat([logits[:, :4] * scale[:4] + shift[:4], logits[:, 4:]], 1)
    wanted = bic.fit_correction(ready, held.labels, 4)
    close(torch.stack([scale[4], shift[4]]), torch.tensor(wanted), 1e-4)


def test_bic_starts_without_correction():
    clips = clips_of(2, [0, 1, 2, 3])
    kept = state_after(bic, Learner(network_of(4)), clips, NO_CLIPS, BIC, Seeds(0, 0))
    assert kept.tensors["scale"].tolist() == [1.0] * 4
    assert kept.tensors["shift"].tolist() == [0.0] * 4
    again = state_after(bic, kept, clips, NO_CLIPS, BIC, SEEDS)
    assert all(torch.equal(again.tensors[name], value) for name, value in kept.tensors.items())


def test_the_corrected_rule_by_hand():
    # Row 1: (2, 3) -> (2, 0.5 * 3 + 0.4 = 1.9): 0. Row 2: (2, 4) -> (2, 2.4): 1.
    tensors = {"scale": torch.tensor([1.0, 0.5]), "shift": torch.tensor([0.0, 0.4])}
    learner = Learner(Fixed(torch.tensor([[2.0, 3.0], [2.0, 4.0]])), tensors)
    assert bic.predict(learner, torch.zeros(2, 1)).tolist() == [0, 1]
