"""LwF: learn the new classes, and keep the old model's answers on the new clips.

Li and Hoiem: Learning without Forgetting (ECCV 2016), equations 1 to 4: cross entropy over the
new logits and distillation of the old ones. With exemplars the cross entropy is over all
logits, as in FACIL (Masana et al. 2022). The distillation has the factor T**2 of Hinton et al.,
FACIL's has not: its weight 1 is ours of 1 / T**2.
"""

from collections.abc import Callable
from typing import Literal

import torch.nn.functional as F
from pydantic.dataclasses import dataclass
from torch import Tensor

from mtcil.learning.clips import join
from mtcil.learning.fit import Streams
from mtcil.learning.learner import Learner
from mtcil.learning.losses import distillation_loss, new_class_loss
from mtcil.learning.network import frozen_copy, in_batches, widen_head
from mtcil.learning.phases import fit_whole, shuffled_rows
from mtcil.learning.steps import MethodConfig, StepClips
from mtcil.settings.reader import STRICT
from mtcil.settings.sections import Positive, StepTrainingSettings, Weight


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Config(MethodConfig):
    """Settings of this method alone."""

    memory: Literal["exemplars", "none", "all"] = "none"
    kd_weight: Weight  # of the distillation
    temperature: Positive


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
    seen = join(clips.new, clips.memory)
    old_logits = in_batches(teacher, seen.features)

    def loss(rows: Tensor) -> Tensor:
        logits, labels = network(seen.features[rows]), seen.labels[rows]
        if len(clips.memory):
            learnt = F.cross_entropy(logits, labels)
        else:
            learnt = new_class_loss(logits, labels, n_old)
        kept = distillation_loss(logits[:, :n_old], old_logits[rows], config.temperature)
        return learnt + config.kd_weight * kept

    batches = shuffled_rows(len(seen), training)
    epochs = fit_whole(network, batches, loss, clips, training, streams, report)
    return Learner(network, epochs=epochs)
