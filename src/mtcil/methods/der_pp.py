"""DER++: replay the logits that exemplars had when they were stored, and their labels.

Buzzega et al.: Dark Experience for General Continual Learning (NeurIPS 2020), equation 6:

    L = CE(new) + alpha mean (z - stored z)^2 + beta CE(memory)
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from pydantic.dataclasses import dataclass
from torch import Tensor

from mtcil.learning.clips import Clips
from mtcil.learning.fit import Streams
from mtcil.learning.learner import Learner
from mtcil.learning.network import Network, in_batches, widen_head
from mtcil.learning.phases import Rows, fit_whole, paired_rows
from mtcil.learning.steps import Cost, MethodConfig, StepClips
from mtcil.settings.reader import STRICT
from mtcil.settings.sections import StepTrainingSettings, Weight


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Config(MethodConfig):
    """Settings of this method alone."""

    alpha: Weight  # of the stored logits
    beta: Weight  # of the labels of exemplars


def learn_step(
    learner: Learner,
    clips: StepClips,
    training: StepTrainingSettings,
    config: Config,
    streams: Streams,
    report: Callable[[str], None] | None = None,
) -> Learner:
    """Learn the classes of one incremental step."""
    new, memory = clips.new, clips.memory
    network = widen_head(learner.network, len(new.labels.unique()), streams.generator("weights"))
    stored = of_exemplars(learner, memory)

    def loss(rows: Rows) -> Tensor:
        of_new, of_memory = rows
        logits = network(torch.cat([new.features[of_new], memory.features[of_memory]]))
        learnt = F.cross_entropy(logits[: len(of_new)], new.labels[of_new])
        if len(of_memory) == 0:
            return learnt
        replayed = logits[len(of_new) :]
        return (
            learnt
            + config.alpha * logit_loss(replayed, stored[of_memory])
            + config.beta * F.cross_entropy(replayed, memory.labels[of_memory])
        )

    batches = paired_rows(len(new), len(memory), training)
    epochs = fit_whole(network, batches, loss, clips, training, streams, report)
    return Learner(network, learner.tensors, epochs=epochs)


def keep(
    learner: Learner, clips: Clips, memory: Clips, config: Config, streams: Streams
) -> Learner:
    """The logits of the new exemplars; those of old ones as they were stored, cut with them."""
    tensors = {}
    for label in range(learner.n_classes):
        rows = memory.labels == label
        name = f"logits {label}"
        if name in learner.tensors:
            tensors[name] = learner.tensors[name][: int(rows.sum())]
        else:
            tensors[name] = in_batches(learner.network, memory.features[rows])
    return Learner(learner.network, tensors, epochs=learner.epochs)


def cost(network: Network, n_seen: int, config: Config) -> Cost:
    """At most one float per class seen for each exemplar."""
    return Cost(0, per_exemplar=4 * n_seen)


def of_exemplars(learner: Learner, memory: Clips) -> Tensor:
    """Stored logits of each exemplar (n_memory, n_old); nan for classes that came after it."""
    rows = torch.full((len(memory), learner.n_classes), torch.nan, device=memory.labels.device)
    for label in range(learner.n_classes):
        of_label = torch.nonzero(memory.labels == label).flatten()
        kept = learner.tensors[f"logits {label}"][: len(of_label)]
        rows[of_label, : kept.shape[1]] = kept
    return rows


def logit_loss(logits: Tensor, stored: Tensor) -> Tensor:
    """Mean squared difference over the logits that were stored; nan marks those that were not."""
    known = ~stored.isnan()
    return F.mse_loss(logits[:, : stored.shape[1]][known], stored[known])
