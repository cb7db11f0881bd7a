"""Mix each clip and its target with those of another clip (Zhang et al., ICLR 2018).

Each clip has its own share; in the authors' code a batch has one.
"""

from collections.abc import Callable

import numpy as np
import torch
from pydantic.dataclasses import dataclass
from torch import Tensor

from mtcil.learning.parts import Drawn
from mtcil.settings.reader import STRICT
from mtcil.settings.sections import Positive

MIXES_CLASSES = True


@dataclass(frozen=True, config=STRICT)
class Config:
    """Settings of this part only."""

    alpha: Positive  # of the Beta distribution of a clip's share; small: mostly 0 or 1


def draw(config: Config, features: Tensor) -> Callable[[int, torch.Generator], dict[str, Tensor]]:
    """A share for each clip from Beta(alpha, alpha)."""

    def numbers(n: int, generator: torch.Generator) -> dict[str, Tensor]:
        seed = int(torch.randint(2**62, (1,), generator=generator))  # torch's Beta takes none
        share = np.random.default_rng(seed).beta(config.alpha, config.alpha, n)
        return {"share": torch.from_numpy(share).to(torch.float32)}

    return numbers


def change(
    config: Config, features: Tensor, targets: Tensor, drawn: Drawn
) -> tuple[Tensor, Tensor]:
    """share * clip + (1 - share) * the clip before it in the batch; the same for the targets."""
    share = drawn["share"].to(features.dtype)
    of_clips, of_targets = share.view(-1, 1, 1, 1), share.unsqueeze(1)
    return (
        of_clips * features + (1 - of_clips) * features.roll(1, 0),
        of_targets * targets + (1 - of_targets) * targets.roll(1, 0),
    )
