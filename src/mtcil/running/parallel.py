"""Run independent runs at once, on one machine or many, with the same results for any number."""

import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from joblib import Parallel, delayed, parallel_config

from mtcil.core.errors import KEPT, UserError
from mtcil.core.processes import give_back_memory, jobs_at_once, start_worker
from mtcil.settings.sections import MachineSettings


def run_all(
    function: Callable[..., Any], tasks: Iterable[tuple[Any, ...]], machine: MachineSettings
) -> Iterator[Any]:
    """Yield `function(*task)` for every task, in the order in which they finish.

    With one job everything runs in this process. Under `loky` each worker is a process with
    one thread per library; under `dask` the tasks go to the cluster at `machine.scheduler`.
    """
    n_jobs = jobs_at_once(machine.jobs)
    if machine.backend == "dask":
        yield from _run_on_dask(function, tasks, machine)
        return
    if n_jobs == 1:
        yield from (function(*task) for task in tasks)
        return
    # From a worker's first moment on: its first task may import for seconds before it begins.
    watch = {"initializer": start_worker, "initargs": (os.getpid(),)}
    with parallel_config(backend="loky", n_jobs=n_jobs, inner_max_num_threads=1, **watch):
        parallel = Parallel(return_as="generator_unordered", batch_size=1)
        yield from parallel(delayed(_in_worker)(function, *task) for task in tasks)


def _in_worker(function: Callable[..., Any], *task: Any) -> Any:
    try:
        return function(*task)
    finally:
        give_back_memory()


def _run_on_dask(
    function: Callable[..., Any], tasks: Iterable[tuple[Any, ...]], machine: MachineSettings
) -> Iterator[Any]:
    from dask.distributed import Client, KilledWorker, as_completed
    from distributed.client import FutureCancelledError
    from distributed.comm import CommClosedError

    try:
        connected = Client(machine.scheduler)
    except (OSError, ValueError, TypeError) as error:
        raise UserError(
            f"machine.scheduler: no Dask scheduler answers at {machine.scheduler}. Start it, "
            "correct the address, or set machine.backend: loky."
        ) from error
    with connected as client:
        futures = [client.submit(function, *task, pure=False, retries=3) for task in tasks]
        try:
            for _, result in as_completed(futures, with_results=True):
                yield result
        except (KilledWorker, FutureCancelledError, CommClosedError) as error:
            text = " ".join(str(error).split())
            raise UserError(
                f"machine.scheduler: the workers of {machine.scheduler} or the scheduler itself "
                f"ended ({text:.200}). Often a worker needs more memory than it may use. Start "
                f"them again with more, and run it again. {KEPT}."
            ) from error
