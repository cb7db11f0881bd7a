"""What must hold for any values, not for some: of measures, statistics, the network, its losses.

Each property was seen to fail with the code broken on purpose.
"""

from dataclasses import replace
from itertools import accumulate

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats
from untrained import network_of

from mtcil.learning.augmentation import AugmentationSettings, augment, draw_changes
from mtcil.learning.losses import distillation_loss, make_task_table, multitask_loss
from mtcil.learning.network import widen_head
from mtcil.records.measures import (
    accuracy_matrix,
    backward_transfer,
    confusion_counts,
    forgetting,
    step_accuracy,
)
from mtcil.records.rows import confusion_from_text, confusion_text
from mtcil.reporting.inference import estimate, holm, paired_difference

settings.register_profile("same every time", derandomize=True, deadline=None, database=None)
settings.load_profile("same every time")

CPU = torch.device("cpu")
seeds = st.integers(0, 2**31)
percents = st.floats(0, 100)
rng = np.random.default_rng

confusions = st.integers(1, 6).flatmap(
    lambda n: arrays(np.int64, (n, n), elements=st.integers(0, 50))
)


@given(confusions)
def test_confusion_counts_survive_being_written(counts):
    true = np.repeat(np.arange(len(counts)), counts.sum(1))
    predicted = np.concatenate([np.repeat(np.arange(len(counts)), row) for row in counts])
    made = confusion_counts(true, predicted, len(counts))
    np.testing.assert_array_equal(made, counts)
    np.testing.assert_array_equal(confusion_from_text(confusion_text(counts)), counts)


@given(st.lists(st.integers(1, 3), min_size=1, max_size=4), seeds)
def test_step_accuracy_is_the_weighted_mean_of_a_row_of_the_accuracy_matrix(steps, seed):
    ends = list(accumulate(steps))
    confusions = [rng(seed + n).integers(1, 9, (n, n)) for n in ends]
    matrix = accuracy_matrix(confusions, steps)
    for t, counts in enumerate(confusions):
        starts = [0, *ends[:t]]
        weights = [counts[a:b].sum() for a, b in zip(starts, ends, strict=False)]
        assert np.average(matrix[t, : t + 1], weights=weights) == pytest.approx(
            step_accuracy(counts)
        )
        assert np.isnan(matrix[t, t + 1 :]).all()


@given(arrays(np.float64, st.integers(2, 6).map(lambda n: (n, n)), elements=percents))
def test_forgetting_and_backward_transfer_are_what_their_formulas_say(matrix):
    n = len(matrix)
    matrix[np.triu_indices(n, 1)] = np.nan
    drops = [max(matrix[t][u] for t in range(u, n - 1)) - matrix[n - 1][u] for u in range(n - 1)]
    gains = [matrix[n - 1][u] - matrix[u][u] for u in range(n - 1)]
    assert forgetting(matrix) == pytest.approx(sum(drops) / (n - 1), abs=1e-9)
    assert backward_transfer(matrix) == pytest.approx(sum(gains) / (n - 1), abs=1e-9)
    assert forgetting(matrix) >= -backward_transfer(matrix) - 1e-9


@given(st.lists(st.one_of(st.floats(0, 1), st.just(float("nan"))), max_size=12))
@example([0.01, 0.01, 0.04, float("nan"), 0.03])
def test_holm_is_what_its_formula_says(p_values):
    found = holm(p_values)
    tests = sorted(p for p in p_values if p == p)
    for p, corrected in zip(p_values, found, strict=True):
        if p != p:
            assert corrected != corrected
            continue
        up_to = [k for k, other in enumerate(tests) if other <= p]
        wanted = max((len(tests) - k) * tests[k] for k in up_to)
        assert corrected == pytest.approx(min(wanted, 1.0)) and corrected >= p


pairs = st.lists(st.tuples(percents, percents), min_size=2, max_size=12)


@given(pairs)
def test_a_paired_difference_is_scipys_paired_t_test(values):
    ours, theirs = (np.array(side) for side in zip(*values, strict=True))
    assume((ours - theirs).std() > 1e-6)
    found, wanted = paired_difference(ours, theirs), stats.ttest_rel(ours, theirs)
    interval = wanted.confidence_interval(0.95)
    assert found.p_value == pytest.approx(wanted.pvalue, rel=1e-6, abs=1e-12)
    assert (found.low, found.high) == pytest.approx(tuple(interval), rel=1e-6, abs=1e-6)
    assert found.n == len(values)


@given(st.lists(percents, min_size=2, max_size=12))
def test_an_estimate_is_scipys_interval_of_a_mean(values):
    found, error = estimate(values), stats.sem(values)
    assert found.mean == pytest.approx(np.mean(values))
    half = stats.t.ppf(0.975, len(values) - 1) * error
    assert (found.high - found.mean) == pytest.approx(half, abs=1e-9)
    assert (found.mean - found.low) == pytest.approx(half, abs=1e-9)


# Network and losses


@settings(max_examples=25)
@given(st.integers(2, 6), st.integers(1, 4), seeds)
def test_a_wider_head_keeps_the_old_weights_bit_for_bit(n_old, n_new, seed):
    network = network_of(n_old, seed % 1000)
    wider = widen_head(network, n_new, torch.Generator().manual_seed(seed))
    x = torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(seed))
    old, new = network.state_dict(), wider.state_dict()
    for name, value in old.items():
        rows = new[name][:n_old] if name.startswith("head.") else new[name]
        assert torch.equal(rows, value)
    embeddings = network.embed(x)
    assert torch.equal(wider.embed(x), embeddings)
    alone = F.linear(embeddings, wider.head.weight[:n_old], wider.head.bias[:n_old])
    assert torch.equal(alone, network(x))  # all together they may differ by rounding
    torch.testing.assert_close(wider(x)[:, :n_old], network(x), rtol=1e-5, atol=1e-6)


@settings(max_examples=50)
@given(st.data(), st.integers(2, 5), st.floats(0, 3), seeds)
def test_one_pass_for_all_heads_has_the_loss_and_gradient_of_a_pass_for_each(
    data, n_base, weight, seed
):
    subsets = st.sets(st.integers(0, n_base - 1), min_size=2).map(lambda s: tuple(sorted(s)))
    tasks = [tuple(range(n_base)), *data.draw(st.lists(subsets, max_size=4))]
    labels = torch.tensor(data.draw(st.lists(st.integers(0, n_base - 1), min_size=1, max_size=9)))
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(len(labels), 3, generator=generator, dtype=torch.float64)
    backbone = torch.randn(3, 4, generator=generator, dtype=torch.float64, requires_grad=True)
    heads = [
        torch.randn(4, len(task), generator=generator, dtype=torch.float64, requires_grad=True)
        for task in tasks
    ]
    table = make_task_table(tasks, n_base, weight, CPU)
    table = replace(table, member=table.member.double(), weights=table.weights.double())
    together = multitask_loss(torch.cat([x @ backbone @ head for head in heads], 1), labels, table)
    apart = torch.zeros((), dtype=torch.float64)
    for k, (task, head) in enumerate(zip(tasks, heads, strict=True)):
        rows = [i for i, label in enumerate(labels.tolist()) if label in task]
        if rows:
            places = torch.tensor([task.index(int(labels[i])) for i in rows])
            own = F.cross_entropy(x[rows] @ backbone @ head, places)
            apart = apart + own * (weight if k else 1.0)
    torch.testing.assert_close(together, apart, rtol=1e-6, atol=1e-6)
    wanted = [backbone, *heads]
    for ours, theirs in zip(
        torch.autograd.grad(together, wanted, materialize_grads=True),
        torch.autograd.grad(apart, wanted, allow_unused=True, materialize_grads=True),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-6)


logits = arrays(
    np.float64, st.tuples(st.integers(1, 5), st.integers(1, 6)), elements=st.floats(-30, 30)
)


@given(logits, st.floats(0.5, 10), st.sampled_from(["batchmean", "mean"]), seeds)
def test_distillation_is_0_where_the_models_agree_and_above_it_elsewhere(
    rows, temperature, reduction, seed
):
    old = torch.from_numpy(rows)
    new = old + torch.from_numpy(rng(seed).normal(size=rows.shape))
    shifted = old + torch.from_numpy(rng(seed).normal(size=(len(rows), 1)))
    assert distillation_loss(old, old, temperature, reduction).item() == 0
    assert distillation_loss(shifted, old, temperature, reduction).item() == pytest.approx(
        0, abs=1e-9
    )
    found = distillation_loss(new, old, temperature, reduction).item()
    p, q = (torch.softmax(x / temperature, 1) for x in (old, new))
    apart = (p - q).abs().sum(1).square().mean() / 2  # Pinsker's inequality
    share = rows.shape[1] if reduction == "mean" else 1
    assert found >= apart.item() * temperature**2 / share - 1e-9


@given(
    st.tuples(st.integers(1, 4), st.integers(1, 9), st.integers(1, 9)),
    st.tuples(st.integers(0, 12), st.integers(0, 12), st.integers(0, 12)),
    seeds,
)
def test_augmentation_shifts_and_masks_no_more_than_it_may(shape, most, seed):
    n, n_frames, n_bins = shape
    most = (most[0], min(most[1], n_frames), min(most[2], n_bins))
    x = torch.from_numpy(rng(seed).normal(size=(n, 1, n_frames, n_bins)).astype(np.float32))
    before = x.clone()
    draw = draw_changes(AugmentationSettings(*most), x)
    made = augment(x, **draw(n, torch.Generator().manual_seed(seed)))
    assert torch.equal(x, before) and made.shape == x.shape and made.dtype == x.dtype
    places = torch.arange(n_frames)
    for clip, old in zip(made[:, 0], x[:, 0], strict=True):
        masked = clip == 0
        shifts = (old[(places - by).clamp(0, n_frames - 1)] for by in range(-most[0], most[0] + 1))
        assert any(torch.equal(clip, shifted.masked_fill(masked, 0)) for shifted in shifts)
        frames, bins = masked.all(1), masked.all(0)
        assert torch.equal(masked, frames[:, None] | bins[None, :])
        if not masked.all():
            assert frames.sum() <= most[1] and bins.sum() <= most[2]
            for gone in (frames, bins):
                assert (gone.nonzero().diff(dim=0) == 1).all()  # one run of them
