"""The bands of the package: imports point down only, and the package knows no study's files."""

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from mtcil.core import lookup

PACKAGE = lookup.PACKAGE_DIR
ROOT = Path(__file__).resolve().parents[2]
FILES = sorted(PACKAGE.rglob("*.py"))
BANDS = {"core", "settings", "records", "audio", "learning", "running", "reporting"}
PLUG_INS = {"datasets", "methods", "probes", "tables", "figures"}
# What a plug-in holds so that it is found by its name and used; see the folder's __init__.py.
CONTRACT = {
    "datasets": {"SOURCE", "CLASSES", "clip_of"},
    "methods": {"Config", "learn_step", "state_after", "predict", "cost"},
    "probes": {"Config", "learn", "predict"},
    "tables": {"STAGE", "SECTION", "RECORDS", "table", "markdown"},
    "figures": {"draw"},
}
STUDY_FILES = re.compile(r"\b(data/(raw|features)|metrics/|plots/|models/)|\.checkpoints")
# import-linter's contracts of a pyproject.toml, for the package in src/ beside it.
LINT = (
    "import sys; sys.path.insert(0, 'src'); from importlinter import cli; "
    "sys.exit(cli.lint_imports(config_filename='pyproject.toml', no_cache=True))"
)


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"))


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


def lint(root: Path) -> subprocess.CompletedProcess[str]:
    """Check the contracts in root/pyproject.toml for the package in root/src."""
    environment = {**os.environ, "PYTHONPATH": str(root / "src"), "COLUMNS": "200"}
    return subprocess.run(
        [sys.executable, "-c", LINT], cwd=root, env=environment, capture_output=True, text=True
    )


@pytest.fixture
def copied(tmp_path):
    """The package and its contracts, to break them."""
    shutil.copyfile(ROOT / "pyproject.toml", tmp_path / "pyproject.toml")
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(PACKAGE, tmp_path / "src" / "mtcil", ignore=ignored)
    return tmp_path


def test_imports_point_down_only():
    done = lint(ROOT)
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]
    n_contracts = len(contracts["contracts"])
    assert done.returncode == 0 and f"{n_contracts} kept, 0 broken" in done.stdout, done.stdout


BROKEN = {
    "a band imports one above": (
        "records/measures.py", "import mtcil.running.jobs", "Bands import downwards",
    ),
    "a band imports a plug-in": (
        "learning/fit.py", "from mtcil.methods import ccil", "Bands import downwards",
    ),
    "inside a function": (
        "core/files.py", "def late():\n    import mtcil.settings.files", "Bands import downwards",
    ),
    "a plug-in of one kind imports another": (
        "methods/wa.py", "import mtcil.probes.ncm", "Bands import downwards",
    ),
    "a method imports a run": (
        "methods/wa.py", "import mtcil.running.run", "Methods and probes import core",
    ),
    "a dataset learns": ("datasets/folders.py", "import mtcil.learning.fit", "Datasets import"),
    "a table learns": ("tables/steps.py", "import mtcil.learning.fit", "Tables and figures import"),
    "a figure reads records": (
        "figures/steps.py", "from mtcil.records.tables import read_stage", "Figures draw tables",
    ),
    "a figure computes its table": (
        "figures/steps.py", "from mtcil.tables import steps", "Bands import downwards",
    ),
    "a figure imports torch": ("figures/steps.py", "import torch", "never imports torch"),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
def test_an_import_that_points_up_is_found(copied, case):
    file, line, contract = BROKEN[case]
    path = copied / "src" / "mtcil" / file
    path.write_text(f"{path.read_text('utf-8')}\n\n{line}\n", "utf-8")
    done = lint(copied)
    assert done.returncode == 1
    assert re.search(rf"{contract}.* BROKEN", done.stdout), done.stdout


def test_the_package_holds_its_bands_and_plug_in_folders_and_no_loose_module():
    found = {path.name for path in PACKAGE.iterdir() if path.name != "__pycache__"}
    assert found == {"__init__.py"} | BANDS | PLUG_INS
    text = (ROOT / "pyproject.toml").read_text("utf-8")
    contracts = tomllib.loads(text)["tool"]["importlinter"]["contracts"]
    (layers,) = [contract["layers"] for contract in contracts if contract["type"] == "layers"]
    named = {name.strip() for layer in layers for name in layer.split("|")}
    assert named == {f"mtcil.{folder}" for folder in BANDS | PLUG_INS}


def defined(path: Path) -> set[str]:
    """Names that a file defines or imports at its top."""
    names: set[str] = set()
    for node in tree(path).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.ImportFrom):
            names |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {n.id for t in targets for n in ast.walk(t) if isinstance(n, ast.Name)}
    return names


def test_a_plug_in_folder_holds_only_plug_ins():
    bad = []
    for kind, contract in CONTRACT.items():
        for path in sorted((PACKAGE / kind).rglob("*")):
            if path.name == "__init__.py":
                bad += [path] if len(tree(path).body) > 1 else []  # more than what it is
            elif "__pycache__" not in path.parts:
                is_file = path.suffix == ".py" and path.stem in lookup.names(kind)
                bad += [] if is_file and contract <= defined(path) else [path]
    assert bad == []


def faults(path: Path) -> list[str]:
    """Where a file of the package reads the command line, or names a file of a study."""
    found = [name for name in imports(path) if name.split(".")[0] in ("argparse", "_study")]
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    parsed = tree(path)
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(parsed)
        if isinstance(node, documented) and ast.get_docstring(node)
    }
    for node in ast.walk(parsed):
        if isinstance(node, ast.Attribute) and ast.unparse(node) == "sys.argv":
            found.append(f"line {node.lineno}: sys.argv")
        is_text = isinstance(node, ast.Constant) and isinstance(node.value, str)
        if is_text and id(node) not in docstrings and STUDY_FILES.search(node.value):
            found.append(f"line {node.lineno}: {node.value}")
    return found


def test_the_package_reads_no_command_line_and_names_no_file_of_a_study():
    found = {path.relative_to(PACKAGE).as_posix(): faults(path) for path in FILES}
    assert not {name: lines for name, lines in found.items() if lines}


@pytest.mark.parametrize(
    "code",
    [
        "import argparse", "from _study import RECORDS", "import sys\nprint(sys.argv[1])",
        "x = 'data/raw/gsc'", "x = f'{y}/metrics/records'", "x = '.checkpoints'",
    ],
)  # fmt: skip
def test_each_such_fault_is_found(tmp_path, code):
    (tmp_path / "module.py").write_text(f'"""Of data/raw."""\n{code}\n')
    assert len(faults(tmp_path / "module.py")) == 1


def test_no_file_is_called_like_a_module_of_pythons():
    names = {path: path.stem.lstrip("_") for path in FILES if path.stem != "__init__"}
    assert not [path for path, name in names.items() if name in sys.stdlib_module_names]
