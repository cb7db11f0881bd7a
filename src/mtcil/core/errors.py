"""What a person is told when something ends a stage: one line where the program is not at fault."""

import errno
import inspect
import re
import sys
from collections.abc import Callable, Iterator
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType


class UserError(Exception):
    """A person's mistake: the message says what, where and what to do. No traceback is shown."""


def check_arguments(stage: Callable[..., None], script: str, *arguments: str) -> None:
    """Refuse more or fewer arguments than a stage takes besides the study.

    Raises:
        UserError: says what stage `script` takes.
    """
    names = list(inspect.signature(stage).parameters)[1:]
    if len(arguments) != len(names):
        raise UserError(
            f"{Path(script).name} takes {'the name of a row' if names else 'nothing'} after "
            f"its own name, got {' '.join(arguments) or 'nothing'}."
        )


KEPT = "What is finished is kept, and old results are as they were"
# Of a machine, not of a program; others are shown with their traceback.
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
REFUSED = {
    errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.EIO,
    errno.EMFILE, errno.ENFILE, errno.ESTALE,
}  # fmt: skip


def fault_of_machine(error: BaseException) -> str | None:
    """What to tell the person where an error is the machine's; None where it is the program's.

    Told from its text, for torch need not be here to be asked.
    """
    text = str(error)
    first_line = text.splitlines()[0] if text else type(error).__name__
    if isinstance(error, BrokenProcessPool) and "terminated" in text:
        codes = ", ".join(re.findall(r"[A-Z]+\(-?\d+\)", text)) or "killed"
        return (
            f"a worker process ended in the middle of its work ({codes}). Most often the system "
            "kills one for want of memory: set machine.jobs lower in params.yaml and run it again. "
            f"{KEPT}."
        )
    if isinstance(error, OSError) and error.errno in FULL | REFUSED:
        advice = "Make room" if error.errno in FULL else "Make it writable"
        return f"{error.filename or 'a file'}: {error.strerror}. {advice} and run it again. {KEPT}."
    if isinstance(error, MemoryError) or re.search("out of memory|t allocate memory", text):
        return (
            f"there is not enough memory ({first_line:.200}). Set machine.jobs lower in "
            f"params.yaml, or free some, and run it again. {KEPT}."
        )
    if isinstance(error, RuntimeError) and re.search("CUDA|CUBLAS|cuDNN", text):
        return (
            f"the GPU failed ({first_line:.200}). Run it again, or set machine.device: cpu in "
            f"params.yaml. {KEPT}."
        )
    return None


@contextmanager
def told_in_one_line() -> Iterator[None]:
    """End with a message on stderr and exit code 1 at a person's mistake or a machine's fault."""
    try:
        yield
    except UserError as error:
        sys.exit(f"error: {error}")
    except (OSError, MemoryError, RuntimeError) as error:
        message = fault_of_machine(error)
        if message is None:
            raise
        sys.exit(f"error: {message}")


def show(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Show an error that nobody caught (`sys.excepthook`); of Ctrl-C a line is enough."""
    if issubclass(kind, KeyboardInterrupt):
        print("stopped. Run it again to go on: what is finished is kept.", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)
