"""BiC: distil, then fit a linear correction of the new classes' logits on held-out exemplars.

Wu et al.: Large Scale Incremental Learning (CVPR 2019), section 3: (1 - l) CE + l KD with
l = n_old / n_seen; then, all else frozen, alpha and beta of alpha * logit + beta for the new
classes, by cross entropy on a balanced part of the clips that the first stage did not see. The
logits of earlier steps pass their own corrections, in the old model and in the new one.
"""

from collections.abc import Callable
from dataclasses import replace

import torch
import torch.nn.functional as F
from pydantic.dataclasses import dataclass
from torch import Tensor

from mtcil.learning.clips import Clips, join, of_labels
from mtcil.learning.fit import Streams
from mtcil.learning.learner import Learner
from mtcil.learning.memory import hold_out
from mtcil.learning.network import Network, frozen_copy, in_batches, widen_head
from mtcil.learning.phases import blended_loss, fit_whole, shuffled_rows
from mtcil.learning.steps import Cost, MethodConfig, StepClips
from mtcil.settings.reader import STRICT
from mtcil.settings.sections import Positive, Share, StepTrainingSettings


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Config(MethodConfig):
    """Settings of this method alone."""

    temperature: Positive
    held_share: Share  # of each class's exemplars, for the correction


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
    seen, held = hold_balanced(clips, n_old, config.held_share, streams.generator("held"))
    ones = torch.ones(n_new, device=seen.features.device)
    scale = torch.cat([learner.tensors["scale"], ones])  # new classes: not corrected yet
    shift = torch.cat([learner.tensors["shift"], 0 * ones])
    old_logits = in_batches(teacher, seen.features) * scale[:n_old] + shift[:n_old]

    def loss(rows: Tensor) -> Tensor:
        logits = network(seen.features[rows]) * scale + shift
        return blended_loss(logits, seen.labels[rows], old_logits[rows], config.temperature)

    batches = shuffled_rows(len(seen), training)
    epochs = fit_whole(network, batches, loss, clips, training, streams, report)
    if len(held):
        logits = in_batches(network, held.features) * scale + shift
        alpha, beta = fit_correction(logits, held.labels, n_old)
        scale = torch.cat([scale[:n_old], alpha * ones])
        shift = torch.cat([shift[:n_old], beta * ones])
    return Learner(network, {"scale": scale, "shift": shift}, "corrected", epochs)


def keep(
    learner: Learner, clips: Clips, memory: Clips, config: Config, streams: Streams
) -> Learner:
    """The base classes' logits stand as they are."""
    if learner.tensors:
        return learner
    scale = torch.ones(learner.n_classes, device=clips.features.device)
    return replace(learner, tensors={"scale": scale, "shift": 0 * scale}, rule="corrected")


def cost(network: Network, n_seen: int, config: Config) -> Cost:
    """A factor and a shift per class."""
    return Cost(8 * n_seen)


def hold_balanced(
    clips: StepClips, n_old: int, share: float, generator: torch.Generator
) -> tuple[Clips, Clips]:
    """Clips to learn from, and as many held out of each class seen; none of one exemplar."""
    of_old = [of_labels(clips.memory, label, label + 1) for label in range(n_old)]
    n_held = min((hold_out(len(rows), share) for rows in of_old), default=0)
    held = [rows[len(rows) - n_held :] for rows in of_old]
    kept = [rows[: len(rows) - n_held] for rows in of_old]
    held_new, kept_new = [], []
    for label in clips.new.labels.unique().tolist():
        rows = of_labels(clips.new, label, label + 1)
        rows = rows[torch.randperm(len(rows), generator=generator).to(rows.device)]
        held_new.append(rows[:n_held])
        kept_new.append(rows[n_held:])
    return (
        join(clips.new[torch.cat(kept_new)], clips.memory[torch.cat(kept)]),
        join(clips.new[torch.cat(held_new)], clips.memory[torch.cat(held)]),
    )


def fit_correction(logits: Tensor, labels: Tensor, n_old: int) -> tuple[float, float]:
    """alpha and beta that minimise the cross entropy of the corrected logits.

    Ours: ((alpha - 1)^2 + beta^2) / 20 besides, or there were no minimum where the few held-out
    clips can be told apart without a mistake.

    Args:
        logits: (n_clips, n_seen) of held-out clips.
        labels: (n_clips,) int64.
        n_old: the logits from here on are corrected.
    """
    fixed = logits.double()
    values = torch.tensor([1.0, 0.0], dtype=torch.float64, device=logits.device).requires_grad_()
    optimiser = torch.optim.LBFGS(
        [values], max_iter=200, tolerance_change=0, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimiser.zero_grad()
        corrected = torch.cat([fixed[:, :n_old], values[0] * fixed[:, n_old:] + values[1]], dim=1)
        restraint = ((values[0] - 1).square() + values[1].square()) / 20
        total = F.cross_entropy(corrected, labels) + restraint
        total.backward()
        return total

    optimiser.step(closure)
    alpha, beta = values.tolist()
    return alpha, beta
