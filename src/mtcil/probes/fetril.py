"""FeTrIL: new clips, moved to an old class's mean, replace the clips of the old class.

Petit et al.: FeTrIL: Feature Translation for Exemplar-Free Class-Incremental Learning (WACV
2023), equation 1, with the new class most like the old one (FeTrIL-1). Their classifier is a
linear SVM on unit embeddings; ours is the logistic regression of `linear` on unscaled embeddings,
so that the two probes differ only in the clips of old classes.
"""

import numpy as np
from pydantic.dataclasses import dataclass

from mtcil.learning.logistic import LogisticConfig, fit_logistic, largest_logit
from mtcil.learning.probe import Array, Kept, Labels, add_rows, class_means, unit
from mtcil.settings.reader import STRICT


@dataclass(frozen=True, config=STRICT)
class Config(LogisticConfig):
    """Settings of this probe only."""


def translate(embeddings: Array, old_mean: Array) -> Array:
    """Move clips of one new class (n_clips, d) so that their mean is `old_mean` (d,)."""
    return embeddings + (old_mean - embeddings.mean(axis=0))


def most_like(old_means: Array, new_means: Array) -> Labels:
    """For each old class, the new class with the largest cosine: (n_old,) of 0 .. n_new - 1."""
    return (unit(old_means) @ unit(new_means).T).argmax(axis=1)


def learn(
    kept: Kept, embeddings: Array, labels: Labels, config: Config, generator: np.random.Generator
) -> Kept:
    """Keep the new classes' means; train on the new clips and on the old classes' stand-ins."""
    new_means = class_means(embeddings, labels)
    old_means = kept.get("means", np.zeros((0, embeddings.shape[1])))
    all_embeddings, all_labels = [embeddings], [labels]
    for old, new in enumerate(most_like(old_means, new_means)):
        stand_ins = translate(embeddings[labels == labels.min() + new], old_means[old])
        all_embeddings.append(stand_ins)
        all_labels.append(np.full(len(stand_ins), old))
    classifier = fit_logistic(np.concatenate(all_embeddings), np.concatenate(all_labels), config)
    return {"means": add_rows(kept, "means", new_means)} | classifier


def predict(kept: Kept, embeddings: Array, config: Config) -> Labels:
    """Predict the class of the largest logit."""
    return largest_logit(kept, embeddings)
