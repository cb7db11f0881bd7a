"""SS-IL: separated softmax, and distillation within each earlier step's classes.

Ahn et al.: SS-IL: Separated Softmax for Incremental Learning (ICCV 2021), equations 3 to 5: a new
clip competes among the new classes, an exemplar among the old ones; each batch of new clips comes
with one of exemplars.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from pydantic.dataclasses import dataclass
from torch import Tensor

from mtcil.learning.clips import Clips
from mtcil.learning.fit import Streams
from mtcil.learning.groups import cost_of_steps, distil_by_step, with_steps
from mtcil.learning.learner import Learner
from mtcil.learning.network import Network, frozen_copy, in_batches, widen_head
from mtcil.learning.phases import Rows, fit_whole, paired_rows
from mtcil.learning.steps import Cost, MethodConfig, StepClips
from mtcil.settings.reader import STRICT
from mtcil.settings.sections import Positive, StepTrainingSettings, Weight


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Config(MethodConfig):
    """Settings of this method alone."""

    kd_weight: Weight
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
    new, memory = clips.new, clips.memory
    teacher = frozen_copy(learner.network)
    n_old, n_new = teacher.n_classes, len(new.labels.unique())
    network = widen_head(learner.network, n_new, streams.generator("weights"))
    steps = learner.tensors["steps"].tolist()
    teacher_new = in_batches(teacher, new.features)
    teacher_memory = in_batches(teacher, memory.features)

    def loss(rows: Rows) -> Tensor:
        of_new, of_memory = rows
        logits = network(torch.cat([new.features[of_new], memory.features[of_memory]]))
        labels = torch.cat([new.labels[of_new], memory.labels[of_memory]])
        old_logits = torch.cat([teacher_new[of_new], teacher_memory[of_memory]])
        kept = distil_by_step(logits, old_logits, steps, config.temperature)
        return separated_loss(logits, labels, n_old) + config.kd_weight * kept

    batches = paired_rows(len(new), len(memory), training)
    epochs = fit_whole(network, batches, loss, clips, training, streams, report)
    return Learner(network, learner.tensors, epochs=epochs)


def keep(
    learner: Learner, clips: Clips, memory: Clips, config: Config, streams: Streams
) -> Learner:
    return with_steps(learner)


def cost(network: Network, n_seen: int, config: Config) -> Cost:
    return cost_of_steps(n_seen)


def separated_loss(logits: Tensor, labels: Tensor, n_old: int) -> Tensor:
    """Cross entropy among the old classes for old labels, among the new ones for new labels.

    Args:
        logits: (batch, n_seen).
        labels: (batch,) int64.
        n_old: number of old classes.

    Returns:
        Scalar, averaged over the batch.
    """
    is_old = labels < n_old
    old = F.cross_entropy(logits[is_old, :n_old], labels[is_old], reduction="sum")
    new = F.cross_entropy(logits[~is_old, n_old:], labels[~is_old] - n_old, reduction="sum")
    return (old + new) / len(labels)
