"""DER++: replay exemplars with their labels and with the logits stored for them.

Buzzega et al.: Dark Experience for General Continual Learning (NeurIPS 2020), equation 6:

    L = CE(new) + alpha mean (z - stored z)^2 + beta CE(memory)

New clips and exemplars share one forward pass, and both memory terms use the same exemplars, as in
Avalanche's der.py, so that an update has as many clips as in other methods. In Mammoth's derpp.py
each term has its own pass; separate passes cost 7 points on the ten words (seeds 0 to 2).

Also as in Avalanche, logits are stored once, after a class's first step (in the paper while it is
learnt), and clips of the classes being learnt are not replayed. Ours: exemplars are chosen as for
every method, not by reservoir sampling, and the mean leaves out classes that came later.
"""

from types import SimpleNamespace

import torch
import torch.nn.functional as F
from pydantic.dataclasses import dataclass
from torch import Tensor

from mtcil.learning.clips import Clips
from mtcil.learning.fit import Seeds, Steps
from mtcil.learning.learner import Learner
from mtcil.learning.network import Network
from mtcil.learning.steps import (
    Cost,
    MethodConfig,
    StepClips,
    StepTraining,
    fit_whole,
    largest_logit,
    logits_of,
    table,
    teacher_and_student,
    without_training,
)
from mtcil.settings.reader import STRICT
from mtcil.settings.sections import Weight


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Config(MethodConfig):
    """Settings of this method only."""

    alpha: Weight  # of the stored logits
    beta: Weight  # of the labels of exemplars


def learn_step(
    learner: Learner, clips: StepClips, config: Config, training: StepTraining, seeds: Seeds
) -> Steps[Learner]:
    """Learn the classes of one incremental step."""
    _, student = teacher_and_student(learner, clips, seeds)
    half = training.sgd.batch // 2
    logits, known = logits_of_exemplars(learner, clips.memory)
    student = yield fit_whole(
        student,
        {
            "new": table(clips.new, half),
            "memory": table(clips.memory, half, logits=logits, known=known),
        },
        der_loss,
        clips,
        training,
        seeds,
        numbers={"alpha": config.alpha, "beta": config.beta},
    )
    return Learner(student, learner.tensors)


def der_loss(
    network: Network, batch: SimpleNamespace, numbers: SimpleNamespace, choices: None
) -> Tensor:
    """Cross entropy on new clips, plus both terms on exemplars: stored logits and labels."""
    new, memory = batch.new, batch.memory
    if memory is None:
        return F.cross_entropy(network(new.features, new.keep), new.labels)
    keep = None if new.keep is None else torch.cat([new.keep, memory.keep])
    logits = network(torch.cat([new.features, memory.features]), keep)
    learnt, replayed = logits[: len(new.labels)], logits[len(new.labels) :]
    return (
        F.cross_entropy(learnt, new.labels)
        + numbers.alpha * logit_loss(replayed, memory.logits, memory.known)
        + numbers.beta * F.cross_entropy(replayed, memory.labels)
    )


def logit_loss(logits: Tensor, stored: Tensor, known: Tensor) -> Tensor:
    """Mean squared difference to the stored logits.

    Args:
        logits: (batch, n_seen).
        stored: (batch, n_old).
        known: (batch, n_old), 1 if a logit was stored, 0 for classes that arrived later.
    """
    squares = (logits[:, : stored.shape[1]] - stored).square() * known
    return squares.sum() / known.sum().clamp(min=1)


@without_training
def state_after(
    learner: Learner, clips: Clips, memory: Clips, config: Config, seeds: Seeds
) -> Learner:
    """Store the logits of new exemplars; keep those of old ones, cut with the memory."""
    tensors = {}
    for label in range(learner.n_classes):
        rows = memory.labels == label
        name = f"logits {label}"
        if name in learner.tensors:
            tensors[name] = learner.tensors[name][: int(rows.sum())]
        else:
            tensors[name] = logits_of(learner.network, memory[torch.nonzero(rows).flatten()])
    return Learner(learner.network, tensors)


predict = largest_logit


def cost(network: Network, n_seen: int, config: Config) -> Cost:
    """At most one float per exemplar and class seen."""
    return Cost(0, per_exemplar=4 * n_seen)


def logits_of_exemplars(learner: Learner, memory: Clips) -> tuple[Tensor, Tensor]:
    """Stored logits of each exemplar, and 1 where a logit is stored: both (n_memory, n_old)."""
    logits = torch.zeros(len(memory), learner.n_classes, device=memory.labels.device)
    known = torch.zeros_like(logits)
    for label in range(learner.n_classes):
        of_label = torch.nonzero(memory.labels == label).flatten()
        kept = learner.tensors[f"logits {label}"][: len(of_label)]
        logits[of_label, : kept.shape[1]] = kept
        known[of_label, : kept.shape[1]] = 1.0
    return logits, known
