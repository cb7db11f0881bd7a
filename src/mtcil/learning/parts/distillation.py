"""Learn from an equal network that was trained before: born-again networks.

Furlanello et al. (ICML 2018). The teacher is trained without this part, from other first weights
and with the same updates, so the whole costs twice as much.
"""

from typing import Any

from pydantic.dataclasses import dataclass
from torch import Tensor

from mtcil.learning.losses import distillation_loss
from mtcil.learning.parts import Drawn, Pass
from mtcil.settings.reader import STRICT
from mtcil.settings.sections import Positive

NEEDS_TEACHER = True


@dataclass(frozen=True, config=STRICT)
class Config:
    """Settings of this part only."""

    weight: Positive
    temperature: Positive


def term(config: Config, pass_: Pass, head: Any, drawn: Drawn) -> Tensor:
    """weight * T^2 KL(teacher || network) on the changed clips."""
    assert pass_.teacher is not None  # noqa: S101
    logits, wanted = pass_.network.head(pass_.embeddings), pass_.teacher(pass_.features).detach()
    return config.weight * distillation_loss(logits, wanted, config.temperature)
