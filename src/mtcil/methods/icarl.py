"""iCaRL: distil by sigmoids, predict by the nearest mean of exemplars.

Rebuffi et al.: iCaRL: Incremental Classifier and Representation Learning (CVPR 2017), algorithms 1
to 5: binary cross entropy of every class, whose target for an old class is the old network's
own answer.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from pydantic.dataclasses import dataclass
from torch import Tensor

from mtcil.learning.clips import Clips, join
from mtcil.learning.fit import Streams
from mtcil.learning.learner import Learner, class_means
from mtcil.learning.network import Network, frozen_copy, in_batches, widen_head
from mtcil.learning.phases import fit_whole, shuffled_rows
from mtcil.learning.steps import Cost, MethodConfig, StepClips
from mtcil.settings.reader import STRICT
from mtcil.settings.sections import StepTrainingSettings


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Config(MethodConfig):
    """Settings of this method alone: none."""


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
    n_new = len(clips.new.labels.unique())
    network = widen_head(learner.network, n_new, streams.generator("weights"))
    seen = join(clips.new, clips.memory)
    old_logits = in_batches(teacher, seen.features)

    def loss(rows: Tensor) -> Tensor:
        return sigmoid_loss(network(seen.features[rows]), seen.labels[rows], old_logits[rows])

    batches = shuffled_rows(len(seen), training)
    epochs = fit_whole(network, batches, loss, clips, training, streams, report)
    return Learner(network, epochs=epochs)


def keep(
    learner: Learner, clips: Clips, memory: Clips, config: Config, streams: Streams
) -> Learner:
    """The means of the exemplars, as the network sees them now (algorithm 1).

    A class without exemplars has no mean; then the logits must do.
    """
    if len(memory.labels.unique()) < learner.n_classes:
        return Learner(learner.network, epochs=learner.epochs)
    embeddings = in_batches(learner.network.embed, memory.features)
    means = class_means(embeddings, memory.labels, learner.n_classes)
    return Learner(learner.network, {"class_means": means}, "nearest_mean", learner.epochs)


def cost(network: Network, n_seen: int, config: Config) -> Cost:
    """One mean per class."""
    return Cost(4 * n_seen * network.head.in_features)


def sigmoid_loss(logits: Tensor, labels: Tensor, old_logits: Tensor) -> Tensor:
    """Binary cross entropy summed over classes, averaged over the batch (algorithm 3).

    Args:
        logits: (batch, n_seen).
        labels: (batch,) int64.
        old_logits: (batch, n_old), the old network's, whose sigmoids are the old targets.
    """
    n_old = old_logits.shape[1]
    target = F.one_hot(labels, logits.shape[1]).to(logits.dtype)
    target = torch.cat([old_logits.sigmoid(), target[:, n_old:]], dim=1)
    return F.binary_cross_entropy_with_logits(logits, target, reduction="sum") / len(logits)
