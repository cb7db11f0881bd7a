"""Libraries are limited to AVX2 before they are imported, so that bytes are equal on other CPUs."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mtcil.core import AVX2_ONLY, has_avx2

ROOT = Path(__file__).resolve().parents[2]
HERE = Path("/proc/cpuinfo")
SEEN = (
    "import sys; sys.path.insert(0, 'pipeline'); import train_base, extract_features; "
    "import os, numba, torch; from numpy._core._multiarray_umath import __cpu_features__ as has; "
    "print(torch.backends.cpu.get_cpu_capability(), has['X86_V4'], numba.config.CPU_NAME, "
    "os.environ['MKL_CBWR'])"
)


def seen_by_a_stage(**variables: str) -> list[str]:
    """What the libraries of a stage report: PyTorch, AVX-512 in NumPy, Numba, MKL's variable."""
    plain = {k: v for k, v in os.environ.items() if k not in AVX2_ONLY}
    environment = plain | {"PYTHONPATH": str(ROOT / "src")} | variables
    done = subprocess.run(
        [sys.executable, "-c", SEEN], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.skipif(not has_avx2(HERE), reason="not an x86-64 CPU with AVX2 under Linux")
def test_a_stage_computes_with_avx2_unless_a_variable_says_otherwise():
    assert seen_by_a_stage() == ["AVX2", "False", "haswell", "COMPATIBLE"]
    own = seen_by_a_stage(ATEN_CPU_CAPABILITY="default", MKL_CBWR="AUTO")
    assert own == ["DEFAULT", "False", "haswell", "AUTO"]


def test_a_cpu_has_avx2_if_its_flags_say_so(tmp_path):
    files = {
        "one": ("flags : fpu avx2 bmi1\n", True),
        "last": ("flags : fpu avx2\n", True),
        "older": ("flags : fpu avx avx2x\n", False),
        "arm": ("Features : fp asimd\n", False),
    }
    for name, (text, expected) in files.items():
        (tmp_path / name).write_text(text)
        assert has_avx2(tmp_path / name) is expected, name
    assert not has_avx2(tmp_path / "none")


def first_import(path: Path) -> str:
    """The first module that a file imports from outside the standard library."""
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            name = node.module if isinstance(node, ast.ImportFrom) else node.names[0].name
            if name and name.split(".")[0] not in sys.stdlib_module_names:
                return name
    return ""


def test_every_file_of_pipeline_imports_the_core_before_anything_else():
    files = {path.stem: path for path in (ROOT / "pipeline").glob("*.py")}

    def begins_with_core(name: str) -> bool:
        first = first_import(files[name])
        return first.startswith("mtcil.core.") or (first in files and begins_with_core(first))

    assert not [name for name in files if first_import(files[name]) and not begins_with_core(name)]
