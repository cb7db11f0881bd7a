"""LUCIR: cosine head, less-forget loss and margin ranking.

Hou et al.: Learning a Unified Classifier Incrementally via Rebalancing (CVPR 2019), section 3; the
paper's cosine normalisation. The base models have a linear head: its rows are the first
directions, and the scale starts where cosines times it are as large as that head's logits. Old
rows learn on (the authors' code freezes them).
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from pydantic.dataclasses import dataclass
from torch import Tensor

from mtcil.learning.clips import Clips, join
from mtcil.learning.fit import Streams
from mtcil.learning.learner import Learner, class_means, cosines
from mtcil.learning.network import Network, frozen_copy, in_batches, widen_head
from mtcil.learning.phases import fit_whole, shuffled_rows
from mtcil.learning.steps import Cost, MethodConfig, StepClips
from mtcil.settings.reader import STRICT
from mtcil.settings.sections import StepTrainingSettings, Weight, Whole


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Config(MethodConfig):
    """Settings of this method alone."""

    less_forget: Weight  # of the less-forget loss; times sqrt(n_old / n_new)
    margin: Weight
    hardest: Whole  # new classes that each exemplar is ranked against


def learn_step(
    learner: Learner,
    clips: StepClips,
    training: StepTrainingSettings,
    config: Config,
    streams: Streams,
    report: Callable[[str], None] | None = None,
) -> Learner:
    """Learn the classes of one incremental step."""
    teacher = frozen_copy(learner.network)
    n_old, n_new = teacher.n_classes, len(clips.new.labels.unique())
    network = widen_head(learner.network, n_new, streams.generator("weights"))
    imprint(network, n_old, clips.new)
    seen = join(clips.new, clips.memory)
    old_embeddings = in_batches(teacher.embed, seen.features)
    scale = learner.tensors["scale"].clone().requires_grad_()
    weight = config.less_forget * (n_old / n_new) ** 0.5

    def loss(rows: Tensor) -> Tensor:
        labels = seen.labels[rows]
        embeddings = network.embed(seen.features[rows])
        angles = cosines(embeddings, network.head.weight)
        return (
            F.cross_entropy(scale * angles, labels)
            + weight * less_forget_loss(embeddings, old_embeddings[rows])
            + ranking_loss(angles, labels, n_old, config.hardest, config.margin)
        )

    epochs = fit_whole(
        network,
        shuffled_rows(len(seen), training),
        loss,
        clips,
        training,
        streams,
        report,
        extra_parameters=[scale],
        logits=lambda part: scale * cosines(network.embed(part), network.head.weight),
    )
    return Learner(network, {"scale": scale.detach()}, "cosine", epochs)


def keep(
    learner: Learner, clips: Clips, memory: Clips, config: Config, streams: Streams
) -> Learner:
    """After the base step: how long its logits are, for the scale of the cosines."""
    if learner.tensors:
        return learner
    lengths = in_batches(learner.network.embed, clips.features).norm(dim=1)
    scale = lengths.mean() * learner.network.head.weight.detach().norm(dim=1).mean()
    return Learner(learner.network, {"scale": scale.reshape(1)}, "cosine", learner.epochs)


def cost(network: Network, n_seen: int, config: Config) -> Cost:
    """The scale."""
    return Cost(4)


@torch.no_grad()
def imprint(network: Network, n_old: int, new: Clips) -> None:
    """Set the new rows of the head, in place, along their class means, as long as the old rows."""
    means = class_means(
        in_batches(network.embed, new.features), new.labels - n_old, network.n_classes - n_old
    )
    network.head.weight[n_old:] = means * network.head.weight[:n_old].norm(dim=1).mean()


def less_forget_loss(embeddings: Tensor, old_embeddings: Tensor) -> Tensor:
    """1 - cosine of new and old embedding, averaged over the batch."""
    return 1 - F.cosine_similarity(embeddings, old_embeddings).mean()


def ranking_loss(angles: Tensor, labels: Tensor, n_old: int, hardest: int, margin: float) -> Tensor:
    """Exemplars must be nearer to their own class than to any new one, by a margin.

    Args:
        angles: (batch, n_seen) cosines.
        labels: (batch,) int64; rows of new classes are left out.
        n_old: number of old classes.
        hardest: how many new classes, the nearest ones, each exemplar is ranked against.
        margin: m.

    Returns:
        Summed over those classes, averaged over the exemplars; 0 without exemplars.
    """
    is_old = labels < n_old
    if not is_old.any():
        return angles.new_zeros(())
    own = angles[is_old].gather(1, labels[is_old].unsqueeze(1))
    nearest = angles[is_old][:, n_old:].topk(min(hardest, angles.shape[1] - n_old)).values
    return (margin - own + nearest).clamp(min=0).sum(1).mean()
