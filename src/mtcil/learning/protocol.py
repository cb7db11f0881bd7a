"""Who learns what when: class order, tasks of the base step, and the split of the clips."""

import itertools
import math
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mtcil.core.randomness import numpy_generator
from mtcil.settings.sections import Heads, SplitSettings

PARTS = ("train", "test", "validation")
MOST_LISTED = 100_000  # subsets of one size
ATTEMPTS = 1000  # to divide groups of several classes so that no part lacks a class


class SplitError(ValueError):
    """A class has too few clips or groups for a split.

    Attributes:
        label: of the class.
        text: what is wrong with it.
    """

    def __init__(self, label: int, text: str):
        super().__init__(f"class {label} {text}")
        self.label, self.text = label, text


def draw_class_order(classes: tuple[str, ...], rng: np.random.Generator) -> tuple[str, ...]:
    """A random order of the classes; label k is the k-th of them."""
    return tuple(classes[i] for i in rng.permutation(len(classes)))


def draw_tasks(heads: Heads, n_base: int, rng: np.random.Generator) -> list[tuple[int, ...]]:
    """The base classes of each task, sorted; the first task holds all of them.

    Which classes form a task of size k is drawn at random (the paper does not say). Tasks of
    one size are distinct subsets as long as there are any; then all are drawn again.

    Args:
        heads: sizes of the tasks, or all subsets of at least two classes.
        n_base: number of base classes.
        rng: draws the classes of each task.
    """
    if heads.sizes is None:
        sizes = range(n_base, 1, -1)
        return [task for size in sizes for task in itertools.combinations(range(n_base), size)]
    waiting: dict[int, list[tuple[int, ...]]] = {}
    tasks = []
    for size in heads.sizes:
        if not waiting.get(size):
            waiting[size] = _some_subsets(n_base, size, heads.sizes.count(size), rng)
        tasks.append(waiting[size].pop(0))
    return tasks


def _some_subsets(
    n_base: int, size: int, n: int, rng: np.random.Generator
) -> list[tuple[int, ...]]:
    """Distinct subsets in random order: all of them, or where they are too many to list, n."""
    if math.comb(n_base, size) <= MOST_LISTED:
        subsets = list(itertools.combinations(range(n_base), size))
        return [subsets[i] for i in rng.permutation(len(subsets))]
    drawn: dict[tuple[int, ...], None] = {}
    while len(drawn) < n:
        members = rng.permutation(n_base)[:size]
        drawn[tuple(sorted(members.tolist()))] = None
    return list(drawn)


def split_clips(
    labels: NDArray[np.int64],
    groups: NDArray[np.str_],
    settings: SplitSettings,
    rng: np.random.Generator,
) -> dict[str, NDArray[np.int64]]:
    """Divide clips into train, test and validation (paper: 0.7 / 0.2 / 0.1 of each class).

    `random` divides each class by clip. `group` keeps all clips of a group (speaker or
    recording), of whatever class, in one part: groups are taken in random order, those with
    most clips first, and each goes where it leaves the classes nearest to their shares;
    each part first gets a group of every class.

    Args:
        labels: (n_clips,) class of each clip, 0 .. n_classes - 1.
        groups: (n_clips,) speaker or recording of each clip.
        settings: shares and kind.
        rng: draws the permutations.

    Returns:
        Sorted clip indices by part; disjoint, and together all clips.

    Raises:
        SplitError: a class has fewer than 3 clips (or groups), so a part would lack it.
        ValueError: no division of the groups was found in which every part has every class.
    """
    shares = np.array([settings.train, settings.test, settings.validation])
    if settings.kind == "random":
        part_of = _split_by_clip(labels, shares, rng)
    else:
        part_of = _split_by_group(labels, groups, shares, rng)
    return {part: np.flatnonzero(part_of == i) for i, part in enumerate(PARTS)}


def can_split(
    settings: SplitSettings, seeds: Sequence[int], labels: Sequence[int], groups: Sequence[str]
) -> bool:
    """Whether the clips can be divided with each of the seeds."""
    plain, of_group = np.array(labels, dtype=np.int64), np.array(groups, dtype=np.str_)
    try:
        for seed in seeds:
            split_clips(plain, of_group, settings, numpy_generator(seed, "split"))
    except ValueError:
        return False
    return True


def _split_by_clip(
    labels: NDArray[np.int64], shares: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.int64]:
    part_of = np.empty(len(labels), dtype=np.int64)
    for label in np.unique(labels):
        rows = rng.permutation(np.flatnonzero(labels == label))
        if len(rows) < len(PARTS):
            raise SplitError(int(label), f"has {len(rows)} clips; a split needs 3 or more.")
        n_test = max(1, round(shares[1] * len(rows)))
        n_validation = max(1, round(shares[2] * len(rows)))
        part_of[rows[:n_test]] = 1
        part_of[rows[n_test : n_test + n_validation]] = 2
        part_of[rows[n_test + n_validation :]] = 0
    return part_of


def _split_by_group(
    labels: NDArray[np.int64],
    groups: NDArray[np.str_],
    shares: NDArray[np.float64],
    rng: np.random.Generator,
) -> NDArray[np.int64]:
    names, group_of = np.unique(groups, return_inverse=True)
    n_classes = int(labels.max()) + 1
    counts = np.zeros((len(names), n_classes))  # clips of each group in each class
    np.add.at(counts, (group_of, labels), 1)
    for label in range(n_classes):
        if 0 < np.count_nonzero(counts[:, label]) < len(PARTS):
            raise SplitError(
                label,
                f"has {np.count_nonzero(counts[:, label])} speakers or recordings; a split by "
                "group needs 3 or more. Leave group out of splits in params.yaml.",
            )
    found = itertools.chain([_divide], itertools.repeat(_divide_anyhow, ATTEMPTS))
    for divide in found:
        part_of_group = divide(counts, shares, rng)
        has = [(counts[part_of_group == part] > 0).any(axis=0) for part in range(len(PARTS))]
        if np.array_equal(np.all(has, axis=0), counts.any(axis=0)):
            return part_of_group[group_of]
    raise ValueError(
        "no division of the speakers or recordings was found in which train, test and validation "
        "all have every class. Leave group out of splits in params.yaml."
    )


def _divide(
    counts: NDArray[np.float64], shares: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.int64]:
    """The part of each group; where groups hold several classes, a part may be left without one."""
    wanted = shares[:, None] * counts.sum(axis=0)  # (part, class)
    part_of_group = np.full(len(counts), -1)
    held = np.zeros_like(wanted)
    for group in _seed_groups(counts, rng):
        _place(group, _neediest(counts[group], wanted, held), part_of_group, held, counts)
    shuffled = rng.permutation(len(counts))
    for group in shuffled[np.argsort(-counts[shuffled].sum(axis=1), kind="stable")]:
        if part_of_group[group] < 0:
            cost = _cost_of_adding(counts[group], wanted, held)
            _place(int(group), int(cost.argmin()), part_of_group, held, counts)
    return part_of_group


def _divide_anyhow(
    counts: NDArray[np.float64], shares: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.int64]:
    """The part of each group, drawn from those that lack one of its classes while there are any."""
    wanted = shares[:, None] * counts.sum(axis=0)  # (part, class)
    part_of_group = np.full(len(counts), -1)
    held = np.zeros_like(wanted)
    for group in rng.permutation(len(counts)):
        lacking = np.flatnonzero(((held == 0) & (counts[group] > 0)).any(axis=1))
        cost = _cost_of_adding(counts[group], wanted, held)
        part = rng.choice(lacking) if len(lacking) else cost.argmin()
        _place(int(group), int(part), part_of_group, held, counts)
    return part_of_group


def _seed_groups(counts: NDArray[np.float64], rng: np.random.Generator) -> list[int]:
    """Small groups, enough of each class that every part can have one; rarest class first."""
    seeds: list[int] = []
    have: dict[int, int] = defaultdict(int)
    for label in np.argsort(np.count_nonzero(counts, axis=0), kind="stable"):
        holders = rng.permutation(np.flatnonzero(counts[:, label]))
        holders = holders[np.argsort(counts[holders].sum(axis=1), kind="stable")]
        for group in holders:
            if have[int(label)] >= len(PARTS):
                break
            if int(group) in seeds:
                continue
            seeds.append(int(group))
            for other in np.flatnonzero(counts[group]):
                have[int(other)] += 1
    return seeds


def _neediest(
    group: NDArray[np.float64], wanted: NDArray[np.float64], held: NDArray[np.float64]
) -> int:
    """The part that lacks most of the group's classes; then the one farthest from its share."""
    lacking = ((held == 0) & (group > 0)).sum(axis=1)
    return int(np.lexsort((_cost_of_adding(group, wanted, held), -lacking))[0])


def _cost_of_adding(
    group: NDArray[np.float64], wanted: NDArray[np.float64], held: NDArray[np.float64]
) -> NDArray[np.float64]:
    """How far each part would be from its shares, relative to them, less how far it is now."""
    scale = np.maximum(wanted, 1e-9)
    after = ((held + group - wanted) / scale) ** 2
    before = ((held - wanted) / scale) ** 2
    return (after - before).sum(axis=1)


def _place(
    group: int,
    part: int,
    part_of_group: NDArray[np.int64],
    held: NDArray[np.float64],
    counts: NDArray[np.float64],
) -> None:
    part_of_group[group] = part
    held[part] += counts[group]
