"""Shifts in time and masks in time and frequency; see `mtcil.learning.augmentation`."""

from torch import Tensor

from mtcil.learning.augmentation import AugmentationSettings as Config
from mtcil.learning.augmentation import augment, draw_changes
from mtcil.learning.parts import Drawn

__all__ = ["Config", "change", "draw"]
draw = draw_changes


def change(
    config: Config, features: Tensor, targets: Tensor, drawn: Drawn
) -> tuple[Tensor, Tensor]:
    """Shift and mask each clip."""
    return augment(features, **drawn), targets
