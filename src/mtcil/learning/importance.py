"""What EWC and MAS share: per-clip gradients, and a penalty on moving what matters."""

from collections.abc import Callable, Mapping
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic.dataclasses import dataclass
from torch import Tensor
from torch.func import functional_call, grad, vmap

from mtcil.learning.clips import Clips, join
from mtcil.learning.fit import Streams
from mtcil.learning.learner import Learner
from mtcil.learning.network import Network, frozen_copy, widen_head
from mtcil.learning.phases import fit_whole, shuffled_rows
from mtcil.learning.steps import Cost, MethodConfig, StepClips
from mtcil.settings.reader import STRICT
from mtcil.settings.sections import StepTrainingSettings, Weight

Score = Callable[[Tensor, Tensor], Tensor]  # (logits (n_classes,), label) -> scalar
BATCH = 32  # clips whose gradients are held at once


@dataclass(frozen=True, kw_only=True, config=STRICT)
class PenaltyConfig(MethodConfig):
    """Settings of EWC and MAS."""

    memory: Literal["exemplars", "none", "all"] = "none"
    strength: Weight  # lambda


def learn_with_penalty(
    learner: Learner,
    clips: StepClips,
    training: StepTrainingSettings,
    weight: float,
    streams: Streams,
    report: Callable[[str], None] | None,
) -> Learner:
    """Cross entropy over all logits, and `weight` times the penalty on moving what matters."""
    seen = join(clips.new, clips.memory)
    n_new = len(clips.new.labels.unique())
    network = widen_head(learner.network, n_new, streams.generator("weights"))
    anchor = {name: value.detach() for name, value in learner.network.named_parameters()}

    def loss(rows: Tensor) -> Tensor:
        learnt = F.cross_entropy(network(seen.features[rows]), seen.labels[rows])
        return learnt + weight * penalty(network, anchor, learner.tensors)

    batches = shuffled_rows(len(seen), training)
    epochs = fit_whole(network, batches, loss, clips, training, streams, report)
    return Learner(network, learner.tensors, epochs=epochs)


def mean_over_clips(
    network: Network, clips: Clips, score: Score, of_gradient: Callable[[Tensor], Tensor]
) -> dict[str, Tensor]:
    """Mean over clips of `of_gradient` of each clip's own gradient of `score`, by parameter.

    The network is in eval mode, so that a clip's gradient does not depend on its batch.
    """
    network = frozen_copy(network)
    parameters = {name: value.detach() for name, value in network.named_parameters()}
    buffers = dict(network.named_buffers())

    def of_clip(parameters: dict[str, Tensor], clip: Tensor, label: Tensor) -> Tensor:
        logits = functional_call(network, (parameters, buffers), (clip.unsqueeze(0),))
        return score(logits.squeeze(0), label)

    gradients = vmap(grad(of_clip), in_dims=(None, 0, 0))
    total = {name: torch.zeros_like(value) for name, value in parameters.items()}
    batches = zip(clips.features.split(BATCH), clips.labels.split(BATCH), strict=True)
    for features, labels in batches:
        for name, value in gradients(parameters, features.contiguous(), labels).items():
            total[name] += of_gradient(value).sum(0)
    return {name: value / len(clips) for name, value in total.items()}


def fused(old: Mapping[str, Tensor], new: Mapping[str, Tensor], n_old: int) -> dict[str, Tensor]:
    """Importances after a step: of old and new clips, weighted by their numbers of classes.

    Rows of the head that the old ones lack are the new ones' alone.
    """
    if not old:
        return dict(new)
    n_seen = len(new["head.bias"])
    merged = {}
    for name, value in new.items():
        merged[name] = value.clone()
        shared = slice(0, len(old[name]))
        merged[name][shared] = (n_old * old[name] + (n_seen - n_old) * value[shared]) / n_seen
    return merged


def penalty(
    network: Network, anchor: Mapping[str, Tensor], weights: Mapping[str, Tensor]
) -> Tensor:
    """sum_i w_i (theta_i - anchor_i)^2 over the parameters that the old network had.

    Args:
        network: the one that learns; its head may have more rows than the anchor's.
        anchor: parameters before the step, by name.
        weights: importance of each, of the anchor's shapes.
    """
    moved = [
        (weights[name] * (value[: len(anchor[name])] - anchor[name]).square()).sum()
        for name, value in network.named_parameters()
    ]
    return torch.stack(moved).sum()


def remembered(learner: Learner, importances: Mapping[str, Tensor]) -> Learner:
    """The learner with the importances fused into those that it had."""
    n_old = len(learner.tensors["head.bias"]) if learner.tensors else 0
    tensors = fused(learner.tensors, importances, n_old)
    return Learner(learner.network, tensors, epochs=learner.epochs)


def cost_of_importances(network: Network) -> Cost:
    """One float per parameter. What they anchor to is the network itself."""
    return Cost(sum(value.nbytes for value in network.parameters()))
