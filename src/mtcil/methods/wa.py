"""WA: distil, then scale the new classes' weights to the length of the old ones.

Zhao et al.: Maintaining Discrimination and Fairness in Class Incremental Learning (CVPR 2020),
section 4: (1 - l) CE + l KD with l = n_old / n_seen; the paper's WA and WA-MDF. Its clipping of
weights to positive ones is left out: it suits embeddings after a ReLU, and ours are signed.
"""

from collections.abc import Callable

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor

from mtcil.learning.clips import join
from mtcil.learning.fit import Streams
from mtcil.learning.learner import Learner
from mtcil.learning.network import Network, frozen_copy, in_batches, widen_head
from mtcil.learning.phases import blended_loss, fit_whole, shuffled_rows
from mtcil.learning.steps import MethodConfig, StepClips
from mtcil.settings.reader import STRICT
from mtcil.settings.sections import Positive, StepTrainingSettings


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Config(MethodConfig):
    """Settings of this method alone."""

    temperature: Positive


def learn_step(
    learner: Learner,
    clips: StepClips,
    training: StepTrainingSettings,
    config: Config,
    streams: Streams,
    report: Callable[[str], None] | None = None,
) -> Learner:
    """Learn the classes of one incremental step."""
    teacher = frozen_copy(learner.network)
    n_old, n_new = teacher.n_classes, len(clips.new.labels.unique())
    network = widen_head(learner.network, n_new, streams.generator("weights"))
    without_new_bias(network, n_old)
    seen = join(clips.new, clips.memory)
    old_logits = in_batches(teacher, seen.features)

    def loss(rows: Tensor) -> Tensor:
        logits = network(seen.features[rows])
        return blended_loss(logits, seen.labels[rows], old_logits[rows], config.temperature)

    batches = shuffled_rows(len(seen), training)
    epochs = fit_whole(network, batches, loss, clips, training, streams, report)
    align(network, n_old)
    return Learner(network, epochs=epochs)


@torch.no_grad()
def without_new_bias(network: Network, n_old: int) -> None:
    """The paper's head has no bias: a new class gets none, and none is learnt in this step.

    Biases would carry what the alignment is to take away.
    """
    network.head.bias[n_old:] = 0
    network.head.bias.requires_grad_(False)


@torch.no_grad()
def align(network: Network, n_old: int) -> None:
    """Scale the new rows of the head, in place: their mean length becomes the old ones'."""
    lengths = network.head.weight.norm(dim=1)
    network.head.weight[n_old:] *= lengths[:n_old].mean() / lengths[n_old:].mean()
