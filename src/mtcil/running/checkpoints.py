"""Finished work that is not in the records yet, so that a killed stage does not lose it."""

import json
from pathlib import Path
from typing import Any, Protocol

from mtcil.core.files import write_text
from mtcil.running.keys import digest


class HasCheckpoint(Protocol):
    """A job whose finished work is saved in a file of its own."""

    @property
    def checkpoint(self) -> Path: ...


def save(path: Path, key: str, rows: Any) -> None:
    """Save rows with a checksum, so that a damaged digit cannot become a result."""
    write_text(path, json.dumps({"rows": rows, "checksum": digest(key, rows)}))


def read(path: Path, key: str) -> Any | None:
    """The rows that were saved for this key; None if missing or damaged."""
    try:
        content = json.loads(path.read_text("utf-8"))
        rows = content["rows"]
        return rows if content["checksum"] == digest(key, rows) else None
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return None
