"""Run every benchmark and write benchmarks/RESULTS.md: `make bench`.

    python benchmarks/report.py [speech_commands=ARCHIVE urbansound8k=ARCHIVE] [--tiny]

Archives are handed on to features.py; load.py needs 20 GB for a while. Peers are installed in
environments of their own, which needs the network once. With `--tiny` every benchmark runs in
seconds, without peers, and the result is printed instead of written: it holds no measurement.
A benchmark that fails is named, and the exit code is 1; RESULTS.md stays as it was.
"""

import platform
import subprocess
import sys
from datetime import date
from pathlib import Path

from size import TINY, arguments

HERE = Path(__file__).parent
PARTS = (
    ("features.py", "Features"),
    ("training.py", "Training"),
    ("avalanche_peer.py", "Training, beside Avalanche"),
    ("overhead.py", "DVC and start-up"),
    ("load.py", "Both datasets at full size"),
    ("rehearsal.py", "The paper's study, rehearsed"),
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
    failed = []
    for script, title in PARTS:
        command = [sys.executable, str(HERE / script), *["--tiny"] * TINY]
        command += arguments() if script == "features.py" else []
        done = subprocess.run(command, capture_output=True, text=True)
        text += [f"## {title}", f"`python benchmarks/{script}`", done.stdout.strip()]
        if done.returncode:
            failed.append(script)
            print(done.stderr, file=sys.stderr)
        print(f"{title}: {'failed' if done.returncode else 'done'}", file=sys.stderr)
    if failed:
        sys.exit(f"These benchmarks failed, see above: {', '.join(failed)}.")
    if TINY:
        print("\n\n".join(text))
    else:
        (HERE / "RESULTS.md").write_text("\n\n".join(text) + "\n", "utf-8")


if __name__ == "__main__":
    main()
