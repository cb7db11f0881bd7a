"""A recipe of known parts, for the highest accuracy at equal bytes of memory.

New clips compete among the new classes, as in CCIL and ER-ACE, or among all; clips of a balanced
set compete among all. Both are augmented and distilled (LwF). Prediction is by the nearest mean of
exemplars (iCaRL) or by the largest logit. `bits: 8` stores four times the exemplars in K. The old
network is applied to each augmented batch, which `clips_passed` does not count.
"""

from types import SimpleNamespace
from typing import Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from pydantic.dataclasses import dataclass
from torch import Tensor

from mtcil.learning.augmentation import AugmentationSettings, augment, draw_changes
from mtcil.learning.clips import Clips
from mtcil.learning.fit import Seeds, Steps
from mtcil.learning.learner import Learner, class_means, nearest_mean
from mtcil.learning.losses import distillation_loss, new_class_loss
from mtcil.learning.network import Network, WithParts, in_batches
from mtcil.learning.steps import (
    Cost,
    MethodConfig,
    StepClips,
    StepTraining,
    balanced_set,
    fit_whole,
    largest_logit,
    table,
    teacher_and_student,
    validation_on,
    without_training,
)
from mtcil.settings.reader import STRICT
from mtcil.settings.sections import Positive, Weight


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Config(MethodConfig):
    """Settings of this method only."""

    kd_weight: Weight
    temperature: Positive
    classifier: Literal["argmax", "nearest_mean"]
    rivals: Literal["new", "all"]  # the classes that new clips compete with
    augmentation: AugmentationSettings


class Choices(NamedTuple):
    """The first class that new clips compete with, and the distillation's temperature."""

    first: int
    temperature: float


def learn_step(
    learner: Learner, clips: StepClips, config: Config, training: StepTraining, seeds: Seeds
) -> Steps[Learner]:
    """Learn the classes of one incremental step."""
    teacher, student = teacher_and_student(learner, clips, seeds)
    balanced = balanced_set(clips, seeds.generator("balanced set"))
    draw, half = draw_changes(config.augmentation, clips.new.features), training.sgd.batch // 2
    both = yield fit_whole(
        WithParts(student, teacher=teacher),
        {"new": table(clips.new, half, draw), "balanced": table(balanced, half, draw)},
        recipe_loss,
        clips,
        training,
        seeds,
        numbers={"kd_weight": config.kd_weight},
        choices=Choices(clips.n_old if config.rivals == "new" else 0, config.temperature),
        validation=validation_on(clips, logits_of_student),
    )
    return Learner(both.network)


def recipe_loss(
    module: Any, batch: SimpleNamespace, numbers: SimpleNamespace, choices: Choices
) -> Tensor:
    """Cross entropy on new clips and on the balanced set, plus distillation on both."""
    parts = [rows for rows in (batch.new, batch.balanced) if rows is not None]
    features = torch.cat(
        [augment(r.features, r.shift, r.hidden_frames, r.hidden_bins) for r in parts]
    )
    keep = None if parts[0].keep is None else torch.cat([rows.keep for rows in parts])
    logits, n_new = module.network(features, keep), len(batch.new.labels)
    old_logits = module.teacher(features).detach()
    total = new_class_loss(logits[:n_new], batch.new.labels, choices.first)
    if batch.balanced is not None:
        total = total + F.cross_entropy(logits[n_new:], batch.balanced.labels)
    kept = distillation_loss(logits[:, : old_logits.shape[1]], old_logits, choices.temperature)
    return total + numbers.kd_weight * kept


def logits_of_student(module: Any, features: Tensor) -> Tensor:
    """The student's logits, for early stopping."""
    return module.network(features)


@without_training
def state_after(
    learner: Learner, clips: Clips, memory: Clips, config: Config, seeds: Seeds
) -> Learner:
    """Keep the means of the exemplars for `nearest_mean`, if every class has exemplars."""
    by_logit = config.classifier == "argmax"
    if by_logit or len(memory.labels.unique()) < learner.n_classes:
        return Learner(learner.network)
    embeddings = in_batches(learner.network.embed, memory.features)
    means = class_means(embeddings, memory.labels, learner.n_classes)
    return Learner(learner.network, {"class_means": means})


def predict(learner: Learner, features: Tensor) -> Tensor:
    """Predict by the nearest mean if there are means, else by the largest logit."""
    return nearest_mean(learner, features) if learner.tensors else largest_logit(learner, features)


def cost(network: Network, n_seen: int, config: Config) -> Cost:
    """One mean per class for `nearest_mean`."""
    fixed = 4 * n_seen * network.head.in_features
    return Cost(fixed if config.classifier == "nearest_mean" else 0)
