"""What DVC and start-up cost beside the work: a no-op repro, and each stage's imports.

`python benchmarks/overhead.py` prints Markdown. The demo must have been run.
"""

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
ENVIRONMENT = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT / 'pipeline'}"}


def seconds(command: list[str], folder: Path, repeats: int = 3) -> float:
    """Median wall seconds of a command."""
    found = []
    for _ in range(repeats):
        start = time.perf_counter()
        subprocess.run(command, cwd=folder, env=ENVIRONMENT, check=True, capture_output=True)
        found.append(time.perf_counter() - start)
    return statistics.median(found)


def stage_counts(study: Path) -> dict[str, int]:
    """How often each stage runs in a study."""
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    params = yaml.safe_load((study / "params.yaml").read_text())
    return {
        name: len(params[stage["foreach"][2:-1]]) if "foreach" in stage else 1
        for name, stage in stages.items()
    }


def main() -> None:
    counts = stage_counts(ROOT)
    print("\n| stage | in the root study | start-up, s | torch |\n| --- | --- | --- | --- |")
    total = 0.0
    for name, count in counts.items():
        code = f"import sys, {name}; print('torch' in sys.modules)"
        command = [sys.executable, "-c", code]
        each = seconds(command, ROOT)
        done = subprocess.run(command, env=ENVIRONMENT, check=True, capture_output=True, text=True)
        total += count * each
        print(f"| {name} | {count} | {each:.2f} | {'yes' if 'True' in done.stdout else 'no'} |")
    print(f"\nAll {sum(counts.values())} start-ups of the root study: {total:.0f} s.")
    demo = ROOT / "demo"
    noop = seconds(["dvc", "repro"], demo)
    print(f"A `dvc repro` of the demo ({sum(stage_counts(demo).values())} stages) that has nothing")
    print(f"to do: {noop:.1f} s; `dvc status`: {seconds(['dvc', 'status'], demo):.1f} s.")


if __name__ == "__main__":
    main()
