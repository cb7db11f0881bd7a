"""The auxiliary words of a dataset, for the part of base training of this name."""

from pathlib import Path

import numpy as np
import torch

from mtcil.core.errors import UserError
from mtcil.learning.clips import Clips
from mtcil.learning.split import AGAIN, bin_statistics, read_features
from mtcil.settings.study import AUXILIARY


def load_words(features_dir: Path, device: torch.device) -> Clips:
    """Read and normalise all clips; label k is the k-th word in the table.

    They are normalised by their own mean and standard deviation of each bin, because a
    synthesiser's sound differs from the dataset's.

    Args:
        features_dir: of the dataset.

    Raises:
        UserError: what `read_features` refuses, or features that are not finite.
    """
    folder = features_dir / AUXILIARY
    features, table = read_features(folder)
    if not np.isfinite(features).all():
        raise UserError(f"{folder}: features.npy contains NaN or infinite values. {AGAIN}")
    mean, std = bin_statistics(features)
    labels, _ = table["class"].factorize()
    x = torch.from_numpy((features - mean) / std).unsqueeze(1)
    x = x.to(device, memory_format=torch.channels_last)
    return Clips(x, torch.from_numpy(np.asarray(labels, np.int64)).to(device))
