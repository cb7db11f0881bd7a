"""Clips as input of a network: features and labels, on one device."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Clips:
    """A set of clips.

    Attributes:
        features: (n_clips, 1, n_frames, n_bins) float32, normalised, channels_last.
        labels: (n_clips,) int64, positions in the class order.
    """

    features: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, rows: Tensor) -> "Clips":
        return Clips(self.features[rows], self.labels[rows])


def join(*parts: Clips) -> Clips:
    """Concatenate clips."""
    return Clips(
        torch.cat([part.features for part in parts]), torch.cat([part.labels for part in parts])
    )


def rows_not_in(features: Tensor, others: Tensor) -> Tensor:
    """Rows of `features` that are not equal to any row of `others`."""
    rows = features.flatten(1)
    equal = torch.zeros(len(rows), dtype=torch.bool, device=rows.device)
    for other in others.flatten(1):
        equal |= (rows == other).all(1)
    return torch.nonzero(~equal).flatten()


def of_labels(clips: Clips, first: int, end: int) -> Tensor:
    """Rows of the clips with first <= label < end."""
    return torch.nonzero((clips.labels >= first) & (clips.labels < end)).flatten()
