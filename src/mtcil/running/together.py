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

    def go_on(results: Mapping[Any, Any]) -> Iterator[tuple[Any, T]]:
        for name, trained in results.items():
            try:
                asked[name] = trainings[name].send(trained)
            except StopIteration as ended:
                yield name, ended.value

    yield from go_on(dict.fromkeys(trainings))
    while asked:
        kinds: dict[Any, dict[Any, Fit]] = {}
        for name, fit in asked.items():
            kinds.setdefault(kind_of(fit), {})[name] = fit
        asked.clear()
        for kind in list(kinds):
            fits = kinds.pop(kind)
            trained = train_together(list(fits.values()))
            report(sum(fit.phase.updates for fit in fits.values()))
            yield from go_on(dict(zip(fits, trained, strict=True)))


def is_on_gpu(fit: Fit) -> bool:
    """Whether the network of a Fit is on a GPU."""
    return next(fit.network.parameters()).is_cuda


def n_at_once(data_bytes: int) -> int:
    """Number of runs to follow at once, if each may hold clips of `data_bytes` bytes twice."""
    if not torch.cuda.is_available():
        return MOST
    return max(1, min(MOST, int(free_bytes() / 2 // (2 * data_bytes))))


def free_bytes() -> int:
    """Free GPU memory, with what PyTorch keeps for later tensors."""
    torch.cuda.empty_cache()
    return torch.cuda.mem_get_info()[0]


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
            continue
        except torch.OutOfMemoryError:
            if len(part) == 1:
                raise
        size = -(-len(part) // 2)
        print(f"{len(part)} runs at once need too much memory: now {size}", file=sys.stderr)
        torch.cuda.empty_cache()  # not above: the exception would still hold the fleet
    return done


def runs_that_fit(fits: Sequence[Fit]) -> int:
    """Number of these that fit into the memory at once; 0 if they cannot be trained as a fleet.

    On a GPU, each further run is assumed to need the difference between a fleet of two and one.
    """
    try:
        two = _bytes_of(fits[:2])
    except torch.OutOfMemoryError:
        return 1
    if two is None:
        return 0
    most = min(MOST, len(fits))
    if most <= 2 or two == 0:  # on a CPU nothing is measured
        return most
    free = free_bytes()
    if most * two / 2 <= SHARE * free:  # more than they need: all share some memory
        return most
    one = _bytes_of(fits[:1])
    if one is None:
        return 0
    further = max(1, two - one)
    return max(1, min(most, 1 + int((SHARE * free - one) / further)))


def _bytes_of(fits: Sequence[Fit]) -> int | None:
    """Peak GPU memory of a fleet; None if vmap does not support its loss.

    A captured update keeps its memory, so draws and checks need theirs in addition.
    """
    on_gpu = is_on_gpu(fits[0])
    before = of_update = kept = 0
    if on_gpu:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
    fleet = Fleet(fits)
    fleet.draw()
    try:
        fleet.update()
        if on_gpu:
            of_update = torch.cuda.max_memory_allocated() - before
            torch.cuda.reset_peak_memory_stats()
            kept = torch.cuda.memory_allocated()
        fleet.draw()
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
    return of_update + torch.cuda.max_memory_allocated() - kept if on_gpu else 0
