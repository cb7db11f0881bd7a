"""MAS: penalise changes of parameters by how much the output depends on them.

Aljundi et al.: Memory Aware Synapses (ECCV 2018), equations 2 to 4. The importance of a parameter
is the mean over clips of |gradient of the output's squared norm|. After a step old and new
importances are averaged by their numbers of classes; the authors add them up. Without exemplars,
the cross entropy is over the new logits, as in FACIL's code.

    L = CE + lambda sum_i Omega_i (theta_i - theta*_i)^2
"""

import torch
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

Config = PenaltyConfig


def learn_step(
    learner: Learner, clips: StepClips, config: Config, training: StepTraining, seeds: Seeds
) -> Steps[Learner]:
    """Learn the classes of one incremental step."""
    return learn_with_penalty(learner, clips, training, config.strength, seeds)


@without_training
def state_after(
    learner: Learner, clips: Clips, memory: Clips, config: Config, seeds: Seeds
) -> Learner:
    """Fuse the importances on the step's clips into those of earlier steps."""
    return remembered(learner, importances(learner.network, clips))


predict, cost = largest_logit, cost_of_importances


def importances(network: Network, clips: Clips) -> dict[str, Tensor]:
    """Omega, by parameter."""

    def squared_length(logits: Tensor, label: Tensor) -> Tensor:
        return logits.square().sum()

    return mean_over_clips(network, clips, squared_length, torch.abs)
