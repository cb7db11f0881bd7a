"""Mixtures of two classes as further classes: classAug of IL2A (Zhu et al., NeurIPS 2021).

The further classes and the range of the shares are IL2A's. Ours: shares are uniform, there is one
mixture per clip, a second head tells the pairs apart, and clips and mixtures have a mean each.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from mtcil.learning.network import draw_uniform
from mtcil.learning.parts import Drawn, Pass, Sizes
from mtcil.settings.reader import STRICT
from mtcil.settings.sections import Positive

NEEDS_LABELS = True


@dataclass(frozen=True, config=STRICT)
class Config:
    """Settings of this part only."""

    weight: Positive


def head(config: Config, sizes: Sizes, generator: torch.Generator) -> nn.Module:
    """A head of all n classes and their n (n - 1) / 2 pairs."""
    n = sizes.n_classes
    made = nn.Linear(sizes.width, n + n * (n - 1) // 2)
    draw_uniform(made, generator)
    return made


def draw(config: Config, features: Tensor) -> Callable[[int, torch.Generator], dict[str, Tensor]]:
    """A share for each clip, uniform from 0.4 to 0.6."""

    def numbers(n: int, generator: torch.Generator) -> dict[str, Tensor]:
        return {"share": 0.4 + 0.2 * torch.rand(n, generator=generator)}

    return numbers


def term(config: Config, pass_: Pass, head: Any, drawn: Drawn) -> Tensor:
    """weight * (cross entropy of the clips + of their mixtures with the clip before them).

    Mixtures of two clips of one class do not count.
    """
    labels, others, features = pass_.labels, pass_.labels.roll(1, 0), pass_.features
    share = drawn["share"].to(features.dtype).view(-1, 1, 1, 1)
    mixed = pass_.embed_again(share * features + (1 - share) * features.roll(1, 0))
    counts = (labels != others).to(features.dtype)
    pairs = pair_labels(labels, others, pass_.targets.shape[1])
    losses = F.cross_entropy(head(mixed), pairs, reduction="none")
    of_mixtures = (losses * counts).sum() / counts.sum().clamp(min=1.0)
    return config.weight * (F.cross_entropy(head(pass_.embeddings), labels) + of_mixtures)


def pair_labels(first: Tensor, second: Tensor, n_classes: int) -> Tensor:
    """Label of each pair of classes, whatever its order; the label itself where both are equal.

    Pairs follow the n classes: (0, 1), (0, 2) ... (0, n - 1), (1, 2) ...
    """
    low, high = torch.minimum(first, second), torch.maximum(first, second)
    before = low * (2 * n_classes - low - 1) // 2
    return torch.where(low == high, low, n_classes + before + high - low - 1)
