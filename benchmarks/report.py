"""Run every benchmark and write benchmarks/RESULTS.md: `make bench`.

    python benchmarks/report.py [speech_commands=ARCHIVE urbansound8k=ARCHIVE]

Archives are handed on to features.py; load.py needs 20 GB for a while. A peer that is not
installed is left out with a line.
"""

import platform
import subprocess
import sys
from datetime import date
from pathlib import Path

HERE = Path(__file__).parent
PARTS = (
    ("features.py", "Features"),
    ("training.py", "Training"),
    ("avalanche_peer.py", "Training, beside Avalanche"),
    ("overhead.py", "DVC and start-up"),
    ("load.py", "Both datasets at full size"),
    ("gpu.py", "GPU"),
)


def processor() -> str:
    """Name of the processor, as Linux tells it; else the architecture."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{names[0]} x {len(names)}" if names else platform.machine()


def main() -> None:
    text = [
        "# Benchmarks",
        "Written by `make bench`: ratios are medians of interleaved rounds on one thread per "
        "process; absolute times belong to the machine below and to what else it was doing.",
        f"{date.today()}; {processor()}; Python {platform.python_version()}.",
    ]
    for script, title in PARTS:
        arguments = sys.argv[1:] if script == "features.py" else []
        command = [sys.executable, str(HERE / script), *arguments]
        done = subprocess.run(command, capture_output=True, text=True)
        shown = done.stdout if done.returncode == 0 else done.stderr.strip().splitlines()[-1]
        text += [f"## {title}", f"`python benchmarks/{script}`", shown.strip()]
        print(f"{title}: {'done' if done.returncode == 0 else shown}", file=sys.stderr)
    (HERE / "RESULTS.md").write_text("\n\n".join(text) + "\n", "utf-8")


if __name__ == "__main__":
    main()
