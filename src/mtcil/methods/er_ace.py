"""ER-ACE: new clips compete among the new classes alone, replayed ones among all.

Caccia et al.: New Insights on Reducing Abrupt Representation Change in Online Continual Learning
(ICLR 2022), equation 3: asymmetric cross entropy, without distillation.
"""

from types import SimpleNamespace

import torch
import torch.nn.functional as F
from pydantic.dataclasses import dataclass
from torch import Tensor

from mtcil.learning.fit import Seeds, Steps
from mtcil.learning.learner import Learner
from mtcil.learning.losses import new_class_loss
from mtcil.learning.network import Network
from mtcil.learning.steps import (
    MethodConfig,
    StepClips,
    StepTraining,
    balanced_set,
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
    """This method has no settings of its own."""


def learn_step(
    learner: Learner, clips: StepClips, config: Config, training: StepTraining, seeds: Seeds
) -> Steps[Learner]:
    """Learn the classes of one incremental step."""
    _, student = teacher_and_student(learner, clips, seeds)
    # The memory of the paper also fills with clips of the classes that are being learnt.
    memory = balanced_set(clips, seeds.generator("balanced set"))
    half = training.sgd.batch // 2
    student = yield fit_whole(
        student,
        {"new": table(clips.new, half), "memory": table(memory, half)},
        er_ace_loss,
        clips,
        training,
        seeds,
        choices=clips.n_old,
    )
    return Learner(student)


def er_ace_loss(
    network: Network, batch: SimpleNamespace, numbers: SimpleNamespace, choices: int
) -> Tensor:
    """New clips among the new classes (from `choices` on), replayed ones among all."""
    new, memory = batch.new, batch.memory
    if memory is None:
        return new_class_loss(network(new.features, new.keep), new.labels, choices)
    keep = None if new.keep is None else torch.cat([new.keep, memory.keep])
    logits = network(torch.cat([new.features, memory.features]), keep)
    n = len(new.labels)
    learnt = new_class_loss(logits[:n], new.labels, choices)
    return learnt + F.cross_entropy(logits[n:], memory.labels)


state_after, predict, cost = no_state, largest_logit, no_cost
