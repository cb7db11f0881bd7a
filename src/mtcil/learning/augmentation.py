"""Random changes of features that keep the class: shifts in time, masks in time and frequency.

Masks after Park et al.: SpecAugment (Interspeech 2019), without time warping.
"""

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor

from mtcil.settings.reader import STRICT
from mtcil.settings.sections import Count


@dataclass(frozen=True, config=STRICT)
class AugmentationSettings:
    """The most that each change may do; 0 leaves it out."""

    shift: Count  # frames, either way; the first or last frame fills the gap
    mask_frames: Count  # frames in a row set to 0, the mean of normalised features
    mask_bins: Count  # bins in a row set to 0


def augmented(
    features: Tensor, settings: AugmentationSettings, generator: torch.Generator
) -> Tensor:
    """Each clip changed in its own way.

    Args:
        features: (batch, 1, n_frames, n_bins), normalised.
        settings: how much; numbers are drawn uniformly from 0 to the most, both included.
        generator: on CPU; draws them.
    """
    n, _, n_frames, n_bins = features.shape
    places = torch.arange(n_frames)
    if settings.shift:
        by = torch.randint(-settings.shift, settings.shift + 1, (n, 1), generator=generator)
        rows = (places - by).clamp(0, n_frames - 1).to(features.device)
        features = features.gather(2, rows[:, None, :, None].expand(features.shape))
    masked = torch.zeros(n, n_frames, n_bins, dtype=torch.bool)
    masked |= _bands(n, n_frames, settings.mask_frames, generator).unsqueeze(2)
    masked |= _bands(n, n_bins, settings.mask_bins, generator).unsqueeze(1)
    return features.masked_fill(masked.unsqueeze(1).to(features.device), 0.0)


def _bands(n: int, length: int, most: int, generator: torch.Generator) -> Tensor:
    """(n, length) bool: one run of true values per row, up to `most` long."""
    widths = torch.randint(0, most + 1, (n, 1), generator=generator)
    starts = (torch.rand(n, 1, generator=generator) * (length + 1 - widths)).long()
    places = torch.arange(length)
    return (places >= starts) & (places < starts + widths)
