"""No orphan processes: children exit with their parent, and only the parent handles Ctrl-C."""

import ctypes
import os
import platform
import signal
import sys
import threading
import time
from pathlib import Path

IS_GLIBC = sys.platform == "linux" and platform.libc_ver()[0] == "glibc"

PROC = Path("/proc")  # Linux

_parent = os.getppid()  # taken now, because the imports of a stage take seconds
_watching: set[int] = set()  # this process; after a fork also its parent, but not its thread


def die_with_parent(parent: int) -> None:
    """Exit within about a second after the parent process has ended.

    A thread watches the parent's id. The kernel's own signal (PR_SET_PDEATHSIG) is not used:
    it follows the *thread* that started the worker, and loky's threads end before its workers.

    Args:
        parent: id of the process that started this one, taken by the parent or at the very
            start. If the parent has already ended, this process exits at once.
    """
    if os.getpid() in _watching:
        return
    _watching.add(os.getpid())
    threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.2)
    os._exit(1)


def die_with_dvc() -> None:
    """If DVC runs this process as a stage, exit when DVC has ended.

    A killed DVC leaves its stage running. The next `dvc repro` removes the old lock and would
    run the same stage a second time, in parallel.
    """
    if "DVC_STAGE" in os.environ:
        if _is_orphan():
            print("error: DVC has ended, so its stage ends too.", file=sys.stderr, flush=True)
            os._exit(1)
        die_with_parent(_parent)


def _is_orphan() -> bool:
    """Whether DVC ended while Python started: process 1 or a desktop's systemd is the parent then.

    In a container DVC may be process 1 itself.
    """
    try:
        command = (PROC / str(_parent) / "cmdline").read_bytes().lower()
    except OSError:
        command = b""
    return (_parent == 1 or b"systemd" in command) and b"dvc" not in command


def start_worker(parent: int) -> None:
    """Set up a worker: exit with process `parent`, and leave Ctrl-C to it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    die_with_parent(parent)


def jobs_at_once(jobs: int) -> int:
    """How many jobs run at once: `machine.jobs`, or for 0 the cores that this process may use.

    A container, a batch system or `taskset` may allow fewer cores than the machine has.
    """
    import joblib  # here, because `_parent` must be taken before what takes long

    return jobs or joblib.cpu_count()


def keep_freed_memory() -> None:
    """Let glibc keep freed memory instead of returning it to the system in every batch.

    Training on 128 x 85 features is 1.4 times as fast; results do not change. Without glibc
    nothing happens.
    """
    mmap_threshold, trim_threshold = -3, -1  # malloc.h: M_MMAP_THRESHOLD, M_TRIM_THRESHOLD
    if IS_GLIBC:
        libc = ctypes.CDLL(None)
        libc.mallopt(mmap_threshold, 1 << 30)
        libc.mallopt(trim_threshold, (1 << 31) - 1)


def give_back_memory() -> None:
    """Return freed memory once, between runs: loky ends a worker that grows by 300 MB."""
    if IS_GLIBC:
        ctypes.CDLL(None).malloc_trim(0)
