"""The network: four convolutional blocks, average pooling, one linear head."""

import copy
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from mtcil.settings.sections import NetworkSettings


class Network(nn.Module):
    """Backbone and head (paper, section 4.1).

    Each block is Conv2D, ReLU, BatchNorm, in the paper's order, with max-pooling right after
    the convolution (ours: the paper gives no down-sampling; pooling and ReLU may change places
    without changing a value, and what follows is cheaper on the smaller map). Then Dropout,
    average pooling over what is left of frames and bins, and a linear head.
    """

    def __init__(self, settings: NetworkSettings, n_classes: int, generator: torch.Generator):
        """Draw all weights from `generator`, as PyTorch's defaults would from the global state."""
        super().__init__()
        sizes = zip(
            (1, *settings.channels),
            settings.channels,
            settings.kernels,
            settings.strides,
            settings.pools,
            strict=False,
        )
        self.blocks = nn.ModuleList([_block(*size) for size in sizes])
        self.dropout = nn.Dropout(settings.dropout)
        self.head = nn.Linear(settings.channels[-1], n_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                draw_uniform(module, generator)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @property
    def n_classes(self) -> int:
        return self.head.out_features

    def maps(self, x: Tensor, first: int = 0, end: int | None = None) -> Tensor:
        """Pass through blocks `first` .. `end` - 1.

        Args:
            x: (batch, channels, frames, bins), what block `first` takes.
        """
        for block in self.blocks[first:end]:
            x = block(x)
        return x

    def pool(self, maps: Tensor) -> Tensor:
        """Dropout, then average pooling: (batch, channels, frames, bins) -> (batch, channels)."""
        return self.dropout(maps).mean(dim=(2, 3))

    def embed(self, features: Tensor) -> Tensor:
        """(batch, 1, frames, bins) -> embeddings (batch, channels of the last block)."""
        return self.pool(self.maps(features))

    def forward(self, features: Tensor) -> Tensor:
        """(batch, 1, frames, bins) -> logits (batch, n_classes)."""
        return self.head(self.embed(features))


def _block(n_in: int, n_out: int, kernel: int, stride: int, pool: int) -> nn.Sequential:
    convolution = nn.Conv2d(n_in, n_out, kernel, stride=stride, padding=kernel // 2)
    pooling = [nn.MaxPool2d(pool)] if pool > 1 else []
    return nn.Sequential(convolution, *pooling, nn.ReLU(), nn.BatchNorm2d(n_out))


def draw_uniform(module: nn.Conv2d | nn.Linear, generator: torch.Generator) -> None:
    """Uniform in +-1/sqrt(fan in), weights and biases: PyTorch's default for these layers."""
    bound = module.weight[0].numel() ** -0.5
    with torch.no_grad():
        module.weight.uniform_(-bound, bound, generator=generator)
        if module.bias is not None:
            module.bias.uniform_(-bound, bound, generator=generator)


def widen_head(network: Network, n_new: int, generator: torch.Generator) -> Network:
    """A copy whose head has `n_new` more rows, drawn from `generator`; the old rows stay.

    The logits of the old classes are the same as before, except for rounding.
    """
    wider = copy.deepcopy(network)
    old = network.head
    device = old.weight.device
    head = nn.Linear(old.in_features, old.out_features + n_new)
    draw_uniform(head, generator)
    with torch.no_grad():
        head.weight[: old.out_features] = old.weight
        head.bias[: old.out_features] = old.bias
    wider.head = head.to(device)
    return wider


def frozen_copy(network: Network) -> Network:
    """A copy in eval mode that takes no gradient: the teacher."""
    copied = copy.deepcopy(network).eval()
    return copied.requires_grad_(False)


def train_mode(network: Network, frozen_blocks: int) -> None:
    """Training mode, except for the first `frozen_blocks` blocks: eval mode and no gradient."""
    network.train()
    for i, block in enumerate(network.blocks):
        block.train(i >= frozen_blocks)
        block.requires_grad_(i >= frozen_blocks)


def copy_state(network: Network) -> dict[str, Tensor]:
    """All weights and statistics, detached from the network."""
    return {name: value.detach().clone() for name, value in network.state_dict().items()}


def network_from_state(settings: NetworkSettings, state: Mapping[str, Tensor]) -> Network:
    """The network that `copy_state` was taken from."""
    network = Network(settings, len(state["head.bias"]), torch.Generator().manual_seed(0))
    network.load_state_dict(dict(state))
    return network


@torch.no_grad()
def in_batches(function: Callable[[Tensor], Tensor], rows: Tensor, batch: int = 256) -> Tensor:
    """`function(rows)` computed over batches of rows, without gradient."""
    return torch.cat([function(part) for part in rows.split(batch)])
