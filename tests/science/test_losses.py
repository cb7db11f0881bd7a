"""mtcil.learning.losses, by hand and against per-head computations."""

import math

import pytest
import torch
import torch.nn.functional as F

from mtcil.learning.losses import (
    blended_loss,
    distillation_loss,
    distillation_weight,
    make_task_table,
    multitask_loss,
    new_class_loss,
)

CPU = torch.device("cpu")


def test_distillation_by_hand():
    # T = 3. old / T = (0, 0): p = (1/2, 1/2). new / T = (ln 3, 0): q = (3/4, 1/4).
    # KL(p || q) = 1/2 ln(2/3) + 1/2 ln 2 = 1/2 ln(4/3); times T**2 = 9/2 ln(4/3).
    new, old = torch.tensor([[3 * math.log(3), 0.0]]), torch.zeros(1, 2)
    assert distillation_loss(new, old, 3.0).item() == pytest.approx(4.5 * math.log(4 / 3), rel=1e-5)


def test_distillation_goes_from_teacher_to_student():
    # The other direction, KL(q || p) = 3/4 ln(3/2) + 1/4 ln(1/2), is another number.
    new, old = torch.zeros(1, 2), torch.tensor([[2 * math.log(3), 0.0]])
    expected = 4 * (0.75 * math.log(1.5) + 0.25 * math.log(0.5))
    assert distillation_loss(new, old, 2.0).item() == pytest.approx(expected, rel=1e-5)


def test_distillation_averages_over_the_batch_and_mean_also_over_the_classes():
    generator = torch.Generator().manual_seed(0)
    new, old = torch.randn(6, 5, generator=generator), torch.randn(6, 5, generator=generator)
    one_by_one = [
        distillation_loss(n[None], o[None], 2.0).item() for n, o in zip(new, old, strict=True)
    ]
    assert distillation_loss(new, old, 2.0).item() == pytest.approx(sum(one_by_one) / 6, rel=1e-5)
    terms = F.kl_div(F.log_softmax(new / 2, 1), F.softmax(old / 2, 1), reduction="none")
    by_mean = 4 * terms.mean()
    assert distillation_loss(new, old, 2.0, "mean").item() == pytest.approx(
        by_mean.item(), rel=1e-5
    )


def test_distillation_refuses_logits_that_are_not_cut():
    with pytest.raises(ValueError, match="Cut the new logits first"):
        distillation_loss(torch.zeros(2, 5), torch.zeros(2, 3), 2.0)


def test_new_class_loss_uses_only_the_new_logits():
    # Of logits (9, 0, ln 3) only the last two count: the label 2 has probability 3/4.
    logits = torch.tensor([[9.0, 0.0, math.log(3)]])
    loss = new_class_loss(logits, torch.tensor([2]), n_old=1)
    assert loss.item() == pytest.approx(math.log(4 / 3), rel=1e-5)


def test_distillation_weight_by_hand():
    assert distillation_weight(2.0, 18, 2, 1.5) == pytest.approx(54.0)  # 2 (18 / 2) ** 1.5


def test_blended_loss_by_hand():
    # Two old classes of three: l = 2/3. All logits 0: cross entropy ln 3. Old logits at T = 3:
    # p = (3/4, 1/4), q = (1/2, 1/2): KL(p || q) = 3/4 ln(3/2) + 1/4 ln(1/2), without T**2.
    old = torch.tensor([[3 * math.log(3), 0.0]])
    found = blended_loss(torch.zeros(1, 3), torch.tensor([1]), old, 3.0).item()
    kept = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    assert found == pytest.approx(math.log(3) / 3 + 2 / 3 * kept, rel=1e-5)


def test_a_head_counts_the_mean_of_its_rows_even_if_it_is_one():
    tasks, logits = [(0, 1, 2), (1, 2)], torch.tensor([[0.0, 0, 0, 0, 0]] * 3)
    table, labels = make_task_table(tasks, 3, 1.0, CPU), torch.tensor([0, 0, 1])
    assert multitask_loss(logits, labels, table).item() == pytest.approx(math.log(3 * 2))


def test_a_head_without_rows_adds_zero_and_no_nan():
    tasks = [(0, 1, 2), (1, 2)]
    logits = torch.zeros(4, 5, requires_grad=True)
    loss = multitask_loss(
        logits, torch.zeros(4, dtype=torch.int64), make_task_table(tasks, 3, 1, CPU)
    )
    loss.backward()
    assert loss.item() == pytest.approx(math.log(3), rel=1e-6)
    assert torch.isfinite(logits.grad).all()
