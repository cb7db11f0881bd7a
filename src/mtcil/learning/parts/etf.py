"""A fixed head whose class weights are equally far from each other.

A simplex equiangular tight frame, to which learnt heads converge (neural collapse). Yang et al. fix
it for imbalanced classes (NeurIPS 2022) and for few-shot class-incremental learning (ICLR 2023).
Ours: the frame has the base classes only, the loss is cross entropy, embeddings are not normalised,
and the head is free again after the base step.
"""

import torch
from pydantic.dataclasses import dataclass

from mtcil.core.errors import UserError
from mtcil.learning.network import Network
from mtcil.settings.reader import STRICT
from mtcil.settings.sections import Positive


@dataclass(frozen=True, config=STRICT)
class Config:
    """Settings of this part only."""

    length: Positive  # of each class's weights


def start(config: Config, network: Network, generator: torch.Generator) -> None:
    """Set the head to the frame, without biases, and freeze it for the base step."""
    weight = config.length * frame(network.n_classes, network.head.in_features, generator)
    with torch.no_grad():
        network.head.weight.copy_(weight)
        network.head.bias.zero_()
    network.head.requires_grad_(False)


def frame(n_classes: int, width: int, generator: torch.Generator) -> torch.Tensor:
    """(n_classes, width): rows of length 1 with cosine -1 / (n_classes - 1) between any two.

    sqrt(n / (n - 1)) (I - 1 1^T / n) U^T, with U (width, n) orthonormal and random.

    Raises:
        UserError: if `width` is less than `n_classes`.
    """
    if width < n_classes:
        raise UserError(
            f"base_parts.etf: {n_classes} base classes need as many channels in the network's last "
            f"block; it has {width}. Add channels in settings.yaml, or leave etf out."
        )
    random = torch.randn(width, n_classes, generator=generator, dtype=torch.float64)
    basis, _ = torch.linalg.qr(random)
    centred = torch.eye(n_classes, dtype=torch.float64) - 1 / n_classes
    return ((n_classes / (n_classes - 1)) ** 0.5 * centred @ basis.T).to(torch.float32)
