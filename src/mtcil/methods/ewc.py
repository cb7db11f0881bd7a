"""EWC: penalise changes of parameters by their Fisher information.

Kirkpatrick et al.: Overcoming catastrophic forgetting in neural networks (PNAS 2017), equation 3:

    L = CE + lambda / 2 sum_i F_i (theta_i - theta*_i)^2

F is the mean over clips of the squared gradient of each clip's log-likelihood (not the square of
the mean gradient), at its true label. F is capped at `fisher_cap`: without a cap, a large lambda
makes gradient descent diverge. PyCIL's ewc.py has the same cap for the square of a batch's mean
gradient, which is far smaller, so here the cap acts on more parameters. After a step the old and
new F are averaged by their numbers of classes, as in PyCIL; the paper keeps a penalty for each
task. Without exemplars, the cross entropy is over the new logits, as in FACIL's and PyCIL's code.
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from pydantic.dataclasses import dataclass
from torch import Tensor

from mtcil.learning.clips import Clips
from mtcil.learning.fit import Seeds, Steps
from mtcil.learning.importance import (
    PenaltyConfig,
    cost_of_importances,
    learn_with_penalty,
    mean_over_clips,
    remembered,
)
from mtcil.learning.learner import Learner
from mtcil.learning.network import Network
from mtcil.learning.steps import StepClips, StepTraining, largest_logit, without_training
from mtcil.settings.reader import STRICT
from mtcil.settings.sections import Positive


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Config(PenaltyConfig):
    """Settings of this method only."""

    fisher_cap: Positive  # upper limit of each F_i


def learn_step(
    learner: Learner, clips: StepClips, config: Config, training: StepTraining, seeds: Seeds
) -> Steps[Learner]:
    """Learn the classes of one incremental step."""
    return learn_with_penalty(learner, clips, training, config.strength / 2, seeds)


@without_training
def state_after(
    learner: Learner, clips: Clips, memory: Clips, config: Config, seeds: Seeds
) -> Learner:
    """Fuse the Fisher information of the step's clips into that of earlier steps."""
    return remembered(learner, capped(fisher(learner.network, clips), config.fisher_cap))


predict, cost = largest_logit, cost_of_importances


def capped(information: Mapping[str, Tensor], largest: float) -> dict[str, Tensor]:
    """Clamp each value to at most `largest`."""
    return {name: value.clamp(max=largest) for name, value in information.items()}


def fisher(network: Network, clips: Clips) -> dict[str, Tensor]:
    """Diagonal of the empirical Fisher information, by parameter."""

    def log_likelihood(logits: Tensor, label: Tensor) -> Tensor:
        return F.log_softmax(logits, dim=0).gather(0, label.unsqueeze(0)).squeeze(0)

    return mean_over_clips(network, clips, log_likelihood, torch.square)
