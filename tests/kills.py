"""Start stages for real, kill them at random moments, and hold what is left to what must be.

`python tests/kills.py 120` kills 120 times and prints a table; tests use the same in small.
After every kill: no process is left, and what has its final name is whole. Killed and started
again until it ends, a stage leaves the bytes of an undisturbed run and has computed no finished
run twice.
"""

import contextlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from slow_server import SlowServer
from tiny_study import ROOT, Repository, change, files_in, params, write_params
from victims import Kill, kill_at, start, wait_for_end

from mtcil.resume import Partial

LEARNING = ("train_base", "learn_steps", "sweep_exemplars")
STAGES = ("download", "extract_features", *LEARNING)
OF_ANY: list[Kill] = [
    ("first", signal.SIGKILL), ("group", signal.SIGINT), ("first", signal.SIGTERM),
    ("group", signal.SIGKILL),
]  # fmt: skip
OF_WORKERS: list[Kill] = [("worker", signal.SIGKILL)]
OF_DVC: list[Kill] = [("stage", signal.SIGKILL), ("stage", signal.SIGTERM)]


def came_first(said: str) -> bool:
    """Whether Ctrl-C came before `_study` could say what is to be printed then.

    That is while Python itself starts, or imports the file that prints it.
    """
    frames = re.findall(r'File ".*/(?:pipeline|mtcil)/(\w+)\.py", line', said)
    begun = set(frames) - {*STAGES, "_learn", "_study", "errors", "__init__"}
    return said.rstrip().endswith("KeyboardInterrupt") and not begun


@dataclass(frozen=True)
class Case:
    """A stage, and how it is started: by itself or by `dvc repro`; `http`: see SlowServer."""

    stage: str
    jobs: int = 1
    dvc: bool = False
    http: bool = False

    @property
    def row(self) -> str:
        return "gsc" if self.http else "words_3-2" if self.stage in LEARNING else "words"

    @property
    def outs(self) -> list[str]:
        """What the stage writes."""
        row = self.row
        if self.stage == "download":
            return [f"data/raw/{row}"]
        if self.stage == "extract_features":
            return [f"data/features/{row}", f"metrics/records/datasets/{row}.json"]
        folders = ["models"] if self.stage == "train_base" else []
        return [f"{folder}/{row}" for folder in [*folders, f"metrics/records/{self.stage}"]]

    @property
    def kills(self) -> list[Kill]:
        has_workers = self.jobs > 1 and self.stage != "download"
        return OF_ANY + (OF_WORKERS if has_workers else []) + (OF_DVC if self.dvc else [])

    def __str__(self) -> str:
        how = f"{'dvc repro ' if self.dvc else ''}{self.stage}{' by HTTP' if self.http else ''}"
        return f"{how}, {self.jobs} job{'s' if self.jobs > 1 else ''}"


DOWNLOAD = Case("download", http=True)
CASES = [
    *(DOWNLOAD, Case("download")),
    *(Case(stage, jobs) for stage in STAGES[1:] for jobs in (1, 2)),
    *(Case(stage, 2, dvc=True) for stage in STAGES),
]


@dataclass
class Yard:
    """A study that ran once undisturbed, and the place to kill its stages in."""

    repository: Repository
    server: SlowServer
    expected: dict[str, bytes]
    rng: random.Random
    seconds: dict[Case, float] = field(default_factory=dict)  # of an undisturbed start
    tally: Counter[tuple[str, str]] = field(default_factory=Counter)
    mended: Counter[str] = field(default_factory=Counter)
    finished: dict[str, tuple[int, int]] = field(default_factory=dict)  # checkpoints: what, when
    steps: dict[str, int] = field(default_factory=dict)  # of half-finished runs: how many

    @property
    def study(self) -> Path:
        return self.repository.study

    def survive(self, case: Case, n_kills: int, kills: list[Kill] | None = None) -> None:
        """Kill a stage `n_kills` times, and see it end well each time it is let.

        Raises:
            AssertionError: something is not as it must be; says what.
        """
        kills = kills or case.kills
        self.begin(case)
        killed = 0
        while killed < n_kills:
            kill = kills[killed % len(kills)]
            if self.start_and_kill(case, kill):
                killed += 1
                self.tally[str(case), f"{kill[1].name} to {kill[0]}"] += 1
                self.check_what_is_left()
            else:  # it ended first
                self.check_the_end()
                self.begin(case)
        process = self.start(case)
        assert process.wait(300) == 0, self.said(case)
        self.check_the_end()

    def begin(self, case: Case) -> None:
        """As before the stage's first start."""
        if case not in self.seconds:
            self.begin_anew(case)
            begun = time.monotonic()
            assert self.start(case).wait(300) == 0, self.said(case)
            self.seconds[case] = time.monotonic() - begun
            self.check_the_end()
        self.begin_anew(case)

    def begin_anew(self, case: Case) -> None:
        for out in (self.study / path for path in case.outs):
            shutil.rmtree(out) if out.is_dir() else out.unlink(missing_ok=True)
        shutil.rmtree(self.study / ".checkpoints", ignore_errors=True)
        self.finished.clear()
        self.steps.clear()
        write_params(self.study, values(case.jobs))

    def start(self, case: Case) -> subprocess.Popen:
        """Start the stage in a session of its own, as a terminal does."""
        if case.dvc:
            self.mend()
        root, environment = self.repository.root, self.repository.environment
        if case.dvc:  # its run cache would bring the outs back without running anything
            name = f"{case.stage}@{case.row}"
            command = [sys.executable, "-m", "dvc", "repro", "-s", "--no-run-cache", name]
        else:
            command = [sys.executable, str(root / "pipeline" / f"{case.stage}.py"), case.row]
            environment |= {"PYTHONPATH": str(root / "src"), "no_proxy": "127.0.0.1"}
        if case.http:
            run = f"import runpy, sys\nrunpy.run_path({command[1]!r}, run_name='__main__')"
            command = [sys.executable, "-c", self.server.before + run, case.row]
            environment["PYTHONPATH"] += f"{os.pathsep}{root / 'pipeline'}"
        return start(command, self.study, environment, self.log)

    def mend(self) -> None:
        """What a person must do for DVC, which does not write these two files whole (README)."""
        lock = self.repository.root / ".dvc" / "tmp" / "rwlock"
        try:
            json.loads(lock.read_text("utf-8"))
        except ValueError:
            lock.unlink()
            self.mended["rm .dvc/tmp/rwlock"] += 1
        except FileNotFoundError:
            pass
        file = self.study / "dvc.lock"
        if not file.exists() or file.read_bytes() != self.expected["dvc.lock"]:
            file.write_bytes(self.expected["dvc.lock"])
            self.mended["git checkout -- dvc.lock"] += 1

    @property
    def partial(self) -> Partial:
        return Partial(self.study / ".checkpoints" / "downloads" / "data.tar.gz.part")

    @property
    def log(self) -> Path:
        return self.repository.root.parent / "said.txt"

    def said(self, case: Case) -> str:
        return f"{case} said:\n{self.log.read_text('utf-8')}"

    def start_and_kill(self, case: Case, kill: Kill) -> bool:
        """Whether it could be killed before it ended."""
        come, asked = self.partial.size(), len(self.server.requests)
        process = self.start(case)
        killed = kill_at(process, self.rng.uniform(0, self.seconds[case]), kill)
        code = process.wait(60)
        left = wait_for_end(process.pid)
        assert not left, f"{case}, {kill}: {left} are left. {self.said(case)}"
        assert killed or code == 0, self.said(case)
        if come and asked < len(self.server.requests):
            assert self.server.requests[asked]["Range"] == f"bytes={come}-"
        said = self.log.read_text("utf-8")
        assert "Traceback" not in said or came_first(said), f"{kill}: {self.said(case)}"
        if kill[0] == "worker" and code:  # 0: it had nothing left to do
            assert "error: a worker process ended in the middle" in said, said
        return killed

    def check_what_is_left(self) -> None:
        """Under a final name stands what an undisturbed run puts there, or nothing."""
        for name, content in self.outs().items():
            if not Path(name).name.startswith((".", "tmp", "dvc.lock")):  # pooch's are called tmp
                assert content == self.expected[name], f"{name} is not whole"
        if self.partial.size():
            assert self.server.content.startswith(self.partial.path.read_bytes())
        for file in sorted((self.study / ".checkpoints").glob("*.pt")):
            self.check_checkpoint(file)

    def check_checkpoint(self, file: Path) -> None:
        """It is whole; it was not made again; it has no fewer steps than before."""
        content = torch.load(file, weights_only=True)
        made = file.stat().st_ino, file.stat().st_mtime_ns
        n_steps = len(content["results"]) if "results" in content else 3
        assert n_steps >= self.steps.get(file.name, 0), f"{file.name} lost steps"
        self.steps[file.name] = n_steps
        if n_steps == 3:
            assert self.finished.setdefault(file.name, made) == made, f"{file.name} was made again"

    def check_the_end(self) -> None:
        """Every byte as after an undisturbed run, nothing more, and no litter elsewhere."""
        self.check_what_is_left()
        found = self.outs()
        assert found.keys() == self.expected.keys(), found.keys() ^ self.expected.keys()
        assert found["dvc.lock"] == self.expected["dvc.lock"]
        assert not list((self.study / ".checkpoints").rglob(".*.part"))

    def outs(self) -> dict[str, bytes]:
        folders = ("data", "models", "metrics")
        return {
            f"{folder}/{name}": content
            for folder in folders
            for name, content in files_in(self.study / folder).items()
        } | {"dvc.lock": (self.study / "dvc.lock").read_bytes()}


def values(jobs: int) -> dict[str, Any]:
    """The tiny study's params, with one dataset that is downloaded."""
    values = params("../..")
    change(values, "machine.jobs", jobs)
    words = values["datasets"]["words"]
    values["datasets"]["gsc"] = words | {"kind": "speech_commands"}
    return values


@contextlib.contextmanager
def new_yard(
    root: Path, seed: int, last: Sequence[str] = ("learn_steps", "sweep_exemplars")
) -> Iterator[Yard]:
    """A repository with a copy of this project's code and the tiny study after `dvc repro`.

    Args:
        seed: of the moments of killing.
        last: what is run, with all that it needs.
    """
    without = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for folder in ("src", "pipeline"):
        shutil.copytree(ROOT / folder, root / folder, ignore=without)
    repository = Repository(root)
    repository.study.mkdir(parents=True)
    (root / ".dvc").mkdir()
    for name in (".gitignore", ".dvcignore", ".dvc/config"):
        shutil.copyfile(ROOT / name, root / name)
    shutil.copyfile(ROOT / "dvc.yaml", repository.study / "dvc.yaml")
    write_params(repository.study, values(1))
    repository.git("init", "--quiet", "--initial-branch=main", str(root))
    repository.dvc("repro", *(f"{stage}@{Case(stage).row}" for stage in last))
    with SlowServer() as server:
        yard = Yard(repository, server, {}, random.Random(seed))
        assert yard.start(DOWNLOAD).wait(60) == 0, yard.said(DOWNLOAD)
        yard.expected = yard.outs()
        yield yard


def main(n_kills: int, seed: int = 0) -> None:
    """Spread the kills over all cases, print what became of them."""
    with (
        tempfile.TemporaryDirectory() as folder,
        new_yard(Path(folder) / "project", seed) as yard,
    ):
        for i, case in enumerate(CASES):
            n = n_kills // len(CASES) + (i < n_kills % len(CASES))
            if n:
                yard.survive(case, n)
                print(f"{case}: {n} of {n} kills survived", flush=True)
    for (case, kill), n in sorted(yard.tally.items()):
        print(f"{case:34}{kill:20}{n:4}")
    for command, n in yard.mended.items():
        print(f"needed after a kill of DVC: {command} ({n} times)")
    print(f"{yard.tally.total()} of {n_kills} kills survived")


if __name__ == "__main__":
    main(int(sys.argv[1]))
