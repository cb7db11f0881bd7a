"""LUCIR: cosine head, less-forget loss and margin ranking.

Hou et al.: Learning a Unified Classifier Incrementally via Rebalancing (CVPR 2019), section 3; the
paper's cosine normalisation. The base models have a linear head: the directions start as its rows,
and the scale starts so that scaled cosines are as large as its logits. Old rows keep learning (the
authors' code freezes them).
"""

from types import SimpleNamespace
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from mtcil.learning.clips import Clips
from mtcil.learning.fit import Seeds, Steps
from mtcil.learning.learner import Learner, class_means, cosines
from mtcil.learning.network import Network, WithParts, in_batches
from mtcil.learning.steps import (
    Cost,
    MethodConfig,
    StepClips,
    StepTraining,
    fit_whole,
    table,
    teacher_and_student,
    validation_on,
    without_training,
)
from mtcil.settings.reader import STRICT
from mtcil.settings.sections import Weight, Whole


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Config(MethodConfig):
    """Settings of this method only."""

    less_forget: Weight  # of the less-forget loss; times sqrt(n_old / n_new), as in their code
    margin: Weight
    hardest: Whole  # number of new classes that each exemplar is ranked against


class Choices(NamedTuple):
    """The constants of the ranking loss."""

    n_old: int
    hardest: int
    margin: float


def learn_step(
    learner: Learner, clips: StepClips, config: Config, training: StepTraining, seeds: Seeds
) -> Steps[Learner]:
    """Learn the classes of one incremental step."""
    teacher, student = teacher_and_student(learner, clips, seeds)
    imprint(student, clips.n_old, clips.new)
    seen = clips.seen()
    embeddings = in_batches(teacher.embed, seen.features)
    scaled = WithParts(student, scale=nn.Parameter(learner.tensors["scale"].clone()))
    scaled = yield fit_whole(
        scaled,
        {"seen": table(seen, training.sgd.batch, embeddings=embeddings)},
        lucir_loss,
        clips,
        training,
        seeds,
        numbers={"less_forget": config.less_forget * (clips.n_old / clips.n_new) ** 0.5},
        choices=Choices(clips.n_old, config.hardest, config.margin),
        validation=validation_on(clips, scaled_cosines),
    )
    return Learner(scaled.network, {"scale": scaled.scale.detach()})


def lucir_loss(
    module: Any, batch: SimpleNamespace, numbers: SimpleNamespace, choices: Choices
) -> Tensor:
    """Cross entropy of scaled cosines, less-forget loss and margin ranking."""
    seen = batch.seen
    embeddings = module.network.embed(seen.features, seen.keep)
    angles = cosines(embeddings, module.network.head.weight)
    return (
        F.cross_entropy(module.scale * angles, seen.labels)
        + numbers.less_forget * less_forget_loss(embeddings, seen.embeddings)
        + ranking_loss(angles, seen.labels, *choices)
    )


def scaled_cosines(module: Any, features: Tensor) -> Tensor:
    """Logits: the cosines with the head's rows, times the scale."""
    return module.scale * cosines(module.network.embed(features), module.network.head.weight)


@without_training
def state_after(
    learner: Learner, clips: Clips, memory: Clips, config: Config, seeds: Seeds
) -> Learner:
    """After the base step, set the scale so that scaled cosines are as large as its logits."""
    if learner.tensors:
        return learner
    lengths = in_batches(learner.network.embed, clips.features).norm(dim=1)
    scale = lengths.mean() * learner.network.head.weight.detach().norm(dim=1).mean()
    return Learner(learner.network, {"scale": scale.reshape(1)})


def predict(learner: Learner, features: Tensor) -> Tensor:
    """Predict by the largest cosine with the head's rows, ignoring norms and biases."""
    embeddings = learner.network.embed(features)
    return cosines(embeddings, learner.network.head.weight).argmax(1)


def cost(network: Network, n_seen: int, config: Config) -> Cost:
    """The scale."""
    return Cost(4)


@torch.no_grad()
def imprint(network: Network, n_old: int, new: Clips) -> None:
    """Set new head rows, in place: parallel to their class means, with the old rows' mean norm."""
    means = class_means(
        in_batches(network.embed, new.features), new.labels - n_old, network.n_classes - n_old
    )
    network.head.weight[n_old:] = means * network.head.weight[:n_old].norm(dim=1).mean()


def less_forget_loss(embeddings: Tensor, old_embeddings: Tensor) -> Tensor:
    """1 - cosine of new and old embeddings, averaged over the batch."""
    return 1 - F.cosine_similarity(embeddings, old_embeddings).mean()


def ranking_loss(angles: Tensor, labels: Tensor, n_old: int, hardest: int, margin: float) -> Tensor:
    """Exemplars must be nearer to their own class than to any new one, by a margin.

    Args:
        angles: (batch, n_seen) cosines.
        labels: (batch,) int64; rows of new classes do not count.
        n_old: number of old classes.
        hardest: number of nearest new classes that each exemplar is ranked against.
        margin: m.

    Returns:
        Scalar, averaged over those classes and over the exemplars, as in the authors' code
        (section 3.4, MarginRankingLoss); 0 without exemplars.
    """
    is_old = (labels < n_old).to(angles.dtype)
    own = angles.gather(1, labels.unsqueeze(1))
    nearest = angles[:, n_old:].topk(min(hardest, angles.shape[1] - n_old)).values
    by_clip = (margin - own + nearest).clamp(min=0).mean(1)
    return (by_clip * is_old).sum() / is_old.sum().clamp(min=1)
