"""Random changes of features that keep the class: shifts in time, masks in time and frequency.

Masks after Park et al.: SpecAugment (Interspeech 2019), without time warping.
"""

from collections.abc import Callable

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor

from mtcil.settings.reader import STRICT
from mtcil.settings.sections import Count


@dataclass(frozen=True, config=STRICT)
class AugmentationSettings:
    """Largest size of each change; 0 turns it off."""

    shift: Count  # frames, forward or back; the first or last frame fills the gap
    mask_frames: Count  # consecutive frames set to 0, the mean of normalised features
    mask_bins: Count  # consecutive bins set to 0


def draw_changes(
    settings: AugmentationSettings, features: Tensor
) -> Callable[[int, torch.Generator], dict[str, Tensor]]:
    """Return a function that draws a batch's changes: (n, generator) -> arguments of `augment`.

    The arguments are on the CPU. Sizes are uniform from 0 (shifts: from minus the largest) to
    the largest, both included.

    Args:
        features: (..., n_frames, n_bins); only their size is used.
    """
    n_frames, n_bins = features.shape[-2:]

    def draw(n: int, generator: torch.Generator) -> dict[str, Tensor]:
        most = settings.shift
        return {
            "shift": torch.randint(-most, most + 1, (n,), generator=generator),
            "hidden_frames": _bands(n, n_frames, settings.mask_frames, generator),
            "hidden_bins": _bands(n, n_bins, settings.mask_bins, generator),
        }

    return draw


def augment(features: Tensor, shift: Tensor, hidden_frames: Tensor, hidden_bins: Tensor) -> Tensor:
    """Shift and mask each clip by its own random numbers.

    Args:
        features: (batch, 1, n_frames, n_bins), normalised.
        shift: (batch,) frames, forward or back; the first or last frame fills the gap.
        hidden_frames: (batch, n_frames) bool, true where frames are set to 0, the mean of
            normalised features.
        hidden_bins: (batch, n_bins) bool, the same for bins.
    """
    n_frames = features.shape[2]
    places = torch.arange(n_frames, device=features.device)
    rows = (places - shift.unsqueeze(1)).clamp(0, n_frames - 1)
    shifted = features.gather(2, rows[:, None, :, None].expand(features.shape))
    hidden = hidden_frames.unsqueeze(2) | hidden_bins.unsqueeze(1)
    return torch.where(hidden.unsqueeze(1), 0.0, shifted)


def _bands(n: int, length: int, most: int, generator: torch.Generator) -> Tensor:
    """(n, length) bool: one block of true values per row, at most `most` long."""
    widths = torch.randint(0, most + 1, (n, 1), generator=generator)
    starts = (torch.rand(n, 1, generator=generator) * (length + 1 - widths)).long()
    places = torch.arange(length)
    return (places >= starts) & (places < starts + widths)
