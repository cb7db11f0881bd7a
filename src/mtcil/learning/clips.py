"""Clips as a network sees them: features and labels, on one device."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Clips:
    """Some clips.

    Attributes:
        features: (n_clips, 1, n_frames, n_bins) float32, normalised, channels_last.
        labels: (n_clips,) int64, counted along the class order.
    """

    features: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, rows: Tensor) -> "Clips":
        return Clips(self.features[rows], self.labels[rows])


def join(*parts: Clips) -> Clips:
    """All clips of all parts, in this order."""
    return Clips(
        torch.cat([part.features for part in parts]), torch.cat([part.labels for part in parts])
    )


def of_labels(clips: Clips, first: int, end: int) -> Tensor:
    """Rows of the clips whose label is `first` or more and below `end`."""
    return torch.nonzero((clips.labels >= first) & (clips.labels < end)).flatten()
