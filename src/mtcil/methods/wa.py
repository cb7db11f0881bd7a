"""WA: distil, then scale the new classes' weights to the length of the old ones.

Zhao et al.: Maintaining Discrimination and Fairness in Class Incremental Learning (CVPR 2020),
section 4: (1 - l) CE + l KD with l = n_old / n_seen; the paper's WA and WA-MDF. The paper clips
weights to positive values; we do not, because our embeddings are signed, not after a ReLU.
"""

from types import SimpleNamespace

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor

from mtcil.learning.fit import Seeds, Steps
from mtcil.learning.learner import Learner
from mtcil.learning.losses import blended_loss
from mtcil.learning.network import Network
from mtcil.learning.steps import (
    MethodConfig,
    StepClips,
    StepTraining,
    fit_whole,
    largest_logit,
    logits_of,
    no_cost,
    no_state,
    table,
    teacher_and_student,
)
from mtcil.settings.reader import STRICT
from mtcil.settings.sections import Positive


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Config(MethodConfig):
    """Settings of this method only."""

    temperature: Positive


def learn_step(
    learner: Learner, clips: StepClips, config: Config, training: StepTraining, seeds: Seeds
) -> Steps[Learner]:
    """Learn the classes of one incremental step."""
    teacher, student = teacher_and_student(learner, clips, seeds)
    without_new_bias(student, clips.n_old)
    seen = clips.seen()
    student = yield fit_whole(
        student,
        {"seen": table(seen, training.sgd.batch, logits=logits_of(teacher, seen))},
        wa_loss,
        clips,
        training,
        seeds,
        choices=config.temperature,
    )
    align(student, clips.n_old)
    return Learner(student)


def wa_loss(
    network: Network, batch: SimpleNamespace, numbers: SimpleNamespace, choices: float
) -> Tensor:
    """Cross entropy and distillation, blended by the share of old classes."""
    seen = batch.seen
    logits = network(seen.features, seen.keep)
    return blended_loss(logits, seen.labels, seen.logits, temperature=choices)


@torch.no_grad()
def without_new_bias(network: Network, n_old: int) -> None:
    """Set the new classes' biases to 0 and freeze all biases: the paper's head has no bias.

    Biases could restore the advantage that the alignment removes.
    """
    network.head.bias[n_old:] = 0
    network.head.bias.requires_grad_(False)


@torch.no_grad()
def align(network: Network, n_old: int) -> None:
    """Scale the new rows of the head, in place, to the old rows' mean length."""
    lengths = network.head.weight.norm(dim=1)
    network.head.weight[n_old:] *= lengths[:n_old].mean() / lengths[n_old:].mean()


state_after, predict, cost = no_state, largest_logit, no_cost
