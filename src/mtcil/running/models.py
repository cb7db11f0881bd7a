"""Files of base models: tensors, text and numbers, with the model's key."""

import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch

from mtcil.core.errors import UserError
from mtcil.core.files import whole_file
from mtcil.learning.network import Network, copy_state, network_from_state
from mtcil.settings.sections import NetworkSettings

# Raised when a file is damaged or contains more than tensors and plain values.
UNREADABLE = (
    OSError, EOFError, RuntimeError, ValueError, LookupError, TypeError, AttributeError,
    pickle.UnpicklingError, zipfile.BadZipFile,
)  # fmt: skip
AGAIN = "Train it again: dvc repro train_base --force."


def save_model(network: Network, updates: int, key: str, path: Path) -> None:
    """Save a base model and its number of updates atomically.

    Equal models have equal bytes. The file is made in memory first: given a path, torch would
    write its name into the file, and raise a RuntimeError about positions if the disk is full.

    Raises:
        OSError: if it cannot be written.
    """
    memory = io.BytesIO()
    state = {name: value.cpu() for name, value in copy_state(network).items()}
    torch.save({"key": key, "updates": updates, "network": state}, memory)
    with whole_file(path) as part:
        part.write_bytes(memory.getbuffer())


def saved_updates(path: Path, key: str) -> int | None:
    """Number of updates of the base model at `path`; None if it is damaged or has another key."""
    try:
        content = _load(path)
        return int(content["updates"]) if content["key"] == key else None
    except UNREADABLE:
        return None


def read_model(
    path: Path, key: str, network: NetworkSettings, n_base: int, device: torch.device
) -> tuple[Network, int]:
    """Read a base model in eval mode, and its number of updates; no code in the file is executed.

    Raises:
        UserError: if the file is missing or damaged, or the key or `n_base` differs.
    """
    try:
        content = _load(path)
        if content["key"] != key:
            raise UserError(f"{path} was trained with other settings, code or device. {AGAIN}")
        model, updates = network_from_state(network, content["network"]), int(content["updates"])
        if model.n_classes != n_base:
            raise ValueError(f"the base model has {model.n_classes} classes")
    except UNREADABLE as error:  # only its name: torch's text advises unsafe loading
        raise UserError(
            f"{path}: the base model cannot be read ({type(error).__name__}). {AGAIN}"
        ) from error
    return model.to(device).eval(), updates  # not above: a full GPU does not damage a file


def _load(file: Path) -> dict[str, Any]:
    """Read tensors and plain values; check the sums, because torch ignores damaged weights."""
    with zipfile.ZipFile(file) as archive:
        damaged = archive.testzip()
    if damaged is not None:
        raise ValueError(f"{damaged} does not match its checksum")
    content = torch.load(file, map_location="cpu", weights_only=True)
    if not isinstance(content, dict):
        raise ValueError("not a mapping")
    return content
