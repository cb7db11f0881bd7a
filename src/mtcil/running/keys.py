"""The key of a run: a hash of everything that its result depends on.

A run is finished if its key is in the records, on whatever machine it was learnt. Comments,
docstrings and code layout are not hashed, so that editing them retrains nothing.
"""

import ast
import dataclasses
import functools
import hashlib
import json
import platform
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mtcil.core.errors import UserError
from mtcil.core.files import file_digest
from mtcil.core.lookup import PACKAGE_DIR, files_reached

# Their values are part of a run's key, so their source need not be.
OF_VALUES = {*(PACKAGE_DIR / "settings").glob("*.py"), PACKAGE_DIR / "core" / "errors.py"}


def digest(*parts: Any) -> str:
    """Hash of plain values and dataclasses; equal parts have equal hashes on any machine."""
    text = json.dumps(parts, sort_keys=True, default=_plain)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    raise TypeError(f"{type(value).__name__} cannot be hashed: it is not a plain value.")


@functools.cache
def code_digest(*starts: str) -> str:
    """Hash of the code of the given files and of all files that they import.

    Args:
        starts: files of the package, e.g. "learning/base_step.py".
    """
    files = files_reached(PACKAGE_DIR / start for start in starts)
    return digest(
        *[(f.relative_to(PACKAGE_DIR).as_posix(), code_of(f)) for f in sorted(files - OF_VALUES)]
    )


@functools.cache
def functions_digest(file: str, *names: str) -> str:
    """Hash of the code of some functions of a file, without what they import or call.

    Args:
        file: of the package, e.g. "running/run.py".
    """
    tree = ast.parse((PACKAGE_DIR / file).read_text("utf-8"))
    found = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    return digest(*[_without_texts(found[name]) for name in names])


@functools.cache
def code_of(file: Path) -> Any:
    """The code of a file without comments, docstrings and layout; see `_structure`."""
    return _without_texts(ast.parse(file.read_text("utf-8")))


def _without_texts(tree: ast.AST) -> Any:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            is_text = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
            if is_text and isinstance(first.value.value, str):  # type: ignore[union-attr]
                node.body[:1] = [] if node.body[1:] else [ast.Pass()]
    return _structure(tree)


def _structure(node: Any) -> Any:
    """A syntax tree as nested lists, equal on every version of Python: empty fields are left out.

    `ast.unparse` and `ast.dump` change their format with the version.
    """
    if isinstance(node, ast.AST):
        fields = [item for item in ast.iter_fields(node) if item[1] not in (None, [])]
        return [type(node).__name__, *([name, _structure(value)] for name, value in fields)]
    return [*map(_structure, node)] if isinstance(node, list) else repr(node)


def environment(device: str) -> list[str]:
    """Versions and kind of device; the last bits of results may depend on them."""
    kind = device.split(":")[0]
    hardware = torch.cuda.get_device_name() if kind == "cuda" else platform.machine()
    torch_version = torch.__version__.partition("+")[0]  # without the build, e.g. "+cpu"
    return [torch_version, np.__version__, kind, hardware]


def features_digest(features_dir: Path) -> list[str]:
    """Checksums of the features and the clip table.

    Raises:
        UserError: if they are missing.
    """
    files = [features_dir / "features.npy", features_dir / "clips.csv"]
    for file in files:
        if not file.is_file():
            raise UserError(f"{file} is missing. Run the stages before: dvc repro.")
    return [file_digest(file) for file in files]
