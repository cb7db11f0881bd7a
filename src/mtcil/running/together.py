"""Follow many runs at once: phases of the same kind are trained as a fleet."""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import torch

from mtcil.learning.fit import Fit, Trained, Training
from mtcil.running import alone
from mtcil.running.fleet import Fleet
from mtcil.running.stacks import kind_of

T = TypeVar("T")
MOST = 128  # most runs of a fleet; more were not measured (benchmarks/GPU.md)
SHARE = 0.8  # share of the free memory that a fleet may use


def follow_all(
    trainings: Mapping[Any, Training[T]], report: Callable[[int], None] = lambda updates: None
) -> Iterator[tuple[Any, T]]:
    """Train every Fit that the runs yield; yield each run's name and result as it ends.

    Runs of one method meet at the same step, because each waits until the Fits of all others are
    trained.

    Args:
        trainings: the runs by name, not started yet.
        report: is called with the number of updates done or skipped since its last call.
    """
    asked: dict[Any, Fit] = {}
    given: dict[Any, Any] = dict.fromkeys(trainings)
    while given:
        for name, trained in given.items():
            try:
                asked[name] = trainings[name].send(trained)
            except StopIteration as ended:
                yield name, ended.value
        kinds: dict[Any, list[Any]] = {}
        for name, fit in asked.items():
            kinds.setdefault(kind_of(fit), []).append(name)
        given = {}
        for names in kinds.values():
            fits = [asked.pop(name) for name in names]
            given |= dict(zip(names, train_together(fits), strict=True))
            report(sum(fit.phase.updates for fit in fits))


def n_at_once(data_bytes: int) -> int:
    """Number of runs to follow at once, if each may hold clips of `data_bytes` bytes twice."""
    if not torch.cuda.is_available():
        return MOST
    free, _ = torch.cuda.mem_get_info()
    return max(1, min(MOST, int(free / 2 // (2 * data_bytes))))


def train_together(fits: Sequence[Fit]) -> list[Trained]:
    """Train Fits of one kind, in fleets as large as the memory allows.

    Fits that cannot be trained as a fleet are trained one by one.
    """
    size = runs_that_fit(fits) if fits[0].phase.updates else 0
    if size == 0:
        return [alone.train(fit) for fit in fits]
    done: list[Trained] = []
    while len(done) < len(fits):
        left = fits[len(done) :]
        n_fleets = -(-len(left) // size)
        part = left[: -(-len(left) // n_fleets)]  # fleets have about equal sizes
        try:
            done += Fleet(part).train()
        except torch.OutOfMemoryError:
            if len(part) == 1:
                raise
            size = -(-len(part) // 2)
            print(f"{len(part)} runs at once need too much memory: now {size}", file=sys.stderr)
            torch.cuda.empty_cache()
    return done


def runs_that_fit(fits: Sequence[Fit]) -> int:
    """Number of these that fit into the memory at once; 0 if they cannot be trained as a fleet.

    On a GPU, each further run is assumed to need the difference between a fleet of two and one.
    """
    two = _bytes_of(fits[:2])
    if two is None:
        return 0
    most = min(MOST, len(fits))
    if most <= 2 or two == 0:  # on a CPU nothing is measured
        return most
    free, _ = torch.cuda.mem_get_info()
    if most * two / 2 <= SHARE * free:  # more than they need: all share some memory
        return most
    one = _bytes_of(fits[:1])
    if one is None:
        return 0
    further = max(1, two - one)
    return max(1, min(most, 1 + int((SHARE * free - one) / further)))


def _bytes_of(fits: Sequence[Fit]) -> int | None:
    """Peak GPU memory of a fleet; None if vmap does not support its loss."""
    on_gpu = next(fits[0].network.parameters()).is_cuda
    before = 0
    if on_gpu:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
    fleet = Fleet(fits)
    fleet.draw()
    try:
        fleet.update()
        if fleet.held is not None:
            fleet.check(1)
    except torch.OutOfMemoryError:
        raise
    except (RuntimeError, ValueError) as error:  # raised by torch.func
        loss, text = fits[0].loss, str(error).splitlines()[0]
        print(
            f"{loss.__module__}.{loss.__name__} is trained one run after the other, because vmap "
            f"refuses it: {text}",
            file=sys.stderr,
        )
        return None
    return torch.cuda.max_memory_allocated() - before if on_gpu else 0
