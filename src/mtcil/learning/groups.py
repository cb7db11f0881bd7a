"""What EEIL and SS-IL share: which classes came together, and distillation within each group."""

from dataclasses import replace

import torch
from torch import Tensor

from mtcil.learning.learner import Learner
from mtcil.learning.losses import distillation_loss
from mtcil.learning.steps import Cost


def with_steps(learner: Learner) -> Learner:
    """The learner with the number of classes of each step so far."""
    steps = learner.tensors.get("steps", torch.zeros(0, dtype=torch.int64))
    newest = torch.tensor([learner.n_classes - int(steps.sum())])
    steps = torch.cat([steps.cpu(), newest[newest > 0]])
    return replace(learner, tensors={"steps": steps.to(learner.network.head.weight.device)})


def cost_of_steps(n_seen: int) -> Cost:
    """At most one number a class."""
    return Cost(8 * n_seen)


def distil_by_step(
    logits: Tensor, old_logits: Tensor, steps: list[int], temperature: float
) -> Tensor:
    """Distillation within the classes of each earlier step, summed over the steps.

    Args:
        logits: (batch, n_seen).
        old_logits: (batch, n_old), the old model's.
        steps: classes of each earlier step, n_old in all.
        temperature: of the distillation.
    """
    n_old = sum(steps)
    parts = zip(logits[:, :n_old].split(steps, 1), old_logits.split(steps, 1), strict=True)
    return torch.stack([distillation_loss(new, old, temperature) for new, old in parts]).sum()
