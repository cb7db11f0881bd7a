"""One file per probe of a frozen base model, found by its name (`mtcil.core.lookup.find`).

A probe classifies embeddings; the backbone is not trained after the base step. Its accuracy on
classes that the base step never saw shows how general the embeddings are. A probe file defines:

    Config      a frozen dataclass of its own settings, read from `probes.<name>`
    def learn(kept, embeddings, labels, config, generator) -> Kept
        learn the classes of one step, only from their training clips. `kept` is not changed;
        it is {} before the first step. Labels are consecutive: those of a step follow those of
        the previous steps, without gaps
    def predict(kept, embeddings, config) -> labels
        predict among all classes learnt

Embeddings are (n_clips, d) float64, labels (n_clips,) int64. Probes keep statistics; only
`linear` keeps the clips themselves.
"""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]
Labels = NDArray[np.int64]
Kept = dict[str, NDArray]  # arrays by name


def kept_bytes(kept: Kept) -> int:
    """Bytes of everything that a probe keeps between steps and for prediction, as float64."""
    return sum(array.nbytes for array in kept.values())


def class_means(embeddings: Array, labels: Labels) -> Array:
    """Mean of each class, in the order of the labels: (n_clips, d) -> (n_classes, d)."""
    return np.stack([embeddings[labels == label].mean(axis=0) for label in np.unique(labels)])


def unit(embeddings: Array) -> Array:
    """Scale rows to length 1; rows of zeros are unchanged."""
    lengths = np.linalg.norm(embeddings, axis=1, keepdims=True)
    return embeddings / np.where(lengths > 0, lengths, 1.0)


def add_rows(kept: Kept, name: str, rows: NDArray) -> NDArray:
    """Append `rows` of the new classes to the array kept under a name."""
    return np.concatenate([kept[name], rows]) if name in kept else rows
