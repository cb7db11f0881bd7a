"""GDumb: forget the old network, learn anew from the balanced memory alone.

Prabhu, Torr, Dokania: GDumb: A Simple Approach that Questions Our Progress in Continual Learning
(ECCV 2020). The memory holds as many clips of each class seen, new ones drawn at random.
"""

import copy
from collections.abc import Callable
from dataclasses import replace

import torch
import torch.nn.functional as F
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from mtcil.learning.clips import of_labels
from mtcil.learning.fit import Streams
from mtcil.learning.learner import Learner
from mtcil.learning.network import Network, draw_uniform, widen_head
from mtcil.learning.phases import balanced_set, fit_whole, shuffled_rows
from mtcil.learning.steps import MethodConfig, StepClips
from mtcil.settings.reader import STRICT
from mtcil.settings.sections import StepTrainingSettings, Whole


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Config(MethodConfig):
    """Settings of this method alone."""

    epochs: Whole  # of each step: the memory is small and the network new


def learn_step(
    learner: Learner,
    clips: StepClips,
    training: StepTrainingSettings,
    config: Config,
    streams: Streams,
    report: Callable[[str], None] | None = None,
) -> Learner:
    """Learn all classes seen from scratch; nothing but the shape is taken of the old network."""
    n_old, n_new = learner.n_classes, len(clips.new.labels.unique())
    wider = widen_head(learner.network, n_new, streams.generator("weights"))
    network = drawn_anew(wider, streams.generator("weights", "anew"))
    balanced = balanced_set(clips, n_old, streams.generator("balanced set"))
    m = clips.per_class
    seen = balanced[torch.cat([of_labels(balanced, k, k + 1)[:m] for k in range(n_old + n_new)])]
    if m == 0:
        return Learner(network, epochs={"then_all": 0})

    def loss(rows: Tensor) -> Tensor:
        return F.cross_entropy(network(seen.features[rows]), seen.labels[rows])

    epochs = fit_whole(
        network,
        shuffled_rows(len(seen), training),
        loss,
        clips,
        training,
        streams,
        report,
        phase=replace(training.then_all, epochs=config.epochs),
    )
    return Learner(network, epochs=epochs)


def drawn_anew(network: Network, generator: torch.Generator) -> Network:
    """A network of the same shape, with weights drawn from `generator`."""
    anew = copy.deepcopy(network).cpu()
    for module in anew.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            draw_uniform(module, generator)
        elif isinstance(module, nn.BatchNorm2d):
            module.reset_parameters()
    return anew.to(network.head.weight.device)
