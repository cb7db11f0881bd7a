"""The house (design.md): imports point down only, and the package knows no study's files."""

import ast
import re
import sys
from pathlib import Path

import pytest

from mtcil import lookup

PACKAGE = lookup.PACKAGE_DIR
FILES = sorted(PACKAGE.rglob("*.py"))

# Small, and free to all that stand below.
TOOLS = {"errors", "files", "randomness", "settings", "study"}
# A module, or a folder of them, and what it may import besides TOOLS. Whoever may be imported
# stands above, so that nothing goes round in a circle. A new module gets a line.
ALLOWED: dict[str, set[str]] = {
    # small tools
    "errors": set(),
    "files": set(),
    "randomness": set(),
    "config": {"errors"},
    "settings": set(),
    "study": {"config", "settings"},
    "lookup": {"errors"},
    "progress": set(),
    "processes": set(),
    "parallel": {"processes"},
    "checkpoints": {"lookup"},
    "device": {"parallel"},
    # what things are
    "clips": set(),
    "protocol": set(),
    "archives": set(),
    "resume": set(),
    "audio": set(),
    "fourier": set(),
    "tuning": {"fourier"},
    "fast_features": {"fourier", "tuning"},
    "features": {"fast_features"},
    "datasets": {"archives"},
    "transfer": {"archives", "datasets", "resume"},
    "batches": {"archives", "audio", "features", "parallel", "processes"},
    "extraction": {"archives", "batches", "datasets", "features"},
    "data": {"clips", "protocol"},
    # how to learn
    "models": set(),
    "losses": set(),
    "augmentation": set(),
    "memory": set(),
    "training": {"clips", "models"},
    "learner": {"models"},
    "base": {"clips", "losses", "models", "protocol", "training"},
    "methods": {"augmentation", "clips", "learner", "losses", "memory", "models", "training"},
    "probes": set(),
    # what came out
    "metrics": set(),
    "significance": set(),
    "results": {"metrics"},
    "tuned": {"metrics", "results"},
    "curves": {"metrics", "results", "significance"},
    "summary": {"metrics", "results", "significance"},
    "figures": {"metrics", "results", "significance"},
    "claims": {"figures", "metrics", "results", "significance"},
    "fine_tuning": set(),
    "timing": {"base", "clips", "protocol", "training"},
    "probing": {
        *("checkpoints", "clips", "config", "data", "learner", "lookup", "metrics", "models"),
        "probes",
    },
    # runs: all of it together
    "trajectory": {
        *("clips", "data", "learner", "memory", "methods", "metrics", "models", "training"),
    },
    "runs": {
        *("base", "checkpoints", "clips", "config", "data", "device", "learner", "lookup"),
        *("parallel", "progress", "protocol", "training", "trajectory"),
    },
}
# No TOOLS for these.
BARE = {"errors", "files", "randomness", "config", "settings", "study", "lookup"}
STUDY_FILES = re.compile(r"\b(data/(raw|features)|metrics/|plots/|models/)|\.checkpoints")


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"))


def part_of(path: Path) -> str:
    """The module, or the folder of modules, that a file belongs to: "losses", "methods"."""
    return Path(path.relative_to(PACKAGE).parts[0]).stem


def imports(path: Path) -> set[str]:
    """Dotted names of all that a file imports, also inside functions; `from a import b` is a.b."""
    names: set[str] = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: write imports in full"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def ours(path: Path) -> set[str]:
    return {name.split(".")[1] for name in imports(path) if name.startswith("mtcil.")}


def test_whoever_may_be_imported_stands_above():
    above: set[str] = set()
    for name, allowed in ALLOWED.items():
        assert allowed <= above, f"{name}: {allowed - above}"
        above.add(name)


def test_the_table_names_the_modules_that_there_are():
    assert {part_of(path) for path in FILES} - {"__init__"} == set(ALLOWED)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_imports_point_down_only(path):
    part = part_of(path)
    if part == "__init__":
        assert not ours(path)
        return
    allowed = ALLOWED[part] | (set() if part in BARE else TOOLS) | {part}
    assert ours(path) <= allowed, f"{path.name} may not import {ours(path) - allowed}"


@pytest.mark.parametrize("name", lookup.names("figures"))
def test_a_figure_reaches_no_torch(name):
    for path in lookup.files_reached([PACKAGE / "figures" / f"{name}.py"]):
        assert not {n for n in imports(path) if n.split(".")[0] == "torch"}, path.name


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_the_package_reads_no_command_line_and_names_no_file_of_a_study(path):
    assert not {n for n in imports(path) if n.split(".")[0] in ("argparse", "_study")}
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    parsed = tree(path)
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(parsed)
        if isinstance(node, documented) and ast.get_docstring(node)
    }
    for node in ast.walk(parsed):
        if isinstance(node, ast.Attribute):
            assert ast.unparse(node) != "sys.argv"
        is_text = isinstance(node, ast.Constant) and isinstance(node.value, str)
        if is_text and id(node) not in docstrings:
            assert not STUDY_FILES.search(node.value), f"line {node.lineno}: {node.value}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_a_file_is_not_called_like_a_module_of_pythons(path):
    assert path.stem == "__init__" or path.stem.lstrip("_") not in sys.stdlib_module_names
