"""Embeddings of made-up clips, and probes that learn them."""

from pathlib import Path

import numpy as np

from mtcil.core.lookup import find
from mtcil.learning.probing import Embedded
from mtcil.settings.files import read_study
from mtcil.settings.reader import build

ROOT = Path(__file__).parents[1]
STUDY = read_study(ROOT / "params.yaml")
STEPS = (3, 2, 1)
RIDGES = (0.1, 10.0, 1000.0)


def rng(seed=0):
    return np.random.default_rng(seed)


def clusters(n_per_class, n_classes=6, d=5, seed=0):
    """Classes about means that all seeds share, in directions of unequal spread."""
    means = 2 * rng(99).standard_normal((n_classes, d))
    spread = np.eye(d) + 0.5 * rng(98).standard_normal((d, d))
    labels = np.repeat(np.arange(n_classes), n_per_class)
    noise = rng(seed).standard_normal((len(labels), d)) @ spread
    return Embedded(means[labels] + noise, labels)


def config_of(name):
    values = dict(STUDY.probes[name])
    if name == "ranpac":
        values |= {"width": 40}
    return build(find("probes", name).Config, values, name)


def learnt(probe, config, clips, steps=STEPS):
    """What a probe keeps after all steps."""
    kept, first = {}, 0
    for i, n_new in enumerate(steps):
        new = clips.between(first, first + n_new)
        kept = probe.learn(kept, new.embeddings, new.labels, config, rng(i))
        first += n_new
    return kept
