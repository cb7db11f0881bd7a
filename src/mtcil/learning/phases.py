"""What methods share: batches, the balanced set, and one phase of training a whole network."""

from collections.abc import Callable, Iterable, Iterator
from itertools import repeat

import torch
import torch.nn.functional as F
from torch import Tensor

from mtcil.learning.clips import Clips, join, of_labels
from mtcil.learning.fit import Batch, Streams, endless, fit, score, shuffled
from mtcil.learning.losses import distillation_loss
from mtcil.learning.network import Network, in_batches
from mtcil.learning.steps import StepClips
from mtcil.settings.sections import PhaseSettings, StepTrainingSettings

Rows = tuple[Tensor, Tensor]  # of the new clips, and of old or balanced ones; either may be empty


def fit_whole(
    network: Network,
    batches: Callable[[torch.Generator], Iterable[Batch]],
    loss: Callable[[Batch], Tensor],
    clips: StepClips,
    training: StepTrainingSettings,
    streams: Streams,
    report: Callable[[str], None] | None,
    *,
    name: str = "then_all",
    phase: PhaseSettings | None = None,
    extra_parameters: Iterable[Tensor] = (),
    logits: Callable[[Tensor], Tensor] | None = None,
) -> dict[str, int]:
    """Train all blocks of `network` in place for one phase.

    Args:
        network: with a head that is wide enough already.
        batches: gives the batches of one epoch, drawn from the generator.
        loss: scalar loss of one batch.
        clips: those for validation are used for early stopping, if there are any.
        training: optimiser; `then_all` unless `phase` is given.
        streams: draw batches and dropout.
        report: is told of each epoch.
        name: of the phase.
        extra_parameters: trained as well; they keep their last values, whatever the best epoch.
        logits: of a batch of features, for validation; those of the network unless given.

    Returns:
        Epochs trained, by the name of the phase.
    """
    generator = streams.generator("batches", name)
    held = clips.validation
    epochs = fit(
        network,
        lambda: batches(generator),
        loss,
        (lambda: score(in_batches(logits or network, held.features), held.labels))
        if len(held)
        else None,
        training.sgd,
        phase or training.then_all,
        streams.number("dropout", name),
        extra_parameters=extra_parameters,
        report=report,
    )
    return {name: epochs}


def shuffled_rows(
    n_rows: int, training: StepTrainingSettings
) -> Callable[[torch.Generator], Iterator[Tensor]]:
    """Batches of one epoch over `n_rows` clips; for `fit_whole`."""
    return lambda generator: shuffled(n_rows, training.sgd.batch, generator)


def paired_rows(
    n_new: int, n_memory: int, training: StepTrainingSettings
) -> Callable[[torch.Generator], Iterator[Rows]]:
    """Batches of one epoch over the new clips, each beside one of the memory; for `fit_whole`."""
    return lambda generator: batches_of((n_new, n_memory), training.sgd.batch, generator)


def batches_of(n_rows: tuple[int, int], batch: int, generator: torch.Generator) -> Iterator[Rows]:
    """One epoch: the new clips once, each batch beside one of the balanced set.

    Where no term needs the new clips, one epoch is the balanced set once.
    """
    n_new, n_balanced = n_rows
    none = torch.empty(0, dtype=torch.int64)
    if n_new == 0:
        yield from ((none, rows) for rows in shuffled(n_balanced, batch, generator))
        return
    balanced = endless(n_balanced, batch, generator) if n_balanced else repeat(none)
    yield from zip(shuffled(n_new, batch, generator), balanced, strict=False)


def balanced_set(clips: StepClips, n_old: int, generator: torch.Generator) -> Clips:
    """The exemplars and, drawn at random, as many clips of each new class (Mittal et al.)."""
    m = len(clips.memory) // n_old
    labels = clips.new.labels
    drawn = []
    for label in labels.unique().tolist():
        rows = of_labels(clips.new, label, label + 1)
        order = torch.randperm(len(rows), generator=generator)[:m]
        drawn.append(rows[order.to(rows.device)])
    return join(clips.memory, clips.new[torch.cat(drawn)])


def blended_loss(logits: Tensor, labels: Tensor, old_logits: Tensor, temperature: float) -> Tensor:
    """(1 - l) cross entropy + l distillation, l = n_old / n_seen (BiC and WA).

    As in both papers, without the factor T**2 of Hinton et al.: l is the whole weight.

    Args:
        logits: (batch, n_seen).
        labels: (batch,) int64.
        old_logits: (batch, n_old), the old model's.
        temperature: of the distillation.
    """
    n_old = old_logits.shape[1]
    share = n_old / logits.shape[1]
    kept = distillation_loss(logits[:, :n_old], old_logits, temperature) / temperature**2
    return (1 - share) * F.cross_entropy(logits, labels) + share * kept
