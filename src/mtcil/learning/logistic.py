"""Multinomial logistic regression, for the probes that train a linear classifier."""

import numpy as np
from pydantic.dataclasses import dataclass
from sklearn.linear_model import LogisticRegression

from mtcil.learning.probe import Array, Kept, Labels
from mtcil.settings.reader import STRICT
from mtcil.settings.sections import Positive, Whole


@dataclass(frozen=True, config=STRICT)
class LogisticConfig:
    """Settings of scikit-learn's estimator."""

    strength: Positive  # C: weight of the sum of the clips' losses against 1/2 |weights|**2
    iterations: Whole  # largest number of L-BFGS iterations


def fit_logistic(embeddings: Array, labels: Labels, config: LogisticConfig) -> Kept:
    """Fit weights (n_classes, d) and biases (n_classes,) for labels 0 .. n_classes - 1."""
    n_classes, d = int(labels.max()) + 1, embeddings.shape[1]
    if n_classes == 1:
        return {"weights": np.zeros((1, d)), "biases": np.zeros(1)}
    model = LogisticRegression(C=config.strength, max_iter=config.iterations)
    model.fit(embeddings, labels)
    weights, biases = model.coef_, model.intercept_
    if n_classes == 2:  # scikit-learn returns only the second class, against 0
        weights = np.concatenate([np.zeros((1, d)), weights])
        biases = np.concatenate([np.zeros(1), biases])
    return {"weights": weights, "biases": biases}


def largest_logit(kept: Kept, embeddings: Array) -> Labels:
    """Predict the class of the largest logit, with the result of `fit_logistic`."""
    return (embeddings @ kept["weights"].T + kept["biases"]).argmax(axis=1)
