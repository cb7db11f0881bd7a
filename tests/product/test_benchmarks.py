"""Every benchmark runs to its end, in a tiny form that measures nothing."""

import ast
import os
import subprocess
import sys

import pytest
from tiny_study import ROOT, run_script

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


ON_PRETENDED_GPU = f"""
sys.path += {[str(ROOT / "tests"), str(BENCHMARKS)]!r}
from pretend_gpu import pretended_gpu
gpu = pretended_gpu()
gpu.__enter__()
"""


@pytest.mark.slow
def test_the_benchmark_of_a_gpu_runs_on_one(tmp_path):
    script = BENCHMARKS / "gpu.py"
    done = run_script(tmp_path, script, "--tiny", before=ON_PRETENDED_GPU)
    assert done.returncode == 0, done.stderr
    assert "pretended GPU" in done.stdout and "Error" not in done.stdout
    rows = [line.split(" | ")[0].removeprefix("| ") for line in done.stdout.splitlines()]
    assert {"base, fleet of 2", "fleets, 2 seeds", "one by one, 2 seeds", "default"} <= {*rows}
    assert rows[-1] == "torch.compile"
