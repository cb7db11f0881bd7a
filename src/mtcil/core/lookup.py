"""Find a dataset, a method or a figure by its file name, and the files that a file reaches."""

import ast
import importlib
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

from mtcil.core.errors import UserError

PACKAGE_DIR = Path(__file__).parents[1]


def names(kind: str) -> list[str]:
    """Names of all files in `mtcil/<kind>/`, sorted; files that begin with `_` are left out."""
    return sorted(f.stem for f in (PACKAGE_DIR / kind).glob("[!_]*.py"))


def find(kind: str, name: str) -> ModuleType:
    """Import `mtcil.<kind>.<name>`, e.g. `find("methods", "ccil")`.

    Raises:
        UserError: there is no such file; the message lists those that there are.
    """
    if name not in names(kind):
        raise UserError(
            f"No mtcil.{kind} called {name!r}. There are: {', '.join(names(kind))}. "
            f"To add one, write src/mtcil/{kind}/{name}.py."
        )
    return importlib.import_module(f"mtcil.{kind}.{name}")


def files_reached(starts: Iterable[Path]) -> set[Path]:
    """All files of the package that the given files import, directly or not, themselves included.

    Read from the source, not from what happens to be loaded, so it is the same in every
    process. A test holds `dvc.yaml` to it, and checkpoints are named by it.
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
    """The module's file, if it is one, and those of the packages that it lies in."""
    parts = module.split(".")[1:]
    stem = PACKAGE_DIR.joinpath(*parts)
    packages = [PACKAGE_DIR.joinpath(*parts[:n]) / "__init__.py" for n in range(len(parts) + 1)]
    return [path.resolve() for path in (*packages, stem.with_suffix(".py")) if path.is_file()]
