"""Start a process, kill it or one of its children, and see whether any is left."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

SECONDS_TO_END = 10  # for every process that a killed one leaves
# Whom to send what: the process that was started, its whole group (as Ctrl-C in a terminal), the
# stage that DVC started, one worker.
Kill = tuple[str, signal.Signals]


def start(command: list[str], folder: Path, env: dict[str, str], log: Path) -> subprocess.Popen:
    with log.open("wb") as said:
        return subprocess.Popen(
            command, cwd=folder, env=env, stdout=said, stderr=said, start_new_session=True
        )


def kill_at(process: subprocess.Popen, seconds: float, kill: Kill) -> bool:
    """Wait so long, then kill; False if it ended before, or never had whom to kill."""
    whom, how = kill
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(seconds)
    while process.poll() is None:
        with contextlib.suppress(ProcessLookupError, psutil.NoSuchProcess):
            if whom == "group":
                os.killpg(process.pid, how)
                return True
            chosen = process.pid if whom == "first" else child_of(process.pid, whom)
            if chosen is not None:
                os.kill(chosen, how)
                return True
        time.sleep(0.01)
    return False


def child_of(first: int, whom: str) -> int | None:
    """The stage that DVC started, or a worker; None where there is none yet.

    A process that was forked and is about to become another program looks like its parent.
    """
    for child in psutil.Process(first).children(recursive=True):
        command = " ".join(child.cmdline())
        is_copy = child.parent().cmdline() == child.cmdline()
        is_stage = "pipeline/" in command and not is_copy
        if "LokyProcess" in command if whom == "worker" else is_stage:
            return child.pid
    return None


def wait_for_end(session: int) -> list[str]:
    """The command lines of the session's processes that are left after SECONDS_TO_END."""
    until = time.monotonic() + SECONDS_TO_END
    while (left := list(living(session))) and time.monotonic() < until:
        time.sleep(0.05)
    return left


def living(session: int) -> Iterator[str]:
    for process in psutil.process_iter():
        with contextlib.suppress(ProcessLookupError, psutil.NoSuchProcess):
            if os.getsid(process.pid) == session and process.status() != psutil.STATUS_ZOMBIE:
                yield f"{process.pid} {' '.join(process.cmdline())[:80]}"
