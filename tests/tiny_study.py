"""A study so small that all its stages together take seconds, and a way to run one stage."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]


def params(root: str) -> dict[str, Any]:
    """The demo's params.yaml, cut down: five words, two seeds, an epoch or two."""
    values = yaml.safe_load((ROOT / "demo" / "params.yaml").read_text("utf-8"))
    words = values["datasets"]["words"] | {
        "classes": ["yes", "no", "up", "down", "left"], "clips_per_class": 24, "steps": [3, 1, 1],
        "exemplars": 12, "multitask": "3-2",
    }  # fmt: skip
    network = {"channels": [4, 4], "kernels": [3, 3], "strides": [2, 2], "pools": [2, 1]}
    row = {"dataset": "words", "method": "ccil"}
    values |= {
        "root": root,
        "seeds": [0, 1],
        "shown": "words",
        "datasets": {"words": words},
        "features": {"words": values["features"]["words"]},
        "networks": {"words": network | {"dropout": 0.5}},
        "base_models": {
            "words_3": row | {"heads": "3"},
            "words_3-2": row | {"heads": "3-2"},
            "words_3_longer": row | {"heads": "3", "control": "longer"},
        },
        "exemplar_sweeps": {"words_3-2": row | {"base": "words_3-2", "exemplars": [5, 12]}},
        "loss_ablations": {
            "words_3-2": row | {"base": "words_3-2", "losses": ["CE_N", "CE_N+CE_O"]}
        },
        "epoch_sweeps": {
            "words_3-2": row
            | {
                "base": "words_3-2",
                "schedules": ["two_step", "small"],
                "epochs": [None, 2],
                "large_rate": 0.01,
                "small_rate": 0.001,
                "seeds": [0],
            }
        },
        "tunings": {"words": {"base": "words_3", "dataset": "words"}},
        "comparisons": {"words_3-2": {"base": "words_3-2", "dataset": "words", "tuning": "words"}},
        "base_probes": {
            name: {"base": name, "dataset": "words"} for name in ("words_3", "words_3-2")
        },
        "heads_timings": {"words": {"dataset": "words", "heads": ["3", "3-2"], "rounds": 1}},
    }
    values["machine"] |= {"device": "cpu", "jobs": 1}
    values["base_training"]["fit"] |= {"epochs": 2}
    values["step_training"]["head_first"] |= {"epochs": 1}
    values["step_training"]["then_all"] |= {"epochs": 1}
    values["step_training"] |= {"frozen_blocks": 1}
    comparison = values["comparison"]
    comparison["training"]["head_first"] |= {"epochs": 1}
    comparison["training"]["then_all"] |= {"epochs": 1}
    comparison["training"] |= {"frozen_blocks": 1}
    comparison["methods"] = {"ccil": [0], "icarl": [0, 1], "replay": [0]}
    return values


def change(values: dict[str, Any], place: str, value: object) -> None:
    """Set `values["a"]["b"]` for the place "a.b"."""
    *sections, last = place.split(".")
    for section in sections:
        values = values[section]
    values[last] = value


def write_params(study: Path, values: dict[str, Any]) -> None:
    text = yaml.safe_dump(values, sort_keys=False, default_flow_style=None, width=90)
    (study / "params.yaml").write_text(text, "utf-8")


def run_stage(
    study: Path, stage: str, *arguments: str, root: Path = ROOT, before: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run a stage as dvc.yaml does; `before` is Python to run first in the same process."""
    script = root / "pipeline" / f"{stage}.py"
    return run_script(study, script, *arguments, root=root, before=before)


def run_script(
    study: Path, script: Path, *arguments: str, root: Path = ROOT, before: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run a Python file in a study's folder, with the stages and the package of `root`."""
    command = [sys.executable, str(script), *arguments]
    if before:
        start = f"{before}\nimport runpy, sys\nrunpy.run_path(sys.argv[0], run_name='__main__')"
        command = [sys.executable, "-c", f"import sys\ndel sys.argv[0]\n{start}", *command[1:]]
    paths = os.pathsep.join(str(root / folder) for folder in ("src", "pipeline"))
    environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=study, env=environment, capture_output=True, text=True)


def files_in(folder: Path) -> dict[str, bytes]:
    """All files below a folder and their content."""
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


@dataclass
class Repository:
    """A git and DVC repository with this project's code and one study."""

    root: Path

    @property
    def study(self) -> Path:
        return self.root / "studies" / "tiny"

    @property
    def environment(self) -> dict[str, str]:
        """Git and DVC with nothing of this machine's own settings."""
        home, bin_dir = self.root.parent, Path(sys.executable).parent
        environment = {
            **os.environ, "PATH": f"{bin_dir}{os.pathsep}{os.environ['PATH']}",
            "OMP_NUM_THREADS": "1", "DVC_GLOBAL_CONFIG_DIR": str(home / "config"),
            "DVC_SYSTEM_CONFIG_DIR": str(home / "config"), "DVC_SITE_CACHE_DIR": str(home / "site"),
            "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull,
            "GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@example.org",
            "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@example.org",
        }  # fmt: skip
        environment.pop("PYTHONPATH", None)
        return environment

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, cwd=self.study, env=self.environment, capture_output=True, text=True
        )

    def git(self, *arguments: str) -> str:
        done = self.run("git", *arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def dvc(self, *arguments: str) -> str:
        done = self.run(sys.executable, "-m", "dvc", *arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def commit(self, message: str) -> None:
        self.git("add", "--all", str(self.root))
        self.git("commit", "--quiet", "--message", message)

    def copy(self, folder: Path, **changes: object) -> Path:
        """The finished study elsewhere, with other params ("machine__jobs" is machine.jobs)."""
        shutil.copytree(self.study, folder)
        values = params(".")
        for name, value in changes.items():
            change(values, name.replace("__", "."), value)
        write_params(folder, values)
        return folder
