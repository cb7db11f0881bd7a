"""Supervised contrastive learning (Khosla et al., NeurIPS 2020) beside the cross entropy.

The two views of a clip are the clip as it is and with all changes of the other parts. Without such
a part there is one view, and only other clips of the class are alike.
"""

from typing import Any

import torch
import torch.nn.functional as F
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from mtcil.learning.network import draw_uniform
from mtcil.learning.parts import Drawn, Pass, Sizes
from mtcil.settings.reader import STRICT
from mtcil.settings.sections import Positive, Whole

NEEDS_LABELS = True


@dataclass(frozen=True, config=STRICT)
class Config:
    """Settings of this part only."""

    weight: Positive
    temperature: Positive
    width: Whole  # numbers of the projection in which clips are compared


def head(config: Config, sizes: Sizes, generator: torch.Generator) -> nn.Module:
    """Two layers, as in the paper; not used after the base step."""
    layers = nn.Linear(sizes.width, sizes.width), nn.Linear(sizes.width, config.width)
    for layer in layers:
        draw_uniform(layer, generator)
    return nn.Sequential(layers[0], nn.ReLU(), layers[1])


def term(config: Config, pass_: Pass, head: Any, drawn: Drawn) -> Tensor:
    """weight * contrastive loss of all views of all clips."""
    views = [pass_.embeddings]
    if pass_.features is not pass_.clips:
        views.append(pass_.embed_again(pass_.clips))
    labels = torch.cat([pass_.labels] * len(views))
    return config.weight * contrastive_loss(head(torch.cat(views)), labels, config.temperature)


def contrastive_loss(projections: Tensor, labels: Tensor, temperature: float) -> Tensor:
    """L_out of the paper (equation 2), mean over the rows.

    Args:
        projections: (n, width); scaled to length 1 here. A row alone in its class adds 0.
        labels: (n,) int64.
    """
    unit = F.normalize(projections, dim=1)
    itself = torch.eye(len(labels), dtype=unit.dtype, device=unit.device)
    likeness = unit @ unit.T / temperature
    log_share = likeness - (likeness - 1e9 * itself).logsumexp(1, keepdim=True)
    same = (labels.unsqueeze(0) == labels.unsqueeze(1)).to(unit.dtype) - itself
    return -((same * log_share).sum(1) / same.sum(1).clamp(min=1.0)).mean()
