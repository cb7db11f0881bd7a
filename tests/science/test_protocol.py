"""mtcil.learning.protocol: class order, tasks, splits."""

import itertools
import math

import numpy as np
import pandas as pd
import pytest

from mtcil.core.randomness import numpy_generator, seed_for
from mtcil.learning import protocol
from mtcil.learning.protocol import (
    MOST_LISTED,
    _cost_of_adding,
    _divide,
    _divide_anyhow,
    _neediest,
    _seed_groups,
    _some_subsets,
    can_split,
    draw_class_order,
    draw_tasks,
    split_clips,
)
from mtcil.learning.split import audit_split
from mtcil.settings.sections import Heads, SplitSettings


def rng(seed=0):
    return np.random.default_rng(seed)


def shares(kind):
    return SplitSettings(kind, 0.7, 0.2, 0.1)


def test_the_class_order_is_a_permutation_and_follows_the_seed():
    classes = tuple("abcdefgh")
    assert sorted(draw_class_order(classes, rng())) == list(classes)
    assert draw_class_order(classes, rng(1)) == draw_class_order(classes, rng(1))
    assert len({draw_class_order(classes, rng(s)) for s in range(20)}) > 15


@pytest.mark.parametrize(("n_base", "n_tasks"), [(4, 11), (5, 26)])
def test_all_means_every_subset_of_two_or_more_classes_once(n_base, n_tasks):
    tasks = draw_tasks(Heads.parse("all", n_base), n_base, rng())
    assert len(tasks) == len(set(tasks)) == n_tasks
    assert len(tasks[0]) == n_base


@pytest.mark.parametrize("text", ["4-3", "5-1", "5-6", "five", "5-", ""])
def test_heads_that_cannot_be_are_refused(text):
    with pytest.raises(ValueError, match=r"heads|head must|every task"):
        Heads.parse(text, 5)


def test_where_subsets_are_too_many_to_list_some_are_drawn():
    drawn = _some_subsets(40, 20, 6, rng())
    assert math.comb(40, 20) > MOST_LISTED and len(set(drawn)) == 6
    assert all(len(set(one)) == 20 and list(one) == sorted(one) for one in drawn)
    assert {member for one in drawn for member in one} == set(range(40))
    listed = _some_subsets(5, 2, 3, rng())
    assert sorted(listed) == list(itertools.combinations(range(5), 2))  # all


def many_groups(n_classes=5, n_groups=60, seed=0):
    """Groups (speakers) that speak several classes, of very different sizes."""
    random = rng(seed)
    labels, groups = [], []
    for group in range(n_groups):
        for label in random.choice(n_classes, random.integers(1, n_classes + 1), replace=False):
            for _ in range(random.integers(1, 9)):
                labels.append(label)
                groups.append(f"speaker{group}")
    return np.array(labels), np.array(groups)


@pytest.mark.parametrize("kind", ["random", "group"])
@pytest.mark.parametrize("seed", range(5))
def test_parts_are_disjoint_and_complete_and_have_every_class_near_its_share(kind, seed):
    labels, groups = many_groups(seed=seed)
    parts = split_clips(labels, groups, shares(kind), rng(seed))
    together = np.concatenate(list(parts.values()))
    assert sorted(together.tolist()) == list(range(len(labels)))
    for part, share in (("train", 0.7), ("test", 0.2), ("validation", 0.1)):
        counts = np.bincount(labels[parts[part]], minlength=5) / np.bincount(labels)
        assert (counts > 0).all()
        assert np.abs(counts - share).max() < (0.02 if kind == "random" else 0.08)


def test_three_clips_of_a_class_are_one_for_each_part():
    parts = split_clips(np.zeros(3, int), np.array(["a", "b", "c"]), shares("random"), rng())
    assert [len(parts[part]) for part in ("train", "test", "validation")] == [1, 1, 1]


def test_too_few_clips_or_groups_are_refused():
    with pytest.raises(ValueError, match="has 2 clips"):
        split_clips(np.zeros(2, int), np.array(["a", "b"]), shares("random"), rng())
    with pytest.raises(ValueError, match="2 speakers or recordings"):
        split_clips(np.zeros(9, int), np.array(["a", "b", "a"] * 3), shares("group"), rng())
    with pytest.raises(ValueError, match="1 speakers or recordings"):
        split_clips(np.zeros(9, int), np.array(["a"] * 9), shares("group"), rng())


def test_each_purpose_has_its_own_seed_and_it_never_changes():
    assert seed_for(0, "split") == 3769940940748469125
    assert seed_for(0, "split") != seed_for(0, "class order") != seed_for(1, "split")
    assert numpy_generator(3, "x").integers(1 << 30) == numpy_generator(3, "x").integers(1 << 30)


def test_a_group_of_several_classes_leaves_no_part_without_one():
    # g4 has all classes, g0 + g2 and g1 + g3 have them together: one way to divide them, or few.
    classes = [[0, 1, 3, 4], [0, 1, 2, 3], [0, 2, 3, 4], [0, 4], [0, 1, 2, 3, 4]]
    labels = np.array([label for of_group in classes for label in of_group])
    groups = np.array([f"g{i}" for i, of_group in enumerate(classes) for _ in of_group])
    for seed in range(30):
        rows = split_clips(labels, groups, shares("group"), rng(seed))
        assert all(set(labels[rows[part]]) == {0, 1, 2, 3, 4} for part in rows)


def test_groups_that_cannot_be_divided_are_refused():
    labels = np.array([0, 1, 2, 0, 1, 3, 2, 3, 0, 1, 2, 3])  # g3 has all, no two of the others do
    groups = np.array(["g0"] * 3 + ["g1"] * 3 + ["g2"] * 2 + ["g3"] * 4)
    with pytest.raises(ValueError, match="no division of the speakers or recordings"):
        split_clips(labels, groups, shares("group"), rng())


@pytest.mark.parametrize(
    ("kind", "groups", "possible"),
    [
        *(("random", "aaa", True), ("random", "aa", False)),
        *(("group", "abcc", True), ("group", "aabb", False)),
    ],
)
def test_whether_clips_can_be_divided_is_known_before_training(kind, groups, possible):
    assert can_split(shares(kind), [0, 1], [0] * len(groups), list(groups)) is possible


def test_clips_that_one_seed_cannot_divide_are_not_divisible(monkeypatch):
    drawn = []

    def divide(labels, groups, settings, rng):
        drawn.append((labels.tolist(), groups.tolist(), rng.integers(1 << 30)))
        if len(drawn) == 4:
            raise ValueError

    monkeypatch.setattr(protocol, "split_clips", divide)
    assert can_split(shares("random"), [5, 7], [1, 0], ["a", "b"])
    numbers = [numpy_generator(seed, "split").integers(1 << 30) for seed in (5, 7)]
    assert drawn == [([1, 0], ["a", "b"], number) for number in numbers]  # as training does
    assert not can_split(shares("random"), [5, 7], [1, 0], ["a", "b"])


# Dividing groups, by hand

SHARES = np.array([0.7, 0.2, 0.1])


def test_the_cost_of_adding_a_group_by_hand():
    # Wanted 7, 2, 1 of ten clips, held 3, 1, 1, a group of one:
    # (3/7)^2 - (4/7)^2 = -7/49; (0/2)^2 - (1/2)^2 = -1/4; (1/1)^2 - 0 = 1.
    wanted, held = np.array([[7.0], [2.0], [1.0]]), np.array([[3.0], [1.0], [1.0]])
    found = _cost_of_adding(np.array([1.0]), wanted, held)
    np.testing.assert_allclose(found, [-7 / 49, -1 / 4, 1.0])
    # A class of which a part wants nothing: any clip there is far too many, never nan.
    assert np.isfinite(_cost_of_adding(np.array([1.0]), 0 * wanted, 0 * held)).all()


def test_the_neediest_part_lacks_most_classes_and_then_is_farthest_from_its_share():
    wanted = np.array([[7.0, 7.0], [2.0, 2.0], [1.0, 1.0]])
    group = np.array([1.0, 1.0])
    assert _neediest(group, wanted, np.array([[3.0, 3], [1, 0], [0, 0]])) == 2  # lacks both
    # Both lack one: the cost is -1/4 - 3/4 for part 1, and -1 + 1 for part 2.
    assert _neediest(group, wanted, np.array([[3.0, 3], [1, 0], [0, 1]])) == 1
    assert _neediest(group, wanted, np.array([[3.0, 3], [1, 1], [1, 1]])) == 1
    # A class that the group does not hold is no lack: part 2 wants the group no more than part 1.
    assert _neediest(np.array([1.0, 0]), wanted, np.array([[3.0, 3], [0, 1], [1, 0]])) == 1


def test_seeds_are_the_smallest_groups_of_the_rarest_class_first_and_no_more_than_needed():
    # Class 0 is in groups 0 to 4; class 1, the rarer one, in 4 to 6.
    counts = np.array([[5.0, 0], [1, 0], [2, 0], [3, 0], [4, 4], [0, 2], [0, 1]])
    # Of class 1: groups 6, 5 and 4 by size; 4 also counts for class 0, which needs two more.
    assert _seed_groups(counts, np.random.default_rng(0)) == [6, 5, 4, 1, 2]


def test_the_largest_groups_are_placed_first_each_where_it_brings_most():
    sizes = [7, 6, 5, 4, 3, 3, 2, 1, 1, 1]  # wanted: 23.1, 6.6, 3.3
    counts = np.array(sizes, dtype=float)[:, None]
    for seed in range(5):
        part_of = _divide(counts, SHARES, np.random.default_rng(seed))
        parts = [sorted(np.array(sizes)[part_of == part].tolist()) for part in range(3)]
        assert parts == [[1, 2, 3, 3, 5, 6], [1, 7], [1, 4]]


def test_without_seeds_groups_still_follow_the_shares():
    part_of = _divide_anyhow(np.ones((60, 1)), SHARES, np.random.default_rng(0))
    np.testing.assert_allclose(np.bincount(part_of), [42, 12, 6], atol=1)
    # Two classes in turn: no part lacks one of them.
    counts = np.eye(2)[np.arange(60) % 2]
    for seed in range(5):
        part_of = _divide_anyhow(counts, SHARES, np.random.default_rng(seed))
        assert all((counts[part_of == part].sum(axis=0) > 0).all() for part in range(3))
        np.testing.assert_allclose(np.bincount(part_of), [42, 12, 6], atol=3)


def test_a_test_clip_leaks_if_its_group_is_in_the_training_part_too():
    table = pd.DataFrame({"group": ["ann", "ann", "bob", "cy", "cy", "cy", "dan"]})
    rows = {"train": [0, 3], "test": [1, 2, 4, 5], "validation": [6]}
    parts = {part: np.array(of_part) for part, of_part in rows.items()}
    assert audit_split(table, parts) == {
        "train_clips": 2,
        "test_clips": 4,
        "validation_clips": 1,
        "leaking_test_clips": 3,  # 1 of ann; 4 and 5 of cy
    }
