"""Keep finished and half-finished runs, named by everything that their result depends on."""

import dataclasses
import hashlib
import json
import pickle
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

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


# What torch.load raises for a file that is damaged, or holds more than tensors and plain values.
UNREADABLE = (
    OSError, EOFError, RuntimeError, ValueError, KeyError, TypeError, AttributeError,
    pickle.UnpicklingError,
)  # fmt: skip
# Their values go into a run's name themselves, so their source need not.
OF_VALUES = {PACKAGE_DIR / name for name in ("settings.py", "study.py", "config.py", "errors.py")}


def code_digest(starts: Iterable[Path]) -> str:
    """Hash of the source of all package files that the given ones reach."""
    files = sorted(files_reached(starts) - OF_VALUES)
    return digest(*[(str(f.relative_to(PACKAGE_DIR)), f.read_text("utf-8")) for f in files])


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
            content = torch.load(self.file, map_location="cpu", weights_only=True)
        except UNREADABLE:
            return None
        return content if isinstance(content, dict) else None

    def save(self, content: dict[str, Any]) -> None:
        """Save tensors, text and numbers, whole or not at all."""
        with whole_file(self.file) as part:
            torch.save(content, part)
