"""Stand-in."""

import numpy as np
from numpy.typing import NDArray

from mtcil.settings import FeatureSettings


def supports(settings: FeatureSettings) -> bool:
    return False


def compute(waveform: NDArray[np.float32], settings: FeatureSettings) -> NDArray[np.float32]:
    raise NotImplementedError
