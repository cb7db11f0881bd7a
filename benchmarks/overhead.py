"""What DVC and start-up cost beside the work: a no-op repro, and each stage's imports.

`python benchmarks/overhead.py [--tiny]` prints Markdown. The demo must have been run.
"""

import os
import resource
import statistics
import subprocess
import sys
from pathlib import Path

import yaml
from size import sized

ROOT = Path(__file__).parents[1]
ENVIRONMENT = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT / 'pipeline'}"}


def seconds(command: list[str], folder: Path) -> float:
    """Median CPU seconds of a command, its children included."""
    found = []
    for _ in range(sized(3, 1)):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, cwd=folder, env=ENVIRONMENT, check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        found.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
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
    print("\n| stage | in the root study | start-up, CPU s | torch |\n| --- | --- | --- | --- |")
    total = 0.0
    for name, count in sized(list(counts.items()), [("summarise", 1)]):
        code = f"import sys, {name}; print('torch' in sys.modules)"
        command = [sys.executable, "-c", code]
        each = seconds(command, ROOT)
        done = subprocess.run(command, env=ENVIRONMENT, check=True, capture_output=True, text=True)
        total += count * each
        print(f"| {name} | {count} | {each:.2f} | {'yes' if 'True' in done.stdout else 'no'} |")
    print(f"\nAll {sum(counts.values())} start-ups of the root study: {total:.0f} s.")
    demo = ROOT / "demo"
    print(f"\nDVC in the demo ({sum(stage_counts(demo).values())} stages), CPU s:")
    print("\n| command | CPU s |\n| --- | --- |")
    commands = ("repro", "status", "metrics show", "metrics diff HEAD~1", "plots diff HEAD~1")
    for text in sized(commands, ("version",)):
        dvc = [sys.executable, "-m", "dvc", *text.split()]
        print(f"| dvc {text}{' (nothing to do)' * (text == 'repro')} | {seconds(dvc, demo):.1f} |")


if __name__ == "__main__":
    main()
