"""Run independent runs at once, on one machine or many, with the same results for any number."""

import ctypes
import os
import platform
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from joblib import Parallel, delayed, parallel_config

from mtcil.processes import deaf_children, start_worker
from mtcil.settings import MachineSettings

IS_GLIBC = sys.platform == "linux" and platform.libc_ver()[0] == "glibc"


def keep_freed_memory() -> None:
    """Let glibc keep freed memory instead of giving it back and asking again in every batch.

    Worth 1.4 times in training on 128 x 85 features; no effect on numbers. Nothing elsewhere.
    """
    mmap_threshold, trim_threshold = -3, -1  # malloc.h: M_MMAP_THRESHOLD, M_TRIM_THRESHOLD
    if IS_GLIBC:
        libc = ctypes.CDLL(None)
        libc.mallopt(mmap_threshold, 1 << 30)
        libc.mallopt(trim_threshold, (1 << 31) - 1)


def give_back_memory() -> None:
    """Undo `keep_freed_memory` once, between runs: loky ends a worker that grows by 300 MB."""
    if IS_GLIBC:
        ctypes.CDLL(None).malloc_trim(0)


def run_all(
    function: Callable[..., Any], tasks: Iterable[tuple[Any, ...]], machine: MachineSettings
) -> Iterator[Any]:
    """Yield `function(*task)` for every task, in the order in which they finish.

    With one job everything runs in this process. Under `loky` each worker is a process with
    one thread per library; under `dask` the tasks go to the cluster at `machine.scheduler`.
    """
    n_jobs = machine.jobs or os.cpu_count() or 1
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
        with deaf_children():
            results = parallel(delayed(_in_worker)(function, *task) for task in tasks)
        yield from results


def _in_worker(function: Callable[..., Any], *task: Any) -> Any:
    try:
        return function(*task)
    finally:
        give_back_memory()


def _run_on_dask(
    function: Callable[..., Any], tasks: Iterable[tuple[Any, ...]], machine: MachineSettings
) -> Iterator[Any]:
    from dask.distributed import Client, as_completed

    with Client(machine.scheduler) as client:
        futures = [client.submit(function, *task, pure=False, retries=3) for task in tasks]
        for _, result in as_completed(futures, with_results=True):
            yield result
