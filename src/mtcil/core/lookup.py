"""Find datasets, methods and figures by file name, and all files that a file imports."""

import ast
import importlib
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

from mtcil.core.errors import UserError

PACKAGE_DIR = Path(__file__).parents[1]


def names(kind: str) -> list[str]:
    """Sorted names of the files in `mtcil/<kind>/`, except for those that start with `_`."""
    return sorted(f.stem for f in (PACKAGE_DIR / kind).glob("[!_]*.py"))


def find(kind: str, name: str) -> ModuleType:
    """Import `mtcil.<kind>.<name>`, e.g. `find("methods", "ccil")`.

    Args:
        kind: a folder of the package, e.g. "methods" or "learning/parts".

    Raises:
        UserError: if there is no such file; the message lists the existing ones.
    """
    if name not in names(kind):
        package = kind.replace("/", ".")
        raise UserError(
            f"No mtcil.{package} called {name!r}. There are: {', '.join(names(kind))}. "
            f"To add one, write src/mtcil/{kind}/{name}.py."
        )
    return importlib.import_module(f"mtcil.{kind}.{name}".replace("/", "."))


def files_reached(starts: Iterable[Path]) -> set[Path]:
    """The given files and all files of the package that they import, directly or indirectly.

    They are read from the source, not from the loaded modules, so the result is the same in
    every process. A test checks `dvc.yaml` against it, and the keys of runs cover these files.
    """
    reached: set[Path] = set()
    waiting = [path.resolve() for path in starts]
    while waiting:
        path = waiting.pop()
        if path in reached:
            continue
        reached.add(path)
        for module in _imported_modules(ast.parse(path.read_text("utf-8"))):
            waiting += _files_of(module)
    return reached


def _imported_modules(tree: ast.AST) -> set[str]:
    modules: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            modules |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in modules if name == "mtcil" or name.startswith("mtcil.")}


def _files_of(module: str) -> list[Path]:
    """The module's file, if it has one, and those of its parent packages."""
    parts = module.split(".")[1:]
    stem = PACKAGE_DIR.joinpath(*parts)
    packages = [PACKAGE_DIR.joinpath(*parts[:n]) / "__init__.py" for n in range(len(parts) + 1)]
    return [path.resolve() for path in (*packages, stem.with_suffix(".py")) if path.is_file()]
