"""A recipe of parts that exist: what does best at equal bytes of memory.

New clips learn among the new classes, as in CCIL and ER-ACE, or among all; a balanced batch learns
among all; both are augmented and distilled (LwF); prediction is by the nearest mean of exemplars
(iCaRL) or by the largest logit. With `bits: 8` the same bytes hold four times as many exemplars.
"""

from collections.abc import Callable, Iterator
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic.dataclasses import dataclass
from torch import Tensor

from mtcil.learning.augmentation import AugmentationSettings, augmented
from mtcil.learning.clips import Clips
from mtcil.learning.fit import Streams, endless, shuffled
from mtcil.learning.learner import Learner
from mtcil.learning.losses import distillation_loss, new_class_loss
from mtcil.learning.network import Network, frozen_copy, widen_head
from mtcil.learning.phases import Rows, balanced_set, batches_of, fit_whole
from mtcil.learning.steps import Cost, MethodConfig, StepClips
from mtcil.methods import icarl
from mtcil.settings.reader import STRICT
from mtcil.settings.sections import Positive, StepTrainingSettings, Weight


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Config(MethodConfig):
    """Settings of this method alone."""

    kd_weight: Weight
    temperature: Positive
    classifier: Literal["argmax", "nearest_mean"]
    rivals: Literal["new", "all"]  # the classes that new clips learn among
    augmentation: AugmentationSettings


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
    new, n_old = clips.new, teacher.n_classes
    network = widen_head(learner.network, len(new.labels.unique()), streams.generator("weights"))
    balanced = balanced_set(clips, n_old, streams.generator("balanced set"))
    first_rival = n_old if config.rivals == "new" else 0
    draw = streams.generator("augmentation")

    def loss(rows: Rows) -> Tensor:
        of_new, of_all = rows
        features = torch.cat([new.features[of_new], balanced.features[of_all]])
        features = augmented(features, config.augmentation, draw)
        logits = network(features)
        with torch.no_grad():
            old_logits = teacher(features)
        total = new_class_loss(logits[: len(of_new)], new.labels[of_new], first_rival)
        if len(of_all):
            total = total + F.cross_entropy(logits[len(of_new) :], balanced.labels[of_all])
        kept = distillation_loss(logits[:, :n_old], old_logits, config.temperature)
        return total + config.kd_weight * kept

    def batches(generator: torch.Generator) -> Iterator[Rows]:
        return longer_once(len(new), len(balanced), training.sgd.batch, generator)

    epochs = fit_whole(network, batches, loss, clips, training, streams, report)
    return Learner(network, epochs=epochs)


def longer_once(
    n_new: int, n_balanced: int, batch: int, generator: torch.Generator
) -> Iterator[Rows]:
    """One epoch: the larger of the two sets once, each batch beside one of the smaller.

    An epoch over the new clips alone would leave most of a large memory unseen.
    """
    if n_balanced > n_new:
        of_all = shuffled(n_balanced, batch, generator)
        return zip(endless(n_new, batch, generator), of_all, strict=False)
    return batches_of((n_new, n_balanced), batch, generator)


def keep(
    learner: Learner, clips: Clips, memory: Clips, config: Config, streams: Streams
) -> Learner:
    """The means of the exemplars, if they are to predict."""
    if config.classifier == "argmax":
        return learner
    return icarl.keep(learner, clips, memory, icarl.Config(), streams)


def cost(network: Network, n_seen: int, config: Config) -> Cost:
    """One mean per class."""
    if config.classifier == "argmax":
        return Cost(0)
    return icarl.cost(network, n_seen, icarl.Config())
