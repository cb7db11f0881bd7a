"""Errors of a stage as the user sees them: one line, or a traceback if the program is at fault."""

import errno
import inspect
import re
import sys
from collections.abc import Callable, Iterator
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path


class UserError(Exception):
    """A user error; the message says what, where and how to fix it. No traceback is shown."""


def check_arguments(stage: Callable[..., None], script: str, *arguments: str) -> None:
    """Check the number of arguments of a stage, not counting the study.

    Raises:
        UserError: if it is wrong; the message says what `script` takes.
    """
    names = list(inspect.signature(stage).parameters)[1:]
    if len(arguments) != len(names):
        raise UserError(
            f"{Path(script).name} takes {'one argument, a row name' if names else 'no arguments'}; "
            f"got {' '.join(arguments) or 'none'}."
        )


KEPT = "Finished work is kept, and old results are unchanged"
# Faults of the machine, not of the program; other errors are shown with their traceback.
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
REFUSED = {errno.EROFS, errno.EACCES, errno.EPERM}
BROKEN = {
    errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.EIO, errno.EMFILE, errno.ENFILE, errno.ESTALE,
}  # fmt: skip
ADVICE = (
    dict.fromkeys(FULL, "Make room")
    | dict.fromkeys(REFUSED, "Make it writable")
    | dict.fromkeys(BROKEN, "Put that right")
)


def fault_of_machine(error: BaseException) -> str | None:
    """The message for an error of the machine; None for an error of the program.

    Matched by message text, because torch may not be importable here.
    """
    text = str(error)
    first_line = text.splitlines()[0] if text else type(error).__name__
    if isinstance(error, BrokenProcessPool) and "terminated" in text:
        codes = ", ".join(re.findall(r"[A-Z]+\(-?\d+\)", text)) or "killed"
        return (
            f"a worker process ended in the middle of its work ({codes}). Usually the system kills "
            "a process that uses too much memory: lower machine.jobs in params.yaml and run it "
            f"again. {KEPT}."
        )
    if isinstance(error, OSError) and error.errno in ADVICE:
        what, advice = error.filename or "a file", ADVICE[error.errno]
        return f"{what}: {error.strerror}. {advice} and run it again. {KEPT}."
    of_gpu = isinstance(error, RuntimeError) and re.search("CUDA|CUBLAS|cuDNN", text)
    if of_gpu and "out of memory" in text:
        return (
            f"the GPU has not enough memory ({first_line:.200}). Free it, or set machine.device: "
            f"cpu in params.yaml, and run it again. {KEPT}."
        )
    if isinstance(error, MemoryError) or re.search("out of memory|t allocate memory", text):
        return (
            f"there is not enough memory ({first_line:.200}). Lower machine.jobs in params.yaml, "
            f"or free some memory, and run it again. {KEPT}."
        )
    if of_gpu:
        return (
            f"the GPU failed ({first_line:.200}). Run it again, or set machine.device: cpu in "
            f"params.yaml. {KEPT}."
        )
    return None


@contextmanager
def errors_as_one_line() -> Iterator[None]:
    """Exit with code 1 and a message on stderr after a user error or a fault of the machine."""
    try:
        yield
    except UserError as error:
        sys.exit(f"error: {error}")
    except (OSError, MemoryError, RuntimeError) as error:
        message = fault_of_machine(error)
        if message is None:
            raise
        sys.exit(f"error: {message}")
