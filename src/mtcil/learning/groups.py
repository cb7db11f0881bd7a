"""Shared by EEIL and SS-IL: the classes of each step, and distillation within each step's."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from mtcil.learning.clips import Clips
from mtcil.learning.fit import Seeds
from mtcil.learning.learner import Learner
from mtcil.learning.losses import distillation_loss
from mtcil.learning.network import Network
from mtcil.learning.steps import Cost, without_training


@without_training
def with_steps(learner: Learner, clips: Clips, memory: Clips, config: Any, seeds: Seeds) -> Learner:
    """Add the number of classes of the newest step to the learner's `steps`."""
    steps = learner.tensors.get("steps", torch.zeros(0, dtype=torch.int64))
    newest = torch.tensor([learner.n_classes - int(steps.sum())])
    steps = torch.cat([steps.cpu(), newest[newest > 0]])
    return Learner(learner.network, {"steps": steps.to(learner.network.head.weight.device)})


def cost_of_steps(network: Network, n_seen: int, config: Any) -> Cost:
    """At most one int64 per class."""
    return Cost(8 * n_seen)


def distil_by_step(
    logits: Tensor, old_logits: Tensor, steps: Sequence[int], temperature: float
) -> Tensor:
    """Distillation within the classes of each earlier step, summed over the steps.

    Args:
        logits: (batch, n_seen).
        old_logits: (batch, n_old), the old model's.
        steps: number of classes of each earlier step; they sum to n_old.
        temperature: of the distillation.
    """
    sizes = list(steps)
    parts = zip(logits[:, : sum(sizes)].split(sizes, 1), old_logits.split(sizes, 1), strict=True)
    return torch.stack([distillation_loss(new, old, temperature) for new, old in parts]).sum()
