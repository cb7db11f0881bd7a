"""Fine-tuning: cross entropy over all logits, on new clips and memory.

Without memory this is the lower bound; with exemplars, replay, whose batches are drawn from new
clips and exemplars together (not half from each); with all clips of all old classes
(`memory: all`), joint training, the upper bound. Clips can be augmented, so that the upper bound
is not below methods that augment.
"""

from types import SimpleNamespace
from typing import Literal

import torch.nn.functional as F
from pydantic.dataclasses import dataclass
from torch import Tensor

from mtcil.learning.augmentation import AugmentationSettings, augment, draw_changes
from mtcil.learning.fit import Seeds, Steps
from mtcil.learning.learner import Learner
from mtcil.learning.network import Network
from mtcil.learning.steps import (
    MethodConfig,
    StepClips,
    StepTraining,
    fit_whole,
    largest_logit,
    no_cost,
    no_state,
    table,
    teacher_and_student,
)
from mtcil.settings.reader import STRICT


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Config(MethodConfig):
    """Settings of this method only."""

    memory: Literal["exemplars", "none", "all"] = "none"
    augmentation: AugmentationSettings | None = None


def learn_step(
    learner: Learner, clips: StepClips, config: Config, training: StepTraining, seeds: Seeds
) -> Steps[Learner]:
    """Learn the classes of one incremental step."""
    _, student = teacher_and_student(learner, clips, seeds)
    changes, loss = None, replay_loss
    if config.augmentation is not None:
        changes, loss = draw_changes(config.augmentation, clips.new.features), augmented_loss
    tables = {"seen": table(clips.seen(), training.sgd.batch, changes)}
    student = yield fit_whole(student, tables, loss, clips, training, seeds)
    return Learner(student)


def replay_loss(
    network: Network, batch: SimpleNamespace, numbers: SimpleNamespace, choices: None
) -> Tensor:
    """Cross entropy over all classes seen."""
    seen = batch.seen
    return F.cross_entropy(network(seen.features, seen.keep), seen.labels)


def augmented_loss(
    network: Network, batch: SimpleNamespace, numbers: SimpleNamespace, choices: None
) -> Tensor:
    """The same on augmented clips."""
    seen = batch.seen
    features = augment(seen.features, seen.shift, seen.hidden_frames, seen.hidden_bins)
    return F.cross_entropy(network(features, seen.keep), seen.labels)


state_after, predict, cost = no_state, largest_logit, no_cost
