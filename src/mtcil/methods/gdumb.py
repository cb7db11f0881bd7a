"""GDumb: discard the old network, and learn from scratch on a balanced memory.

Prabhu, Torr, Dokania: GDumb: A Simple Approach that Questions Our Progress in Continual Learning
(ECCV 2020). The memory holds equally many clips of each class seen. A step learns old classes from
their exemplars, and new ones from as many clips drawn at random; what is kept of these afterwards
is chosen as for every method. Left out: the paper's CutMix and warm restarts.
"""

import copy
from types import SimpleNamespace

import torch
import torch.nn.functional as F
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from mtcil.learning.clips import of_labels
from mtcil.learning.fit import Seeds, Steps
from mtcil.learning.learner import Learner
from mtcil.learning.network import Network, draw_uniform
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
    """Learn all classes seen from scratch; only the shape of the old network is kept."""
    _, student = teacher_and_student(learner, clips, seeds)
    student = reinitialised(student, seeds.generator("weights", "again"))
    balanced = balanced_set(clips, seeds.generator("balanced set"))
    m, n_seen = clips.per_class, clips.n_old + clips.n_new
    if m == 0:
        return Learner(student)
    seen = balanced[torch.cat([of_labels(balanced, k, k + 1)[:m] for k in range(n_seen)])]
    tables = {"seen": table(seen, training.sgd.batch)}
    student = yield fit_whole(student, tables, gdumb_loss, clips, training, seeds)
    return Learner(student)


def gdumb_loss(
    network: Network, batch: SimpleNamespace, numbers: SimpleNamespace, choices: None
) -> Tensor:
    """Cross entropy over all classes seen."""
    seen = batch.seen
    return F.cross_entropy(network(seen.features, seen.keep), seen.labels)


def reinitialised(network: Network, generator: torch.Generator) -> Network:
    """A network of the same shape, with weights drawn from `generator`."""
    drawn = copy.deepcopy(network).cpu()
    for module in drawn.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            draw_uniform(module, generator)
        elif isinstance(module, nn.BatchNorm2d):
            module.reset_parameters()
    return drawn.to(network.head.weight.device)


state_after, predict, cost = no_state, largest_logit, no_cost
