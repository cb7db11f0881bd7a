"""Random loudness: a number is added to all values of a clip.

Features are normalised per bin, so the change in dB differs between bins. Meant for log-mel alone:
other parts of the features are shifted, too.
"""

from collections.abc import Callable

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor

from mtcil.learning.parts import Drawn
from mtcil.settings.reader import STRICT
from mtcil.settings.sections import Positive


@dataclass(frozen=True, config=STRICT)
class Config:
    """Settings of this part only."""

    most: Positive  # largest change, in standard deviations of the features


def draw(config: Config, features: Tensor) -> Callable[[int, torch.Generator], dict[str, Tensor]]:
    """Uniform from minus the largest change to the largest."""

    def numbers(n: int, generator: torch.Generator) -> dict[str, Tensor]:
        return {"gain": config.most * (2 * torch.rand(n, generator=generator) - 1)}

    return numbers


def change(
    config: Config, features: Tensor, targets: Tensor, drawn: Drawn
) -> tuple[Tensor, Tensor]:
    """Add each clip's number to all its frames and bins."""
    return features + drawn["gain"].to(features.dtype).view(-1, 1, 1, 1), targets
