"""Keep finished and half-finished runs, named by everything that their result depends on."""

import dataclasses
import hashlib
import io
import json
import pickle
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch

from mtcil.errors import UserError
from mtcil.files import whole_file
from mtcil.lookup import PACKAGE_DIR, files_reached


def digest(*parts: Any) -> str:
    """Hash of plain values and dataclasses: equal parts give an equal name on any machine."""
    text = json.dumps(parts, sort_keys=True, default=_plain)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    raise TypeError(f"{type(value).__name__} has no plain form to hash.")


T = TypeVar("T")

# What `_load` raises for a file that is damaged, or holds more than tensors and plain values.
UNREADABLE = (
    OSError, EOFError, RuntimeError, ValueError, LookupError, TypeError, AttributeError,
    pickle.UnpicklingError, zipfile.BadZipFile,
)  # fmt: skip
# Their values go into a run's name themselves, so their source need not.
OF_VALUES = {PACKAGE_DIR / name for name in ("settings.py", "study.py", "config.py", "errors.py")}


def code_digest(starts: Iterable[Path]) -> str:
    """Hash of the source of all package files that the given ones reach."""
    files = sorted(files_reached(starts) - OF_VALUES)
    return digest(*[(str(f.relative_to(PACKAGE_DIR)), f.read_text("utf-8")) for f in files])


def _load(file: Path) -> Any:
    """Tensors and plain values; torch alone would not see a damaged byte among the weights."""
    with zipfile.ZipFile(file) as archive:
        damaged = archive.testzip()
    if damaged is not None:
        raise ValueError(f"{damaged} does not fit its checksum")
    return torch.load(file, map_location="cpu", weights_only=True)


def read_model(file: Path, make: Callable[[dict[str, Any]], T]) -> T:
    """What `make` makes of the tensors, text and numbers of a base model; executes nothing.

    Raises:
        UserError: the file is missing or damaged, or holds what `make` cannot use.
    """
    try:
        return make(_load(file))
    except UNREADABLE as error:  # its name alone: torch's text advises to load it unsafely
        raise UserError(
            f"{file}: the base model cannot be read ({type(error).__name__}). "
            "Train it again: dvc repro train_base --force."
        ) from error


@dataclass(frozen=True)
class Checkpoint:
    """The place of one run: a file that appears whole or not at all.

    Attributes:
        folder: not tracked by DVC, so that a killed stage finds it again.
        key: from `digest`; another key never sees this run.
        fresh: true ignores what is there.
    """

    folder: Path
    key: str
    fresh: bool = False

    @property
    def file(self) -> Path:
        return self.folder / f"{self.key}.pt"

    def load(self) -> dict[str, Any] | None:
        """What was saved last, or None. A damaged file counts as none: the run starts again."""
        if self.fresh:
            return None
        try:
            content = _load(self.file)
        except UNREADABLE:
            return None
        return content if isinstance(content, dict) else None

    def save(self, content: dict[str, Any]) -> None:
        """Save tensors, text and numbers, whole or not at all.

        Raises:
            OSError: it cannot be written; what was saved before is still there.
        """
        save_plain(content, self.file)


def save_plain(content: dict[str, Any], path: Path) -> None:
    """Save tensors, text and numbers, whole or not at all; the same content, the same bytes.

    Into memory first: given a path, torch writes its name inside, and a full disk would be
    torch's RuntimeError about positions.

    Raises:
        OSError: it cannot be written.
    """
    memory = io.BytesIO()
    torch.save(content, memory)
    with whole_file(path) as part:
        part.write_bytes(memory.getbuffer())
