"""Every benchmark runs to its end, in a tiny form that measures nothing."""

import ast
import os
import subprocess
import sys

import pytest
from tiny_study import ROOT

BENCHMARKS = ROOT / "benchmarks"


def imported(name: str) -> set[str]:
    """Names of the modules that a benchmark imports, wherever it does so."""
    tree = ast.parse((BENCHMARKS / f"{name}.py").read_text("utf-8"))
    froms = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    names = (a.name for node in ast.walk(tree) if isinstance(node, ast.Import) for a in node.names)
    return froms | set(names)


def test_the_report_reaches_every_file():
    text = (BENCHMARKS / "report.py").read_text("utf-8")
    files = {path.stem for path in BENCHMARKS.glob("*.py")} - {"report"}
    reached = {name for name in files if f'("{name}.py"' in text}
    while more := {m for name in reached for m in imported(name) & files} - reached:
        reached |= more
    assert reached | imported("report") >= files


@pytest.mark.slow
def test_every_benchmark_runs():
    before = (BENCHMARKS / "RESULTS.md").read_bytes()
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(BENCHMARKS / "report.py"), "--tiny"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for title in (
        "Features", "Training", "DVC and start-up", "Both datasets at full size",
        "The paper's study, rehearsed", "GPU",
    ):  # fmt: skip
        assert f"{title}: done" in done.stderr
        section = done.stdout.split(f"## {title}\n")[1].split("\n## ")[0]
        assert "|" in section
    assert (BENCHMARKS / "RESULTS.md").read_bytes() == before
