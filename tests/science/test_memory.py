"""mtcil.learning.memory: never above K, herding as in iCaRL."""

from itertools import permutations

import numpy as np
import pytest

from mtcil.learning.memory import choose, herd, hold_out, per_class


def rows(n, d, seed=0):
    return np.random.default_rng(seed).normal(size=(n, d))


def test_herding_by_hand():
    # Mean of -2, 1, 4 is 1: first the 1; then 1 + x nearest to 2 * 1, a tie of gaps 1.5, 1.5.
    assert herd(np.array([[-2.0], [1.0], [4.0]]), 1).tolist() == [1]
    # Mean of 0, 1, 5 is 2. First 1 (gap 1). Then (1 + 5) / 2 = 3 (gap 1) beats (1 + 0) / 2 (1.5).
    assert herd(np.array([[0.0], [1.0], [5.0]]), 2).tolist() == [1, 2]


def test_random_does_not_repeat_and_official_may():
    rng = np.random.default_rng(0)
    assert len(set(choose(rows(20, 2), 20, "random", rng).tolist())) == 20
    assert len(choose(rows(3, 2), 20, "official", rng)) == 20


def test_herding_is_done_on_normalised_embeddings():
    points = rows(12, 3)
    scaled = points * np.random.default_rng(1).uniform(0.1, 10, size=(12, 1))
    rng = np.random.default_rng(0)
    np.testing.assert_array_equal(
        choose(points, 6, "herding", rng), choose(scaled, 6, "herding", rng)
    )


@pytest.mark.parametrize(("n", "held"), [(0, 0), (1, 0), (2, 1), (5, 1), (10, 2), (25, 5)])
def test_hold_out_leaves_at_least_one_exemplar(n, held):
    assert hold_out(n, 0.2) == held


def test_permuting_the_clips_permutes_the_choice():
    points = rows(6, 4, seed=3)
    want = {tuple(points[i]) for i in herd(points, 3)}
    for order in list(permutations(range(6)))[::97]:
        shuffled = points[list(order)]
        assert {tuple(shuffled[i]) for i in herd(shuffled, 3)} == want


def test_hold_out_never_takes_all():
    assert [hold_out(n, 0.9) for n in (0, 1, 2, 3)] == [0, 0, 1, 2]


def test_no_class_seen_needs_no_exemplar():
    assert per_class(10, 0) == 0
