"""One file per probe of a frozen base model, found by its name (`mtcil.core.lookup.find`).

A probe classifies embeddings; the backbone that made them is never trained after the base step.
What it reaches on classes that the base step never saw says how general the embeddings are. A
probe file states:

    Config      a frozen dataclass of its own settings, read from `probes.<name>`
    def learn(kept, embeddings, labels, config, generator) -> Kept
        learn the classes of one step from their training clips alone; what was kept is not
        changed. Nothing ({}) is kept before the first step. Labels go on where they ended: all
        of a step are above all of the steps before it, and none is left out
    def predict(kept, embeddings, config) -> labels
        among all classes learnt

Embeddings are (n_clips, d) float64, labels (n_clips,) int64. What is kept are statistics; only
`linear` keeps the clips themselves.
"""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]
Labels = NDArray[np.int64]
Kept = dict[str, NDArray]  # arrays by name


def kept_bytes(kept: Kept) -> int:
    """Bytes of all that a probe keeps between steps and to predict; float64 throughout."""
    return sum(array.nbytes for array in kept.values())


def class_means(embeddings: Array, labels: Labels) -> Array:
    """Mean of each class, in the order of the labels: (n_clips, d) -> (n_classes, d)."""
    return np.stack([embeddings[labels == label].mean(axis=0) for label in np.unique(labels)])


def unit(embeddings: Array) -> Array:
    """Rows of length 1; a row of zeros stays."""
    lengths = np.linalg.norm(embeddings, axis=1, keepdims=True)
    return embeddings / np.where(lengths > 0, lengths, 1.0)


def add_rows(kept: Kept, name: str, rows: NDArray) -> NDArray:
    """What is kept under a name, and `rows` of the new classes below it."""
    return np.concatenate([kept[name], rows]) if name in kept else rows
