"""Write files so that they appear whole or not at all."""

import fcntl
import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path` to write to; rename it to `path` if all went well.

    Raises:
        OSError: it cannot be written, e.g. the disk is full; what was at `path` is still there.
    """
    with part_file(path.parent, path.name) as part:
        yield part
        part.chmod(0o644)
        with part.open("rb") as written:
            os.fsync(written.fileno())
        part.replace(path)


@contextmanager
def part_file(folder: Path, name: str) -> Iterator[Path]:
    """Give an empty temporary file in `folder`, which need not exist; it is gone afterwards.

    A process that is killed leaves its own behind, in a folder whose content DVC hashes, so
    whoever comes next to write there removes it.

    Raises:
        OSError: as of `whole_file`; it names the file, also where the system does not.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _remove_litter(folder)
        handle, part = _locked_file(folder, name)
        try:
            yield part
        finally:
            part.unlink(missing_ok=True)
            os.close(handle)
    except OSError as error:
        if error.filename is None:
            error.filename = str(folder / name)
        raise


def _locked_file(folder: Path, name: str) -> tuple[int, Path]:
    """A new temporary file under a lock, which the system lifts when this process ends."""
    while True:
        handle, made = tempfile.mkstemp(dir=folder, prefix=f".{name}.", suffix=".part")
        part = Path(made)
        if _lock(handle, fcntl.LOCK_EX) and not part.exists():
            os.close(handle)  # taken for litter before it was locked
            continue
        return handle, part


def _remove_litter(folder: Path) -> None:
    """Remove temporary files that no living process holds a lock on."""
    for part in folder.glob(".*.part"):
        try:
            handle = os.open(part, os.O_RDWR)
        except OSError:  # gone already, or not ours
            continue
        if _lock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB):
            part.unlink(missing_ok=True)
        os.close(handle)


def _lock(handle: int, how: int) -> bool:
    """Whether the lock was had: not if another has it, or on a file system without locks."""
    try:
        fcntl.flock(handle, how)
    except OSError:
        return False
    return True


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8 with Unix line ends, whole or not at all."""
    with whole_file(path) as part:
        part.write_bytes(text.encode())


def file_digest(path: Path, algorithm: Callable[..., "hashlib._Hash"] = hashlib.sha256) -> str:
    """Hexadecimal digest of a file's content, read in pieces."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, algorithm).hexdigest()
