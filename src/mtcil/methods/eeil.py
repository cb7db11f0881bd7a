"""EEIL: distil each earlier step's classes, then fine-tune on the balanced set.

Castro et al.: End-to-End Incremental Learning (ECCV 2018), equations 1 to 3 and section 4.3: cross
entropy and distillation; then a smaller learning rate on as many new clips as exemplars,
where the new classes are distilled too, from the model before the balancing.
"""

from collections.abc import Callable
from dataclasses import replace

import torch.nn.functional as F
from pydantic.dataclasses import dataclass
from torch import Tensor

from mtcil.learning.clips import Clips, join
from mtcil.learning.fit import Streams
from mtcil.learning.groups import cost_of_steps, distil_by_step, with_steps
from mtcil.learning.learner import Learner
from mtcil.learning.network import Network, frozen_copy, in_batches, widen_head
from mtcil.learning.phases import balanced_set, fit_whole, shuffled_rows
from mtcil.learning.steps import Cost, MethodConfig, StepClips
from mtcil.settings.reader import STRICT
from mtcil.settings.sections import Positive, StepTrainingSettings, Weight


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Config(MethodConfig):
    """Settings of this method alone."""

    kd_weight: Weight
    temperature: Positive
    balanced_rate: Positive  # learning rate of the balancing, relative to that of then_all


def learn_step(
    learner: Learner,
    clips: StepClips,
    training: StepTrainingSettings,
    config: Config,
    streams: Streams,
    report: Callable[[str], None] | None = None,
) -> Learner:
    """Learn the classes of one incremental step."""
    n_old, n_new = learner.n_classes, len(clips.new.labels.unique())
    network = widen_head(learner.network, n_new, streams.generator("weights"))
    old_steps = learner.tensors["steps"].tolist()

    def learn(part: Clips, teacher: Network, steps: list[int], name: str, rate: float) -> dict:
        old_logits = in_batches(teacher, part.features)
        phase = training.then_all

        def loss(rows: Tensor) -> Tensor:
            logits = network(part.features[rows])
            kept = distil_by_step(logits, old_logits[rows], steps, config.temperature)
            return F.cross_entropy(logits, part.labels[rows]) + config.kd_weight * kept

        return fit_whole(
            network,
            shuffled_rows(len(part), training),
            loss,
            clips,
            training,
            streams,
            report,
            name=name,
            phase=replace(phase, learning_rate=rate * phase.learning_rate),
        )

    teacher = frozen_copy(learner.network)
    epochs = learn(join(clips.new, clips.memory), teacher, old_steps, "then_all", 1.0)
    if len(clips.memory):
        balanced = balanced_set(clips, n_old, streams.generator("balanced set"))
        steps = [*old_steps, n_new]
        epochs |= learn(balanced, frozen_copy(network), steps, "balanced", config.balanced_rate)
    return Learner(network, learner.tensors, epochs=epochs)


def keep(
    learner: Learner, clips: Clips, memory: Clips, config: Config, streams: Streams
) -> Learner:
    return with_steps(learner)


def cost(network: Network, n_seen: int, config: Config) -> Cost:
    return cost_of_steps(n_seen)
