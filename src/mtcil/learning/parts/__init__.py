"""Parts of a base training that go beyond the paper, one file each, found by name.

A row of `base_models` names its parts; they are used in that order, with their numbers from
`base_parts` in settings.yaml. A part has a `Config` and some of these functions:

    def start(config, network, generator)         # changes the new network before training
    def head(config, sizes, generator)            # -> a module that is trained with the network
    def draw(config, features)                    # -> a function (n, generator) -> {name: (n, ...)}
    def change(config, features, targets, drawn)  # -> changed clips and targets
    def term(config, pass_, head, drawn)          # -> a scalar that is added to the loss

`change` and `term` are pure and can be vmapped: no generator, file or boolean indexing. `drawn` are
the random numbers of the batch. A file may also say, as `NAME = True`:

- `NEEDS_TEACHER`: a model is first trained without the part; `Pass.teacher` is its copy.
- `NEEDS_LABELS`: `term` uses `Pass.labels`, so no part may mix clips of different classes.
- `MIXES_CLASSES`: `change` does so.
- `NEEDS_WORDS`: `term` uses `Pass.words`; each batch has `config.clips_per_batch` of them.

A part that passes more clips through the backbone, or only changes clips, must also be named in
`mtcil/tables/ceiling.py` (`clips_per_update`, `AUGMENTATIONS`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import ModuleType, SimpleNamespace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from mtcil.learning.network import Network


def says(file: ModuleType, name: str) -> bool:
    """Whether the file of a part says `NAME = True`."""
    return bool(getattr(file, name, False))


class Part(NamedTuple):
    """A part in use: its file's name, the file, and its `Config`."""

    name: str
    file: ModuleType
    config: Any


class Sizes(NamedTuple):
    """What the size of a head depends on; `width` numbers are in an embedding."""

    width: int
    n_classes: int
    n_words: int = 0  # auxiliary ones


@dataclass(frozen=True)
class Pass:
    """The forward pass of a batch, for the terms of the loss.

    Attributes:
        clips: (batch, 1, frames, bins), before any change.
        labels: (batch,) int64.
        features: the clips after all changes.
        targets: (batch, n_classes) after all changes; each row adds up to 1.
        embeddings: (batch, dim), of `features`.
        keep: dropout factors, for further passes.
        teacher: a frozen network; None if no part needs one.
        words: `features`, `labels` and `keep` of a batch of auxiliary words, or None.
    """

    network: Network
    clips: Tensor
    labels: Tensor
    features: Tensor
    targets: Tensor
    embeddings: Tensor
    keep: Tensor | None
    teacher: Network | None
    words: SimpleNamespace | None = None

    def embed_again(self, features: Tensor) -> Tensor:
        """Embeddings of other versions of the batch, with the same dropout.

        They do not update BatchNorm's running statistics, as in the paper's smaller tasks.
        """
        return self.network.embed(features, self.keep, track=False)


Drawn = Mapping[str, Tensor]


def soft_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross entropy with targets that are probabilities, mean over the batch.

    Args:
        logits: (batch, n).
        targets: (batch, n); each row adds up to 1.
    """
    return -(targets * logits.log_softmax(1)).sum(1).mean()


def one_hot(labels: Tensor, n_classes: int, like: Tensor) -> Tensor:
    """(batch, n_classes), 1 at the label; in the dtype of `like`."""
    places = torch.arange(n_classes, device=labels.device)
    return (labels.unsqueeze(1) == places).to(like.dtype)
