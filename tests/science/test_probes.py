"""mtcil.probes: numbers by hand, and against scikit-learn and scipy."""

import dataclasses
import inspect

import numpy as np
import pytest
from made_embeddings import RIDGES, STUDY, clusters, config_of, learnt, rng
from scipy.spatial.distance import mahalanobis
from sklearn.covariance import EmpiricalCovariance
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neighbors import NearestCentroid

from mtcil.core.lookup import find, names
from mtcil.learning.logistic import fit_logistic, largest_logit
from mtcil.learning.probe import kept_bytes, unit
from mtcil.learning.probing import Embedded
from mtcil.probes import fecam, fetril, linear, ncm, ranpac, slda
from mtcil.settings.reader import SettingsError, build

LOGISTIC = {"strength": 1.0, "iterations": 500}


@pytest.fixture
def train():
    return clusters(15)


@pytest.fixture
def test_clips():
    return clusters(20, seed=1)


# the contract


def test_params_name_every_probe():
    assert sorted(STUDY.probes) == names("probes")


@pytest.mark.parametrize("name", names("probes"))
def test_a_probe_keeps_its_contract(name, train, test_clips):
    probe, config = find("probes", name), config_of(name)
    assert probe.__doc__ and probe.learn.__doc__ and probe.predict.__doc__
    assert dataclasses.is_dataclass(probe.Config)
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.anything = 1
    parameters = ["kept", "embeddings", "labels", "config", "generator"]
    assert list(inspect.signature(probe.learn).parameters) == parameters
    first = train.between(0, 3)
    before = probe.learn({}, first.embeddings, first.labels, config, rng())
    copies = {name: array.copy() for name, array in before.items()}
    new = train.between(3, 6)
    kept = probe.learn(before, new.embeddings, new.labels, config, rng())
    assert all(np.array_equal(copies[name], array) for name, array in before.items())
    assert all(isinstance(array, np.ndarray) for array in kept.values())
    assert {array.dtype.name for array in kept.values()} <= {"float64", "int64"}
    predicted = probe.predict(kept, test_clips.embeddings, config)
    assert predicted.dtype == np.int64 and set(predicted) <= set(range(6))
    assert (predicted == test_clips.labels).mean() > 0.5


@pytest.mark.parametrize("name", names("probes"))
def test_a_probe_repeats_itself_bit_for_bit(name, train):
    first, again = (learnt(find("probes", name), config_of(name), train) for _ in range(2))
    assert all(first[k].tobytes() == again[k].tobytes() for k in first)


@pytest.mark.parametrize("name", names("probes"))
def test_only_the_linear_probes_state_grows_with_the_clips(name):
    few, many = (learnt(find("probes", name), config_of(name), clusters(n)) for n in (10, 20))
    assert (kept_bytes(few) == kept_bytes(many)) == (name != "linear")


@pytest.mark.parametrize("name", names("probes"))
def test_a_probe_that_learns_one_class_at_a_time_works(name, train, test_clips):
    probe, config = find("probes", name), config_of(name)
    kept = learnt(probe, config, train, steps=[1] * 6)
    assert (probe.predict(kept, test_clips.embeddings, config) == test_clips.labels).mean() > 0.3


def test_bytes_by_hand(train):
    d, n = 5, 6
    means = n * d * 8
    classifier = (n * d + n) * 8
    wanted = {
        "ncm": means,
        "slda": means + (d * d + 1) * 8,
        "fecam": means + n * d * d * 8,
        "fetril": means + classifier,
        "linear": 15 * n * (d + 1) * 8 + classifier,
        "ranpac": (d * 40 + 40 * 40 + 40 * n + 1) * 8,
    }
    for name, n_bytes in wanted.items():
        assert kept_bytes(learnt(find("probes", name), config_of(name), train)) == n_bytes, name


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("linear", {"strength": 0.0}, "strength: must be greater than 0"),
        ("fetril", {"iterations": 0}, "iterations: must be greater than or equal to 1"),
        ("slda", {"shrinkage": 0.0}, "shrinkage: must be greater than 0"),
        ("fecam", {"covariance_shrinkage": 2.0}, "may have no inverse"),
        ("ranpac", {"width": 0}, "width: must be greater than or equal to 1"),
        ("ranpac", {"ridges": []}, "ridges: name at least one"),
        ("ranpac", {"held_share": 1.0}, "held_share: must be less than 1"),
        ("ncm", {"shrinkage": 1.0}, "ncm.shrinkage: unknown key"),
    ],
)
def test_settings_that_make_no_sense_are_refused(name, change, message):
    with pytest.raises(SettingsError, match=message):
        build(find("probes", name).Config, STUDY.probes[name] | change, name)


# the formulas


@pytest.mark.parametrize("strength", [1.0, 0.01])
def test_linear_is_the_logistic_regression_over_all_clips(train, test_clips, strength):
    config = build(linear.Config, LOGISTIC | {"strength": strength}, "linear")
    sk = LogisticRegression(C=strength, max_iter=500).fit(train.embeddings, train.labels)
    kept = learnt(linear, config, train)
    np.testing.assert_allclose(kept["weights"], sk.coef_, atol=1e-5)
    predicted = linear.predict(kept, test_clips.embeddings, config)
    np.testing.assert_array_equal(predicted, sk.predict(test_clips.embeddings))


def test_one_class_has_one_logit():
    config = build(linear.Config, LOGISTIC, "linear")
    kept = fit_logistic(np.ones((4, 3)), np.zeros(4, np.int64), config)
    assert {name: array.tolist() for name, array in kept.items()} == {
        "weights": [[0.0, 0.0, 0.0]], "biases": [0.0],
    }  # fmt: skip
    assert largest_logit(kept, np.ones((2, 3))).tolist() == [0, 0]


def test_linear_tells_two_classes_apart_as_scikit_learn_does():
    train, test = clusters(15, n_classes=2), clusters(50, n_classes=2, seed=1)
    config = build(linear.Config, LOGISTIC, "linear")
    sk = LogisticRegression(C=1.0, max_iter=500).fit(train.embeddings, train.labels)
    predicted = linear.predict(learnt(linear, config, train, [2]), test.embeddings, config)
    np.testing.assert_array_equal(predicted, sk.predict(test.embeddings))


def test_ncm_by_hand():
    # Unit rows (1, 0) and (0.6, 0.8): mean (0.8, 0.4), not scaled to length 1.
    x = np.array([[2.0, 0.0], [3.0, 4.0], [0.0, 5.0]])
    kept = ncm.learn({}, x, np.array([0, 0, 1]), ncm.Config(), rng())
    np.testing.assert_allclose(kept["means"], [[0.8, 0.4], [0.0, 1.0]])


def test_ncm_is_the_nearest_centroid_of_unit_embeddings(train, test_clips):
    sk = NearestCentroid().fit(unit(train.embeddings), train.labels)
    kept = learnt(ncm, ncm.Config(), train)
    np.testing.assert_allclose(kept["means"], sk.centroids_)
    predicted = ncm.predict(kept, test_clips.embeddings, ncm.Config())
    np.testing.assert_array_equal(predicted, sk.predict(unit(test_clips.embeddings)))


class TowardsIdentity(EmpiricalCovariance):
    """(1 - 0.01) covariance + 0.01 I."""

    def fit(self, X, y=None):
        super().fit(X)
        self.covariance_ = 0.99 * self.covariance_ + 0.01 * np.eye(X.shape[1])
        return self


def test_slda_is_scikit_learns_lda_with_the_same_shrinkage(train, test_clips):
    # As many clips of each class: its mean of the classes' covariances is the pooled one.
    sk = LinearDiscriminantAnalysis(
        solver="lsqr", covariance_estimator=TowardsIdentity(), priors=np.full(6, 1 / 6)
    ).fit(train.embeddings, train.labels)
    kept = learnt(slda, slda.Config(0.01), train)
    weights, biases = slda.discriminant(kept["means"], kept["scatter"] / kept["n_clips"], 0.01)
    np.testing.assert_allclose(weights, sk.coef_, rtol=1e-9)
    np.testing.assert_allclose(biases, sk.intercept_ + np.log(6), rtol=1e-9)
    predicted = slda.predict(kept, test_clips.embeddings, slda.Config(0.01))
    np.testing.assert_array_equal(predicted, sk.predict(test_clips.embeddings))


def test_slda_learnt_class_by_class_is_slda_learnt_at_once():
    train = clusters(9)
    keep = np.arange(len(train.labels)) % 9 < 4 + train.labels  # 4 to 9 clips of a class
    train = Embedded(train.embeddings[keep], train.labels[keep])
    config = slda.Config(1e-4)
    at_once, one_by_one = (learnt(slda, config, train, steps) for steps in ([6], [1] * 6))
    for name in at_once:
        np.testing.assert_allclose(one_by_one[name], at_once[name], rtol=1e-12)
    gaps = train.embeddings - at_once["means"][train.labels]
    np.testing.assert_allclose(
        at_once["scatter"] / at_once["n_clips"], gaps.T @ gaps / len(gaps), rtol=1e-12
    )


def test_the_discriminant_by_hand():
    # Shrunk: half of diag(3, 1) and half of I = diag(2, 1). Mean (2, 1): w = (1, 1), b = -3/2.
    weights, biases = slda.discriminant(np.array([[2.0, 1.0]]), np.diag([3.0, 1.0]), 0.5)
    np.testing.assert_allclose(weights, [[1.0, 1.0]])
    np.testing.assert_allclose(biases, [-1.5])


def test_a_translation_by_hand():
    # Mean (1, 2) moves to (10, 0): every clip by (9, -2).
    moved = fetril.translate(np.array([[0.0, 2.0], [2.0, 2.0]]), np.array([10.0, 0.0]))
    np.testing.assert_allclose(moved, [[9.0, 0.0], [11.0, 0.0]])


def test_an_old_class_takes_the_clips_of_the_new_class_most_like_it():
    old = np.array([[1.0, 2.0], [5.0, 1.0], [-1.0, -0.1]])
    new = np.array([[100.0, 0.0], [0.0, 3.0]])  # by angle, not by length or distance
    np.testing.assert_array_equal(fetril.most_like(old, new), [1, 0, 1])


def test_fetril_trains_on_new_clips_and_translated_ones(train, test_clips):
    config = build(fetril.Config, LOGISTIC, "fetril")
    old, new = train.between(0, 1), train.between(1, 3)
    kept = learnt(fetril, config, train.between(0, 3), [1, 2])
    mean = old.embeddings.mean(axis=0)
    means = [new.embeddings[new.labels == label].mean(axis=0) for label in (1, 2)]
    cosines = [m @ mean / np.linalg.norm(m) for m in means]
    like = int(np.argmax(cosines))
    moved = new.embeddings[new.labels == 1 + like] - means[like] + mean
    sk = LogisticRegression(C=1.0, max_iter=500).fit(
        np.concatenate([new.embeddings, moved]), np.concatenate([new.labels, np.zeros(15)])
    )
    np.testing.assert_allclose(kept["weights"], sk.coef_, atol=2e-3)
    predicted = fetril.predict(kept, test_clips.embeddings, config)
    np.testing.assert_array_equal(predicted, sk.predict(test_clips.embeddings))


def test_shrinking_a_covariance_by_hand():
    # Mean variance 3, mean covariance 1: 2 x 3 on the diagonal, 0.5 x 1 beside it.
    shrunk = fecam.shrink(np.array([[4.0, 1.0], [1.0, 2.0]]), 2.0, 0.5)
    np.testing.assert_allclose(shrunk, [[10.0, 1.5], [1.5, 8.0]])


def test_correlations_by_hand():
    found = fecam.correlations(np.array([[4.0, 1.0], [1.0, 9.0]]))
    np.testing.assert_allclose(found, [[1.0, 1 / 6], [1 / 6, 1.0]])


def test_fecams_distance_is_scipys_between_unit_vectors(train):
    of_class = train.between(2, 3).embeddings
    mean = of_class.mean(axis=0)
    covariance = (of_class - mean).T @ (of_class - mean) / len(of_class)
    matrix = fecam.correlations(fecam.shrink(covariance, 1.0, 1.0))
    found = fecam.squared_distances(train.embeddings, mean, matrix)
    inverse = np.linalg.inv(matrix)
    wanted = [mahalanobis(u, unit(mean[None])[0], inverse) ** 2 for u in unit(train.embeddings)]
    np.testing.assert_allclose(found, wanted, rtol=1e-9)
    kept = learnt(fecam, fecam.Config(1.0, 1.0), train)
    np.testing.assert_allclose(kept["covariances"][2], covariance, rtol=1e-12)


def test_fecam_takes_the_class_of_the_smallest_distance(train, test_clips):
    config = fecam.Config(1.0, 1.0)
    kept = learnt(fecam, config, train)
    predicted = fecam.predict(kept, test_clips.embeddings, config)
    distances = np.array(
        [
            fecam.squared_distances(
                test_clips.embeddings, m, fecam.correlations(fecam.shrink(c, 1.0, 1.0))
            )
            for m, c in zip(kept["means"], kept["covariances"], strict=True)
        ]
    )
    np.testing.assert_array_equal(predicted, distances.argmin(axis=0))


def test_a_projection_by_hand():
    projection = np.array([[1.0, -1.0], [2.0, 0.5]])
    np.testing.assert_allclose(ranpac.project(np.array([[1.0, 1.0]]), projection), [[3.0, 0.0]])
    np.testing.assert_allclose(ranpac.project(np.array([[1.0, 2.0]]), projection), [[5.0, 0.0]])


def test_ranpac_is_ridge_regression_on_all_projected_clips(train, test_clips):
    config = ranpac.Config(40, RIDGES, 0.2)
    kept = learnt(ranpac, config, train)
    projected = ranpac.project(train.embeddings, kept["projection"])
    sk = Ridge(alpha=kept["ridge"][0], fit_intercept=False).fit(projected, np.eye(6)[train.labels])
    weights = ranpac.ridge_weights(kept["gram"], kept["class_sums"], kept["ridge"][0])
    np.testing.assert_allclose(weights.T, sk.coef_, rtol=1e-6, atol=1e-9)
    answers = sk.predict(ranpac.project(test_clips.embeddings, kept["projection"]))
    predicted = ranpac.predict(kept, test_clips.embeddings, config)
    np.testing.assert_array_equal(predicted, answers.argmax(axis=1))


def test_the_projection_stays_as_first_drawn(train):
    config = ranpac.Config(40, RIDGES, 0.2)
    first = train.between(0, 3)
    once = ranpac.learn({}, first.embeddings, first.labels, config, rng(0))
    np.testing.assert_array_equal(learnt(ranpac, config, train)["projection"], once["projection"])


def test_the_ridge_is_the_best_on_held_clips_by_hand():
    # Fitted to x = 1, y = 1: w = 1 / (1 + ridge). Held x = 2, y = 1 asks for w = 1/2: ridge 1.
    x, y = np.array([[1.0], [2.0]]), np.array([[1.0], [1.0]])
    held = np.array([False, True])
    assert ranpac.choose_ridge(x, y, (0.01, 1.0, 100.0), held) == 1.0


def test_the_ridge_is_chosen_with_a_share_of_the_clips_held(monkeypatch, train):
    seen = []
    monkeypatch.setattr(ranpac, "choose_ridge", lambda x, y, r, held: seen.append(held) or r[0])
    learnt(ranpac, ranpac.Config(40, RIDGES, 0.2), train)
    assert [(len(held), held.sum()) for held in seen] == [(45, 9), (30, 6), (15, 3)]
