"""The exemplar memory: which clips of learnt classes are kept, within a fixed budget."""

import math
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

# 8 bits hold normalised features within +-RANGE standard deviations, in steps of about 1 / 21.
RANGE = 6.0
Selection = Literal["herding", "random", "official"]


def per_class(budget: int, n_classes: int) -> int:
    """m = K // classes: the same for every class, and at most K in total."""
    return budget // n_classes if n_classes else 0


def herd(embeddings: NDArray[np.floating], n_exemplars: int) -> NDArray[np.int64]:
    """Choose clips so that their running mean stays nearest to the class mean.

    Algorithm 4 of iCaRL (Rebuffi et al. 2017). The order matters: the first m of the chosen
    clips are the best m, so shrinking a memory is cutting its tail.

    Args:
        embeddings: (n_clips, n_dimensions) of one class; L2-normalised in iCaRL.
        n_exemplars: number of clips to choose, at most n_clips.

    Returns:
        (min(n_exemplars, n_clips),) rows, in the order of choice.
    """
    points = embeddings.astype(np.float64)
    class_mean = points.mean(axis=0)
    chosen: list[int] = []
    chosen_sum = np.zeros_like(class_mean)
    for k in range(1, min(n_exemplars, len(points)) + 1):
        gaps = np.linalg.norm(class_mean - (chosen_sum + points) / k, axis=1)
        gaps[chosen] = np.inf
        best = int(gaps.argmin())
        chosen.append(best)
        chosen_sum += points[best]
    return np.array(chosen, dtype=np.int64)


def choose(
    embeddings: NDArray[np.floating],
    n_exemplars: int,
    selection: Selection,
    rng: np.random.Generator,
) -> NDArray[np.int64]:
    """Choose clips of one class, best first.

    Args:
        embeddings: (n_clips, n_dimensions) of one class.
        n_exemplars: number of clips to choose.
        selection: `herding`; `random`: without replacement; `official`: random with
            replacement, as in Mittal et al.'s code (which calls it herding).
        rng: for the random choices.

    Returns:
        Rows, in the order of choice; at most n_clips, except for `official`.
    """
    n_clips = len(embeddings)
    if selection == "herding":
        unit = embeddings / np.maximum(np.linalg.norm(embeddings, axis=1, keepdims=True), 1e-12)
        return herd(unit, n_exemplars)
    if selection == "random":
        return rng.permutation(n_clips)[:n_exemplars]
    return rng.integers(0, n_clips, n_exemplars)


def hold_out(n_exemplars: int, share: float) -> int:
    """Number of a class's exemplars used as validation clips with `validation: memory`.

    At least one if there are two or more, and never all.
    """
    return min(max(round(share * n_exemplars), 1), n_exemplars - 1) if n_exemplars > 1 else 0


def held_apart(n_clips: int, share: float) -> int:
    """Number of a class's clips that a method keeps itself: the share, rounded up."""
    return math.ceil(share * n_clips - 1e-9)


def stored(features: Tensor, bits: int) -> Tensor:
    """Features after storage with `bits` per value.

    32: unchanged; 16: rounded to half precision; 8: clamped to +-RANGE and rounded to one of
    255 levels. The levels are the same for every clip, so only the values are stored.

    Args:
        features: normalised, float32.
    """
    if bits == 32:
        return features
    if bits == 16:
        return features.half().float()
    step = RANGE / 127
    return (features.clamp(-RANGE, RANGE) / step).round() * step
