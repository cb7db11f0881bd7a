"""LwF: learn the new classes, and keep the old model's answers on the new clips.

Li and Hoiem: Learning without Forgetting (ECCV 2016), equations 1 to 4: cross entropy over the
new logits and distillation of the old ones. With exemplars the cross entropy is over all
logits, as in FACIL (Masana et al. 2022). The distillation has the factor T**2 of Hinton et al.,
FACIL's has not: its weight 1 is ours of 1 / T**2.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch.nn.functional as F
from torch import Tensor

from mtcil.clips import join
from mtcil.learner import Learner
from mtcil.losses import distillation_loss, new_class_loss
from mtcil.methods import MethodConfig, StepClips
from mtcil.methods._training import fit_whole, shuffled_rows
from mtcil.models import frozen_copy, in_batches, widen_head
from mtcil.settings import StepTrainingSettings, need
from mtcil.training import Streams


@dataclass(frozen=True, kw_only=True)
class Config(MethodConfig):
    """Settings of this method alone."""

    memory: Literal["exemplars", "none", "all"] = "none"
    kd_weight: float  # of the distillation
    temperature: float

    def __post_init__(self) -> None:
        super().__post_init__()
        need(self.kd_weight >= 0, "kd_weight must be 0 or more.")
        need(self.temperature > 0, "temperature must be above 0.")


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
