"""A study so small that all its stages together take seconds, and a way to run one stage."""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from mtcil.settings.files import SHARED

ROOT = Path(__file__).resolve().parents[1]
# This repository's own studies, as README lists them; users may have others.
STUDIES = [
    ROOT / name.rstrip("/")
    for name in re.findall(
        r"^\| `(\.|demo/|studies/\w+)` \|", (ROOT / "README.md").read_text("utf-8"), re.M
    )
    if (ROOT / name / "params.yaml").is_file()  # `make mutants` copies few
]


def params(root: str) -> dict[str, Any]:
    """The demo's params.yaml, cut down: five words, two seeds, a few updates.

    Args:
        root: where the code is, from the study; "." for a study that only this file's functions
            run, which takes the settings of this checkout.
    """
    values = yaml.safe_load((ROOT / "demo" / "params.yaml").read_text("utf-8"))
    words = values["datasets"]["words"] | {
        "classes": ["yes", "no", "up", "down", "left"], "clips_per_class": 24, "steps": [3, 1, 1],
        "exemplars": 12, "network": "tiny",
        "updates": {"base": 4, "head_first": 2, "then_all": 2, "compare": 4},
    }  # fmt: skip
    values |= {
        "root": root,
        "settings": str(ROOT / "settings.yaml") if root == "." else f"{root}/settings.yaml",
        "seeds": [0, 1],
        "shown": "words",
        "datasets": {"words": words},
        "base_models": {
            "words": {
                "single": {"heads": "3"},
                "multitask": {"heads": "3-2"},
                "single_longer": {"heads": "3", "control": "longer"},
            }
        },
        "exemplar_sweeps": {"words": {"bases": ["multitask"], "exemplars": [5, 12]}},
        "loss_ablations": {"words": {"bases": ["multitask"], "losses": ["CE_N", "CE_N+CE_O"]}},
        "epoch_sweeps": {
            "words": {
                "bases": ["multitask"], "schedules": ["two_step", "small"], "epochs": [None, 2],
                "seeds": [0],
            }
        },
        "tunings": {"words": {"base": "single", "seeds": [100], "methods": ["replay"]}},
        "comparisons": {"words": {"bases": ["multitask"], "methods": ["ccil", "replay", "icarl"]}},
        "base_probes": {"words": {"bases": ["single", "multitask"]}},
        "heads_timings": {"words": {"heads": ["3", "3-2"], "rounds": 1}},
        "overrides": {
            "networks": {
                "tiny": {
                    "channels": [4, 4], "kernels": [3, 3], "strides": [2, 2], "pools": [2, 1],
                    "dropout": 0.5,
                }
            },
            "step_training": {"frozen_blocks": 1},
            "base_training": {"multitask_rate": 0.05},  # so that a few updates tell bases apart
            "comparison": {
                "training": {"frozen_blocks": 1},
                "grids": {"replay": {"learning_rate": [0.01, 0.05]}},
            },
        },
    }  # fmt: skip
    values["machine"] |= {"device": "cpu", "jobs": 1}
    return values


def change(values: dict[str, Any], place: str, value: object) -> None:
    """Set `values["a"]["b"]` for the place "a.b"; of settings.yaml it becomes an override."""
    *sections, last = place.split(".")
    if sections[:1] and sections[0] in SHARED:
        sections.insert(0, "overrides")
    elif not sections and last in SHARED:
        sections = ["overrides"]
    for section in sections:
        if not isinstance(values.get(section), dict):
            values[section] = {}
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

    def clone(self, root: Path, cache: bool) -> "Repository":
        """A fresh clone: no checkpoints, and what DVC keeps only with this one's cache."""
        self.git("clone", "--quiet", "--branch", "main", str(self.root), str(root))
        clone = Repository(root)
        if cache:
            clone.dvc("config", "--local", "cache.dir", str(self.root / ".dvc" / "cache"))
            clone.dvc("checkout", "dvc.yaml")
        return clone

    def params(self) -> dict[str, Any]:
        return yaml.safe_load((self.study / "params.yaml").read_text("utf-8"))

    def copy(self, folder: Path, **changes: object) -> Path:
        """The finished study elsewhere, with other params ("machine__jobs" is machine.jobs)."""
        shutil.copytree(self.study, folder)
        values = self.params() | {"root": ".", "settings": str(self.root / "settings.yaml")}
        for name, value in changes.items():
            change(values, name.replace("__", "."), value)
        write_params(folder, values)
        return folder


def new_repository(root: Path, values: dict[str, Any]) -> Repository:
    """A repository in an empty folder with this project's code and a study that never ran.

    Args:
        values: of the study's params.yaml.
    """
    without = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for folder in ("src", "pipeline", ".dvc/plots", ".dvc/page"):
        shutil.copytree(ROOT / folder, root / folder, ignore=without)
    for name in (
        *("settings.yaml", ".gitignore", ".dvcignore", ".dvc/.gitignore", ".dvc/config"),
        *("dvc.yaml", "params.yaml"),
    ):
        shutil.copyfile(ROOT / name, root / name)
    repository = Repository(root)
    repository.study.mkdir(parents=True)
    shutil.copyfile(ROOT / "dvc.yaml", repository.study / "dvc.yaml")
    write_params(repository.study, values)
    for name in values["datasets"]:
        list_file = repository.study / "sources" / f"{name}.csv"
        list_file.parent.mkdir(exist_ok=True)
        list_file.write_text("name,bytes,checksum\n", "utf-8")
    repository.git("init", "--quiet", "--initial-branch=main", str(root))
    return repository
