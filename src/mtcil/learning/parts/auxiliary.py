"""Also train the backbone to recognise synthetic words: an auxiliary task (Caruana 1997).

"Multitask Learning", Machine Learning 28. Ours: the words are spoken by espeak-ng, a second head
classifies them, their batches do not move BatchNorm's running statistics, and parts that change
clips change these too, except for mixtures. None of the words is a class of a study.
"""

from typing import Any

import torch
import torch.nn.functional as F
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from mtcil.learning.network import draw_uniform
from mtcil.learning.parts import Drawn, Pass, Sizes
from mtcil.settings.reader import STRICT
from mtcil.settings.sections import Positive, Whole

NEEDS_WORDS = True


@dataclass(frozen=True, config=STRICT)
class Config:
    """Settings of this part only."""

    weight: Positive
    clips_per_batch: Whole  # of auxiliary words, in addition to those of the base classes


def head(config: Config, sizes: Sizes, generator: torch.Generator) -> nn.Module:
    """A head of all auxiliary words; not used after the base step."""
    made = nn.Linear(sizes.width, sizes.n_words)
    draw_uniform(made, generator)
    return made


def term(config: Config, pass_: Pass, head: Any, drawn: Drawn) -> Tensor:
    """weight * mean cross entropy of the auxiliary words."""
    words = pass_.words
    if words is None:
        raise ValueError("The part auxiliary needs a batch of auxiliary words.")
    embeddings = pass_.network.embed(words.features, words.keep, track=False)
    return config.weight * F.cross_entropy(head(embeddings), words.labels)
