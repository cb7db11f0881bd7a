"""A virtual environment for a benchmark's peers, which are no dependencies of this project."""

import os
import subprocess
import venv
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]


def make(directory: Path, with_dependencies: Sequence[str], alone: Sequence[str]) -> Path:
    """Install the pins, unless this was done before; the environment's python.

    Needs the network once. `alone` are installed without what they ask for.

    Raises:
        subprocess.CalledProcessError: pip cannot; its `stderr` says why.
    """
    python, stamp = directory / "bin/python", directory / "installed.txt"
    pins = "\n".join((*with_dependencies, *alone))
    if not stamp.is_file() or stamp.read_text() != pins:
        venv.create(directory, with_pip=True, clear=True)
        pip = [str(python), "-m", "pip", "install", "--quiet"]
        for packages in ([*with_dependencies], ["--no-deps", *alone]):
            subprocess.run([*pip, *packages], check=True, stderr=subprocess.PIPE, text=True)
        stamp.write_text(pins)
    return python


def variables() -> dict[str, str]:
    """The environment's variables, in which `import mtcil` finds this working copy."""
    return {**os.environ, "PYTHONPATH": str(ROOT / "src")}
