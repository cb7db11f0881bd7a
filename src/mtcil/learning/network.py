"""The network: four convolutional blocks, average pooling, one linear head."""

import copy
from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mtcil.settings.sections import NetworkSettings


class Network(nn.Module):
    """Backbone and head (paper, section 4.1).

    Each block is Conv2D, ReLU, BatchNorm, in the paper's order, with max-pooling right after
    the convolution (ours: the paper gives no down-sampling; swapping pooling and ReLU does not
    change a value, and the rest is cheaper on the smaller map). Then come dropout, average
    pooling over the remaining frames and bins, and a linear head.

    Attributes:
        dropout: share of the last maps that dropout sets to 0. The executor draws the factors
            and passes them as `keep`, so that they do not depend on other runs.
        first: the block where features enter; above 0 if they are the output of frozen blocks.
    """

    def __init__(self, settings: NetworkSettings, n_classes: int, generator: torch.Generator):
        """Draw all weights from `generator`, with the distributions of PyTorch's defaults."""
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
        self.dropout = settings.dropout
        self.first = 0
        self.head = nn.Linear(settings.channels[-1], n_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                draw_uniform(module, generator)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @property
    def n_classes(self) -> int:
        return self.head.out_features

    def maps(self, x: Tensor, first: int = 0, end: int | None = None, track: bool = True) -> Tensor:
        """Pass through blocks `first` .. `end` - 1.

        Args:
            x: (batch, channels, frames, bins), the input of block `first`.
            track: in training, whether this batch updates BatchNorm's running statistics.
        """
        for block in self.blocks[first:end]:
            for layer in block.children():
                if isinstance(layer, nn.BatchNorm2d) and layer.training and not track:
                    x = F.batch_norm(x, None, None, layer.weight, layer.bias, training=True)
                else:
                    x = layer(x)
        return x

    def embed(self, features: Tensor, keep: Tensor | None = None, track: bool = True) -> Tensor:
        """Embeddings (batch, channels of the last block).

        Args:
            features: (batch, 1, frames, bins), or the input of block `first`.
            keep: dropout factors, of the last maps' shape; None: no dropout.
            track: as for `maps`.
        """
        maps = self.maps(features, self.first, track=track)
        return (maps if keep is None else maps * keep).mean(dim=(2, 3))

    def forward(self, features: Tensor, keep: Tensor | None = None) -> Tensor:
        """Logits (batch, n_classes); arguments as for `embed`."""
        return self.head(self.embed(features, keep))


class WithParts(nn.Module):
    """A network with other parts that are trained with it: heads of other tasks, a scale."""

    def __init__(self, network: Network, **parts: nn.Module | nn.Parameter):
        super().__init__()
        self.network = network
        for name, part in parts.items():
            setattr(self, name, part)


def backbone_of(module: nn.Module) -> Network | None:
    """The `Network` inside a module; None if it has none."""
    if isinstance(module, WithParts):
        return module.network
    return module if isinstance(module, Network) else None


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
    """A copy with `n_new` more head rows, drawn from `generator`; old rows are unchanged.

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
    """A copy in eval mode without gradients: the teacher."""
    copied = copy.deepcopy(network).eval()
    return copied.requires_grad_(False)


def train_mode(module: nn.Module, frozen_blocks: int) -> None:
    """Set training mode, except for frozen blocks and for parts without gradients.

    Args:
        frozen_blocks: the first `frozen_blocks` blocks get eval mode and no gradients.
    """
    module.train()
    for part in module.children():
        if not any(p.requires_grad for p in part.parameters()):
            part.eval()  # a teacher
    network = backbone_of(module)
    for i, block in enumerate(network.blocks if network else ()):
        block.train(i >= frozen_blocks)
        block.requires_grad_(i >= frozen_blocks)


def copy_state(network: nn.Module) -> dict[str, Tensor]:
    """A detached copy of all weights and statistics."""
    return {name: value.detach().clone() for name, value in network.state_dict().items()}


def network_from_state(settings: NetworkSettings, state: Mapping[str, Tensor]) -> Network:
    """Rebuild a network from the result of `copy_state`."""
    network = Network(settings, len(state["head.bias"]), torch.Generator().manual_seed(0))
    network.load_state_dict(dict(state))
    return network


@torch.no_grad()
def in_batches(function: Callable[[Tensor], Tensor], rows: Tensor, batch: int = 256) -> Tensor:
    """Compute `function(rows)` in batches, without gradients."""
    return torch.cat([function(part) for part in rows.split(batch)])
