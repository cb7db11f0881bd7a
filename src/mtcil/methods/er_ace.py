"""ER-ACE: new clips compete only among the new classes, replayed ones among all.

Caccia et al.: New Insights on Reducing Abrupt Representation Change in Online Continual Learning
(ICLR 2022), equation 3: asymmetric cross entropy, without distillation. New clips and memory have
separate forward passes, as in Mammoth's and Avalanche's er_ace.py.
"""

from types import SimpleNamespace

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
    # In the paper, the memory also receives clips of the classes being learnt.
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
    """Cross entropy: new clips among the new classes (from `choices` on), replayed among all."""
    new, memory = batch.new, batch.memory
    learnt = new_class_loss(network(new.features, new.keep), new.labels, choices)
    if memory is None:
        return learnt
    replayed = F.cross_entropy(network(memory.features, memory.keep), memory.labels)
    return learnt + replayed


state_after, predict, cost = no_state, largest_logit, no_cost
