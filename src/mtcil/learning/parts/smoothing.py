"""Label smoothing (Szegedy et al., CVPR 2016): (1 - amount) target + amount / n_classes."""

from pydantic.dataclasses import dataclass
from torch import Tensor

from mtcil.learning.parts import Drawn
from mtcil.settings.reader import STRICT
from mtcil.settings.sections import Share


@dataclass(frozen=True, config=STRICT)
class Config:
    """Settings of this part only."""

    amount: Share


def change(
    config: Config, features: Tensor, targets: Tensor, drawn: Drawn
) -> tuple[Tensor, Tensor]:
    """Smooth the targets."""
    return features, (1 - config.amount) * targets + config.amount / targets.shape[1]
