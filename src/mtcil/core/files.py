"""Write files so that they appear whole or not at all."""

import glob
import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path next to `path` to write to; rename it to `path` on success.

    Raises:
        OSError: if it cannot be written, e.g. the disk is full; the old `path` is unchanged.
    """
    with part_file(path.parent, path.name) as part:
        yield part
        part.chmod(0o644)
        with part.open("rb") as written:
            os.fsync(written.fileno())
        part.replace(path)


@contextmanager
def part_file(folder: Path, name: str) -> Iterator[Path]:
    """Yield an empty temporary file in `folder` (created if missing); remove it afterwards.

    A killed process leaves its temporary file behind, in a folder that DVC hashes. The next
    writer of the same name removes it, so two processes must not write one name at once.

    Raises:
        OSError: as in `whole_file`; it names the file, even if the system's error does not.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        remove_parts(folder, name)
        handle, made = tempfile.mkstemp(dir=folder, prefix=f".{name}.", suffix=".part")
        os.close(handle)
        part = Path(made)
        try:
            yield part
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        if error.filename is None:
            error.filename = str(folder / name)
        raise


def remove_parts(folder: Path, name: str) -> None:
    """Remove what a killed process left of a file of this name."""
    for left in folder.glob(f".{glob.escape(name)}.????????.part"):
        left.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write `text` atomically, as UTF-8 with Unix line ends."""
    with whole_file(path) as part:
        part.write_bytes(text.encode())


def file_digest(path: Path, algorithm: str = "sha256") -> str:
    """Hexadecimal digest of a file's content, read in chunks."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, algorithm).hexdigest()
