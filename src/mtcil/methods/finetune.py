"""Fine-tuning: cross entropy over all logits, on whatever clips there are.

Without memory it is the lower bound; with exemplars, experience replay; with the clips of all
old classes (`memory: all`), joint training, the upper bound.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch.nn.functional as F
from torch import Tensor

from mtcil.clips import join
from mtcil.learner import Learner
from mtcil.methods import MethodConfig, StepClips
from mtcil.methods._training import fit_whole, shuffled_rows
from mtcil.models import widen_head
from mtcil.settings import StepTrainingSettings
from mtcil.training import Streams


@dataclass(frozen=True, kw_only=True)
class Config(MethodConfig):
    """Settings of this method alone: none."""

    memory: Literal["exemplars", "none", "all"] = "none"


def learn_step(
    learner: Learner,
    clips: StepClips,
    training: StepTrainingSettings,
    config: Config,
    streams: Streams,
    report: Callable[[str], None] | None = None,
) -> Learner:
    """Learn the classes of one incremental step."""
    seen = join(clips.new, clips.memory)
    n_new = len(clips.new.labels.unique())
    network = widen_head(learner.network, n_new, streams.generator("weights"))

    def loss(rows: Tensor) -> Tensor:
        return F.cross_entropy(network(seen.features[rows]), seen.labels[rows])

    batches = shuffled_rows(len(seen), training)
    epochs = fit_whole(network, batches, loss, clips, training, streams, report)
    return Learner(network, epochs=epochs)
