"""iCaRL: distil by sigmoids, predict by the nearest mean of exemplars.

Rebuffi et al.: iCaRL: Incremental Classifier and Representation Learning (CVPR 2017), algorithms 1
to 5: binary cross entropy for every class. The target of an old class is the old network's output.
The base models were trained by softmax cross entropy, not by sigmoids as in the paper, so that the
targets of the first step are not calibrated.
"""

from types import SimpleNamespace

import torch
import torch.nn.functional as F
from pydantic.dataclasses import dataclass
from torch import Tensor

from mtcil.learning.clips import Clips
from mtcil.learning.fit import Seeds, Steps
from mtcil.learning.learner import Learner, class_means, nearest_mean
from mtcil.learning.network import Network, in_batches
from mtcil.learning.steps import (
    Cost,
    MethodConfig,
    StepClips,
    StepTraining,
    fit_whole,
    largest_logit,
    logits_of,
    table,
    teacher_and_student,
    without_training,
)
from mtcil.settings.reader import STRICT


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Config(MethodConfig):
    """This method has no settings of its own."""


def learn_step(
    learner: Learner, clips: StepClips, config: Config, training: StepTraining, seeds: Seeds
) -> Steps[Learner]:
    """Learn the classes of one incremental step."""
    teacher, student = teacher_and_student(learner, clips, seeds)
    seen = clips.seen()
    tables = {"seen": table(seen, training.sgd.batch, logits=logits_of(teacher, seen))}
    student = yield fit_whole(student, tables, icarl_loss, clips, training, seeds)
    return Learner(student)


def icarl_loss(
    network: Network, batch: SimpleNamespace, numbers: SimpleNamespace, choices: None
) -> Tensor:
    """The sigmoid loss on new clips and exemplars."""
    seen = batch.seen
    return sigmoid_loss(network(seen.features, seen.keep), seen.labels, seen.logits)


def sigmoid_loss(logits: Tensor, labels: Tensor, old_logits: Tensor) -> Tensor:
    """Binary cross entropy summed over classes, averaged over the batch (algorithm 3).

    Args:
        logits: (batch, n_seen).
        labels: (batch,) int64.
        old_logits: (batch, n_old), the old network's; their sigmoids are the old targets.
    """
    n_old, places = old_logits.shape[1], torch.arange(logits.shape[1], device=labels.device)
    target = (labels.unsqueeze(1) == places).to(logits.dtype)
    target = torch.cat([old_logits.sigmoid(), target[:, n_old:]], dim=1)
    return F.binary_cross_entropy_with_logits(logits, target, reduction="sum") / len(logits)


@without_training
def state_after(
    learner: Learner, clips: Clips, memory: Clips, config: MethodConfig, seeds: Seeds
) -> Learner:
    """Keep the means of the exemplars' current embeddings (algorithm 1).

    If a class has no exemplars, there are no means and the largest logit predicts.
    """
    if len(memory.labels.unique()) < learner.n_classes:
        return Learner(learner.network)
    embeddings = in_batches(learner.network.embed, memory.features)
    means = class_means(embeddings, memory.labels, learner.n_classes)
    return Learner(learner.network, {"class_means": means})


def predict(learner: Learner, features: Tensor) -> Tensor:
    """Predict the class with the mean nearest to the unit embedding (algorithm 1)."""
    if not learner.tensors:
        return largest_logit(learner, features)
    return nearest_mean(learner, features)


def cost(network: Network, n_seen: int, config: MethodConfig) -> Cost:
    """One mean per class."""
    return Cost(4 * n_seen * network.head.in_features)
