"""Methods that hold parameters or old logits: formulas by hand, and as FACIL and PyCIL have them.

Closures inside `learn_step` are reached through `untrained`: see there.
"""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.optimize import minimize
from torch import nn
from untrained import (
    NO_CLIPS,
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

from mtcil.learning import importance as _importance
from mtcil.learning.clips import join, of_labels
from mtcil.learning.fit import Streams
from mtcil.learning.learner import Learner, predict
from mtcil.learning.phases import blended_loss
from mtcil.learning.steps import StepClips
from mtcil.methods import bic, ewc, finetune, lwf, mas, wa


@pytest.fixture
def step():
    return step_of()


@pytest.fixture
def untrained(monkeypatch):
    return without_training(monkeypatch)


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


@pytest.mark.parametrize("memory", [True, False])
@pytest.mark.parametrize(("method", "factor"), [(ewc, 0.5), (mas, 1.0)])
def test_penalty_methods_add_cross_entropy_and_the_penalty(untrained, step, method, factor, memory):
    if not memory:
        step = replace(step, memory=NO_CLIPS)
    old = network_of(4)
    tensors = {name: numbers(*v.shape, seed=9).abs() for name, v in old.named_parameters()}
    _, after = learn(method, step, ewc.Config(strength=6.0), tensors)
    (call,) = untrained
    seen = batch_of(call, join(step.new, step.memory))
    moved = dict(call.network.named_parameters())
    far = sum(
        (tensors[name] * (moved[name][: len(v)] - v) ** 2).sum()
        for name, v in old.named_parameters()
    )
    close(call.loss, F.cross_entropy(call.network(seen.features), seen.labels) + 6 * factor * far)
    assert after.tensors == tensors


def test_keep_fuses_the_new_importances_into_the_old_ones():
    base, first = Learner(network_of(4)), clips_of(4, [0, 1, 2, 3])
    base = ewc.keep(base, first, NO_CLIPS, None, Streams(0, 0))
    wider, clips = Learner(network_of(6, seed=5), base.tensors), clips_of(4, [4, 5])
    kept = ewc.keep(wider, clips, NO_CLIPS, None, Streams(0, 1))
    new = ewc.fisher(wider.network, clips)
    close(
        kept.tensors["head.bias"][:4],
        (4 * base.tensors["head.bias"] + 2 * new["head.bias"][:4]) / 6,
    )
    close(kept.tensors["head.bias"][4:], new["head.bias"][4:])


# --- LwF, fine-tuning, WA: distillation of the old logits


def test_finetune_is_cross_entropy_over_all_logits_on_all_clips(untrained, step):
    learn(finetune, step, finetune.Config())
    (call,) = untrained
    seen = batch_of(call, join(step.new, step.memory))
    close(call.loss, F.cross_entropy(call.network(seen.features), seen.labels))
    assert call.rows.max() >= len(step.new)  # exemplars are among them


@pytest.mark.parametrize("memory", [True, False])
def test_lwf_is_local_without_memory_and_global_with_it(untrained, step, memory):
    if not memory:
        step = replace(step, memory=NO_CLIPS)
    before, _ = learn(lwf, step, lwf.Config(kd_weight=0.7, temperature=2.0))
    (call,) = untrained
    seen = batch_of(call, join(step.new, step.memory))
    logits, old = call.network(seen.features), before.network(seen.features)
    first = 0 if memory else 4
    learnt = F.cross_entropy(logits[:, first:], seen.labels - first)
    close(call.loss, learnt + 0.7 * 2**2 * kept_apart(logits[:, :4], old, 2.0))


def test_lwf_pulls_as_facils_soft_cross_entropy_does_but_for_t_squared():
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


def test_blended_loss_by_hand():
    # Two old classes and one new: l = 2/3. CE of (0, 0, 0) is ln 3. T = 2, old / T = (ln 3, 0):
    # p = (3/4, 1/4), q = (1/2, 1/2): KL = 3/4 ln(3/2) + 1/4 ln(1/2); no factor T**2.
    old = torch.tensor([[2 * np.log(3), 0.0]])
    kl = 0.75 * np.log(1.5) + 0.25 * np.log(0.5)
    found = blended_loss(torch.zeros(1, 3), torch.tensor([2]), old.float(), 2.0)
    assert found.item() == pytest.approx(np.log(3) / 3 + 2 / 3 * kl, rel=1e-5)


def test_wa_learns_the_blend_without_new_biases_and_then_aligns(untrained, step):
    before, after = learn(wa, step, wa.Config(temperature=2.0))
    (call,) = untrained
    seen = batch_of(call, join(step.new, step.memory))
    old = before.network(seen.features)
    close(call.loss, blended_loss(call.network(seen.features), seen.labels, old, 2.0))
    head, raw = after.network.head.weight, call.network.head.weight
    lengths = raw.norm(dim=1)
    close(head[4:], raw[4:] * lengths[:4].mean() / lengths[4:].mean())
    assert torch.equal(head[:4], raw[:4])
    assert not call.network.head.bias.requires_grad


def test_alignment_makes_mean_row_lengths_equal_by_hand():
    network = network_of(4)
    rows = torch.tensor([[3.0, 4, 0, 0], [0, 0, 0, 1], [12.0, 0, 0, 5], [0, 9, 0, 0]])
    network.head.weight.data = rows.clone()  # lengths 5, 1 | 13, 9: means 3 and 11
    wa.align(network, 2)
    close(network.head.weight, torch.cat([rows[:2], rows[2:] * 3 / 11]))


def test_wa_has_no_bias_for_new_classes_and_leaves_the_old_ones():
    before, after = learn(
        wa, StepClips(clips_of(12, [4, 5]), NO_CLIPS, NO_CLIPS, 0), wa.Config(temperature=2.0)
    )
    assert torch.equal(after.network.head.bias[:4], before.network.head.bias)
    assert after.network.head.bias[4:].tolist() == [0.0, 0.0]
    assert all(value.requires_grad for value in after.network.parameters())


# --- BiC


def corrections():
    return {"scale": torch.tensor([1.0, 1, 0.4, 0.4]), "shift": torch.tensor([0.0, 0, -0.7, -0.7])}


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


def test_held_out_clips_are_balanced_disjoint_and_complete(step):
    seen, held = bic.hold_balanced(step, 4, 0.4, seeded())
    assert torch.bincount(held.labels).tolist() == [2] * 6
    assert torch.bincount(seen.labels).tolist() == [3] * 4 + [10] * 2
    both, given = (
        sorted(map(tuple, c.features.flatten(1).tolist()))
        for c in (join(seen, held), join(step.new, step.memory))
    )
    assert both == given
    # The best exemplars, which come first, are learnt from.
    assert torch.equal(
        held[held.labels == 2].features, step.memory[step.memory.labels == 2].features[3:]
    )


@pytest.mark.parametrize("m", [0, 1])
def test_bic_holds_nothing_out_of_one_exemplar(step, m):
    rows = torch.cat([of_labels(step.memory, c, c + 1)[:m] for c in range(4)])
    seen, held = bic.hold_balanced(replace(step, memory=step.memory[rows]), 4, 0.4, seeded())
    assert len(held) == 0 and len(seen) == 24 + 4 * m


def test_bic_distils_the_corrected_old_logits(untrained, step):
    # The old classes' own correction must stand in what is learnt, or not in what predicts.
    config = bic.Config(temperature=2.0, held_share=0.4)
    before, after = learn(bic, step, config, corrections(), "corrected")
    (call,) = untrained
    seen, _ = bic.hold_balanced(step, 4, 0.4, Streams(0, 1).generator("held"))
    batch = batch_of(call, seen)
    old = before.network(batch.features) * before.tensors["scale"] + before.tensors["shift"]
    raw = call.network(batch.features)
    new = torch.cat(
        [raw[:, :4] * after.tensors["scale"][:4] + after.tensors["shift"][:4], raw[:, 4:]], 1
    )
    close(call.loss, blended_loss(new, batch.labels, old, 2.0))


def test_bics_teacher_is_corrected(untrained, step, monkeypatch):
    given = []
    spy = lambda z, y, old, t: given.append(old) or blended_loss(z, y, old, t)  # noqa: E731
    monkeypatch.setattr(bic, "blended_loss", spy)
    config = bic.Config(temperature=2.0, held_share=0.4)
    before, _ = learn(bic, step, config, corrections(), "corrected")
    seen, _ = bic.hold_balanced(step, 4, 0.4, Streams(0, 1).generator("held"))
    raw = before.network(batch_of(untrained[0], seen).features)
    close(given[0], raw * torch.tensor([1.0, 1, 0.4, 0.4]) - torch.tensor([0, 0, 0.7, 0.7]))


def test_bic_fits_the_new_classes_alone_on_what_it_held_out(untrained, step):
    config = bic.Config(temperature=2.0, held_share=0.4)
    _, after = learn(bic, step, config, corrections(), "corrected")
    (call,) = untrained
    _, held = bic.hold_balanced(step, 4, 0.4, Streams(0, 1).generator("held"))
    scale, shift = after.tensors["scale"], after.tensors["shift"]
    assert after.rule == "corrected" and scale.shape == shift.shape == (6,)
    assert scale[4] == scale[5] != 1 and shift[4] == shift[5] != 0
    logits = call.network(held.features).detach()
    ready = torch.cat([logits[:, :4] * scale[:4] + shift[:4], logits[:, 4:]], 1)
    wanted = bic.fit_correction(ready, held.labels, 4)
    close(torch.stack([scale[4], shift[4]]), torch.tensor(wanted), 1e-4)


def test_bic_starts_without_correction():
    kept = bic.keep(Learner(network_of(4)), clips_of(2, [0]), NO_CLIPS, None, Streams(0, 0))
    assert kept.rule == "corrected"
    assert (
        kept.tensors["scale"].tolist() == [1.0] * 4 and kept.tensors["shift"].tolist() == [0.0] * 4
    )
    assert bic.keep(kept, clips_of(2, [0]), NO_CLIPS, None, Streams(0, 1)) is kept


class Fixed(nn.Module):
    """Logits as given, whatever the features."""

    def __init__(self, logits):
        super().__init__()
        self.logits = logits

    def forward(self, features):
        return self.logits


def test_the_corrected_rule_by_hand():
    # Row 1: (2, 3) -> (2, 0.5 * 3 + 0.4 = 1.9): 0. Row 2: (2, 4) -> (2, 2.4): 1.
    tensors = {"scale": torch.tensor([1.0, 0.5]), "shift": torch.tensor([0.0, 0.4])}
    learner = Learner(Fixed(torch.tensor([[2.0, 3.0], [2.0, 4.0]])), tensors, "corrected")
    assert predict(learner, torch.zeros(2, 1)).tolist() == [0, 1]
