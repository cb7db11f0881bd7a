"""ER-ACE: new clips compete among the new classes alone, replayed ones among all.

Caccia et al.: New Insights on Reducing Abrupt Representation Change in Online Continual Learning
(ICLR 2022), equation 3: asymmetric cross entropy, without distillation.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from pydantic.dataclasses import dataclass
from torch import Tensor

from mtcil.learning.fit import Streams
from mtcil.learning.learner import Learner
from mtcil.learning.losses import new_class_loss
from mtcil.learning.network import widen_head
from mtcil.learning.phases import Rows, balanced_set, fit_whole, paired_rows
from mtcil.learning.steps import MethodConfig, StepClips
from mtcil.settings.reader import STRICT
from mtcil.settings.sections import StepTrainingSettings


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Config(MethodConfig):
    """Settings of this method alone: none."""


def learn_step(
    learner: Learner,
    clips: StepClips,
    training: StepTrainingSettings,
    config: Config,
    streams: Streams,
    report: Callable[[str], None] | None = None,
) -> Learner:
    """Learn the classes of one incremental step."""
    new, n_old = clips.new, learner.n_classes
    n_new = len(new.labels.unique())
    # The memory of the paper also fills with clips of the classes that are being learnt.
    memory = balanced_set(clips, n_old, streams.generator("balanced set"))
    network = widen_head(learner.network, n_new, streams.generator("weights"))

    def loss(rows: Rows) -> Tensor:
        of_new, of_memory = rows
        logits = network(torch.cat([new.features[of_new], memory.features[of_memory]]))
        learnt = new_class_loss(logits[: len(of_new)], new.labels[of_new], n_old)
        if len(of_memory) == 0:
            return learnt
        return learnt + F.cross_entropy(logits[len(of_new) :], memory.labels[of_memory])

    batches = paired_rows(len(new), len(memory), training)
    epochs = fit_whole(network, batches, loss, clips, training, streams, report)
    return Learner(network, epochs=epochs)
