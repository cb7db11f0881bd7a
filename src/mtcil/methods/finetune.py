"""Fine-tuning: cross entropy over all logits, on whatever clips there are.

Without memory it is the lower bound; with exemplars, experience replay; with the clips of all
old classes (`memory: all`), joint training, the upper bound.
"""

from collections.abc import Callable
from typing import Literal

import torch.nn.functional as F
from pydantic.dataclasses import dataclass
from torch import Tensor

from mtcil.learning.clips import join
from mtcil.learning.fit import Streams
from mtcil.learning.learner import Learner
from mtcil.learning.network import widen_head
from mtcil.learning.phases import fit_whole, shuffled_rows
from mtcil.learning.steps import MethodConfig, StepClips
from mtcil.settings.reader import STRICT
from mtcil.settings.sections import StepTrainingSettings


@dataclass(frozen=True, kw_only=True, config=STRICT)
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
