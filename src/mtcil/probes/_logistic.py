"""Multinomial logistic regression, for the probes that train a linear classifier."""

from dataclasses import dataclass

import numpy as np
from sklearn.linear_model import LogisticRegression

from mtcil.probes import Array, Kept, Labels
from mtcil.settings import need


@dataclass(frozen=True)
class LogisticConfig:
    """Settings of scikit-learn's estimator."""

    strength: float  # C: weight of the sum of the clips' losses against 1/2 |weights|**2
    iterations: int  # of L-BFGS, at most

    def __post_init__(self) -> None:
        need(self.strength > 0, "strength must be above 0.")
        need(self.iterations >= 1, "iterations must be 1 or more.")


def fit_logistic(embeddings: Array, labels: Labels, config: LogisticConfig) -> Kept:
    """Weights (n_classes, d) and biases (n_classes,) of labels 0 .. n_classes - 1."""
    n_classes, d = int(labels.max()) + 1, embeddings.shape[1]
    if n_classes == 1:
        return {"weights": np.zeros((1, d)), "biases": np.zeros(1)}
    model = LogisticRegression(C=config.strength, max_iter=config.iterations)
    model.fit(embeddings, labels)
    weights, biases = model.coef_, model.intercept_
    if n_classes == 2:  # scikit-learn gives the second class alone, against 0
        weights = np.concatenate([np.zeros((1, d)), weights])
        biases = np.concatenate([np.zeros(1), biases])
    return {"weights": weights, "biases": biases}


def largest_logit(kept: Kept, embeddings: Array) -> Labels:
    """The class of the largest logit, for what `fit_logistic` gave."""
    return (embeddings @ kept["weights"].T + kept["biases"]).argmax(axis=1)
