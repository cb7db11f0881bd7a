"""MAS: hold parameters by how much the output depends on them.

Aljundi et al.: Memory Aware Synapses (ECCV 2018), equations 2 to 4: the importance of a
parameter is the mean over clips of the magnitude of the gradient of the output's squared length.
Cross entropy is over all logits.

    L = CE + lambda sum_i Omega_i (theta_i - theta*_i)^2
"""

from collections.abc import Callable

import torch
from torch import Tensor

from mtcil.learning.clips import Clips
from mtcil.learning.fit import Streams
from mtcil.learning.importance import (
    PenaltyConfig,
    cost_of_importances,
    learn_with_penalty,
    mean_over_clips,
    remembered,
)
from mtcil.learning.learner import Learner
from mtcil.learning.network import Network
from mtcil.learning.steps import Cost, StepClips
from mtcil.settings.sections import StepTrainingSettings

Config = PenaltyConfig


def learn_step(
    learner: Learner,
    clips: StepClips,
    training: StepTrainingSettings,
    config: Config,
    streams: Streams,
    report: Callable[[str], None] | None = None,
) -> Learner:
    """Learn the classes of one incremental step."""
    return learn_with_penalty(learner, clips, training, config.strength, streams, report)


def keep(
    learner: Learner, clips: Clips, memory: Clips, config: Config, streams: Streams
) -> Learner:
    """The importances on the step's clips, fused into those of the steps before."""
    return remembered(learner, importances(learner.network, clips))


def cost(network: Network, n_seen: int, config: Config) -> Cost:
    return cost_of_importances(network)


def importances(network: Network, clips: Clips) -> dict[str, Tensor]:
    """Omega, by parameter."""

    def squared_length(logits: Tensor, label: Tensor) -> Tensor:
        return logits.square().sum()

    return mean_over_clips(network, clips, squared_length, torch.abs)
