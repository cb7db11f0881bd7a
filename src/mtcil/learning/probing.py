"""Frozen-base probes: how general the embeddings of a base model are.

The backbone is not trained after the base step. Every probe of mtcil/probes learns from
embeddings, step by step, on three sets of classes: all of them (`seen`), only those that the
base step never saw (`future`), and only the base classes (`base`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from mtcil.core.lookup import find
from mtcil.core.randomness import numpy_generator
from mtcil.learning.clips import Clips
from mtcil.learning.network import Network, in_batches
from mtcil.learning.probe import Kept, kept_bytes
from mtcil.learning.split import SplitData
from mtcil.records.measures import confusion_counts, step_accuracy

# The steps that a probe learns and is measured on: first, and end (excluded).
SCOPES = {"seen": (0, None), "future": (1, None), "base": (0, 1)}


@dataclass(frozen=True)
class Probe:
    """A probe and its settings.

    Attributes:
        name: a file of mtcil/probes.
        config: the `Config` of that file.
    """

    name: str
    config: Any


@dataclass(frozen=True)
class Embedded:
    """Embeddings of clips, with their labels.

    Attributes:
        embeddings: (n_clips, d) float64.
        labels: (n_clips,) int64.
    """

    embeddings: NDArray[np.float64]
    labels: NDArray[np.int64]

    def between(self, first: int, end: int) -> "Embedded":
        """The clips with first <= label < end."""
        rows = (self.labels >= first) & (self.labels < end)
        return Embedded(self.embeddings[rows], self.labels[rows])


def embed(network: Network, clips: Clips) -> Embedded:
    """Compute the backbone's embeddings of clips."""
    embeddings = in_batches(network.embed, clips.features)
    return Embedded(embeddings.cpu().double().numpy(), clips.labels.cpu().numpy())


def follow(
    probe: Probe,
    train: Embedded,
    test: Embedded,
    steps: Sequence[int],
    generators: Sequence[np.random.Generator],
) -> list[tuple[float, int]]:
    """Let a probe learn step by step; labels start at 0.

    Returns:
        For each step, accuracy in percent over the test clips of all classes learnt so far, and
        the bytes that the probe keeps.
    """
    method = find("probes", probe.name)
    kept: Kept = {}
    found = []
    for n_new, n_seen, generator in zip(steps, np.cumsum(steps), generators, strict=True):
        new, seen = train.between(n_seen - n_new, n_seen), test.between(0, n_seen)
        kept = method.learn(kept, new.embeddings, new.labels, probe.config, generator)
        predicted = method.predict(kept, seen.embeddings, probe.config)
        accuracy = step_accuracy(confusion_counts(seen.labels, predicted, int(n_seen)))
        found.append((accuracy, kept_bytes(kept)))
    return found


def probe_rows(
    probes: Sequence[Probe], network: Network, data: SplitData, steps: Sequence[int], seed: int
) -> list[list[dict[str, Any]]]:
    """The records of one base model: for each probe, a row per scope and step.

    Args:
        steps: classes per step; the first is the base step.
    """
    train, test = embed(network, data.train), embed(network, data.test)
    return [_rows_of(probe, train, test, steps, seed) for probe in probes]


def _rows_of(
    probe: Probe, train: Embedded, test: Embedded, steps: Sequence[int], seed: int
) -> list[dict[str, Any]]:
    starts = np.cumsum(steps) - steps
    rows = []
    for scope, (first, end) in SCOPES.items():
        of_scope = steps[first:end]
        if not of_scope:
            continue
        begin = int(starts[first])
        generators = [numpy_generator(seed, "probe", probe.name, i) for i in range(len(of_scope))]
        with threadpool_limits(1):  # BLAS rounds differently on more threads
            found = follow(probe, _from(train, begin), _from(test, begin), of_scope, generators)
        for i, (accuracy, n_bytes) in enumerate(found):
            rows.append(
                {
                    "probe": probe.name,
                    "seed": seed,
                    "scope": scope,
                    "step": first + i,
                    "classes_seen": sum(of_scope[: i + 1]),
                    "accuracy": accuracy,
                    "bytes": n_bytes,
                }
            )
    return rows


def _from(clips: Embedded, first: int) -> Embedded:
    """The clips with label >= `first`, renumbered so that `first` becomes 0."""
    rows = clips.labels >= first
    return Embedded(clips.embeddings[rows], clips.labels[rows] - first)
