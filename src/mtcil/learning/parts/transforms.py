"""Tell classes and versions of a clip apart: self-supervised label augmentation.

Lee, Hwang and Shin (ICML 2020) rotate pictures, and so does PASS (Zhu et al., CVPR 2021) for
class-incremental learning; here each clip also appears reversed in time, mirrored in frequency, or
both. They have one head for the n_classes * n_versions pairs; here it is a second one. Where
features have other parts than log-mel, mirroring swaps these, too.
"""

from typing import Any, Literal

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from mtcil.learning.network import draw_uniform
from mtcil.learning.parts import Drawn, Pass, Sizes, soft_cross_entropy
from mtcil.settings.reader import STRICT
from mtcil.settings.sections import Positive, require_unique

AXES = {"time": (2,), "frequency": (3,), "both": (2, 3)}  # the axes that are reversed


@dataclass(frozen=True, config=STRICT)
class Config:
    """Settings of this part only."""

    weight: Positive
    versions: tuple[Literal["time", "frequency", "both"], ...]  # in addition to the unchanged clip

    def __post_init__(self) -> None:
        require_unique(self.versions, "versions")


def head(config: Config, sizes: Sizes, generator: torch.Generator) -> nn.Module:
    """The head of all pairs: all classes as they are, then all in the first version ..."""
    n_pairs = sizes.n_classes * (1 + len(config.versions))
    made = nn.Linear(sizes.width, n_pairs)
    draw_uniform(made, generator)
    return made


def term(config: Config, pass_: Pass, head: Any, drawn: Drawn) -> Tensor:
    """weight * mean cross entropy over all versions."""
    n_versions = 1 + len(config.versions)
    others = [pass_.features.flip(AXES[version]) for version in config.versions]
    embeddings = [pass_.embeddings, *(pass_.embed_again(clips) for clips in others)]
    nothing = torch.zeros_like(pass_.targets)
    losses = []
    for k, found in enumerate(embeddings):
        pairs = [pass_.targets if k == place else nothing for place in range(n_versions)]
        losses.append(soft_cross_entropy(head(found), torch.cat(pairs, dim=1)))
    return config.weight * torch.stack(losses).mean()
