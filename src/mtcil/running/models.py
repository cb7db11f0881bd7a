"""Files of base models: tensors, text and numbers, with the key of what they were learnt from."""

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

# What reading a file raises that is damaged, or holds more than tensors and plain values.
UNREADABLE = (
    OSError, EOFError, RuntimeError, ValueError, LookupError, TypeError, AttributeError,
    pickle.UnpicklingError, zipfile.BadZipFile,
)  # fmt: skip
AGAIN = "Train it again: dvc repro train_base --force."


def save_model(network: Network, updates: int, key: str, path: Path) -> None:
    """Save a base model and the updates that made it, whole or not at all.

    The same model has the same bytes.

    Into memory first: given a path, torch writes its name inside, and a full disk would be
    torch's RuntimeError about positions.

    Raises:
        OSError: it cannot be written.
    """
    memory = io.BytesIO()
    state = {name: value.cpu() for name, value in copy_state(network).items()}
    torch.save({"key": key, "updates": updates, "network": state}, memory)
    with whole_file(path) as part:
        part.write_bytes(memory.getbuffer())


def saved_updates(path: Path, key: str) -> int | None:
    """Updates of the base model that `path` holds; None if it is damaged, or of another key."""
    try:
        content = _load(path)
        return int(content["updates"]) if content["key"] == key else None
    except UNREADABLE:
        return None


def read_model(
    path: Path, key: str, network: NetworkSettings, n_base: int, device: torch.device
) -> tuple[Network, int]:
    """The base model of a key, of `n_base` classes, in eval mode, and the
    updates that made it; reading it executes nothing.

    Raises:
        UserError: the file is missing or damaged, or holds something else.
    """
    try:
        content = _load(path)
        if content["key"] != key:
            raise UserError(f"{path}: the base model is of other settings, code or device. {AGAIN}")
        model = network_from_state(network, content["network"]).to(device).eval()
        if model.n_classes != n_base:
            raise ValueError(f"a base model of {model.n_classes} classes")
        return model, int(content["updates"])
    except UNREADABLE as error:  # its name only: torch's text advises to load it unsafely
        raise UserError(
            f"{path}: the base model cannot be read ({type(error).__name__}). {AGAIN}"
        ) from error


def _load(file: Path) -> dict[str, Any]:
    """Tensors and plain values; torch itself would not see a damaged byte among the weights."""
    with zipfile.ZipFile(file) as archive:
        damaged = archive.testzip()
    if damaged is not None:
        raise ValueError(f"{damaged} does not fit its checksum")
    content = torch.load(file, map_location="cpu", weights_only=True)
    if not isinstance(content, dict):
        raise ValueError("no mapping")
    return content
