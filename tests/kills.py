"""Start stages for real, kill them at random moments, and hold what is left to what must be.

`python tests/kills.py 120` kills 120 times and prints a table; tests use the same in small.
After every kill: no process is left, and what has its final name is whole. Killed and started
again until it ends, a stage leaves the bytes of an undisturbed run (base models of a fleet: equal
up to rounding) and has computed no finished run twice.
"""

import contextlib
import io
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
from tiny_study import Repository, change, files_in, new_repository, params, write_params
from victims import Kill, kill_at, start, wait_for_end

from mtcil.audio.download import size

LEARNING = ("train_base", "learn_steps", "sweep_exemplars")
WITH_WORKERS = (*LEARNING, "probe_base")
# What trains many runs at once on a GPU, on this CPU; pairs, so that kills come between fleets.
AS_FLEETS = """
import mtcil.running.base_jobs, mtcil.running.together
mtcil.running.base_jobs.BaseJob.is_on_gpu = True
mtcil.running.together.MOST = 2
"""
STAGES = ("download", "extract_features", *WITH_WORKERS)
OF_ANY: list[Kill] = [
    ("first", signal.SIGKILL), ("group", signal.SIGINT), ("first", signal.SIGTERM),
    ("group", signal.SIGKILL),
]  # fmt: skip
OF_WORKERS: list[Kill] = [("worker", signal.SIGKILL)]
OF_DVC: list[Kill] = [("stage", signal.SIGKILL), ("stage", signal.SIGTERM)]


@dataclass(frozen=True)
class Case:
    """A stage, and how it is started: by itself or by `dvc repro`.

    Attributes:
        http: it downloads from a SlowServer.
        fleet: it trains its runs in pairs, by vmap.
    """

    stage: str
    jobs: int = 1
    dvc: bool = False
    http: bool = False
    fleet: bool = False

    @property
    def dataset(self) -> str:
        return "gsc" if self.http else "words"

    @property
    def outs(self) -> list[str]:
        """What the stage writes."""
        if self.stage == "download":
            return [f"data/raw/{self.dataset}"]
        made = {"extract_features": "data/features", "train_base": "models/base"}
        folders = [f"{made[self.stage]}/{self.dataset}"] if self.stage in made else []
        return [*folders, f"metrics/records/{self.stage}"]

    @property
    def kills(self) -> list[Kill]:
        has_workers = self.jobs > 1 and self.stage in WITH_WORKERS
        return OF_ANY + (OF_WORKERS if has_workers else []) + (OF_DVC if self.dvc else [])

    def __str__(self) -> str:
        how = f"{'dvc repro ' if self.dvc else ''}{self.stage}{' by HTTP' if self.http else ''}"
        jobs = "as fleets" if self.fleet else f"{self.jobs} job{'s' if self.jobs > 1 else ''}"
        return f"{how}, {jobs}"


DOWNLOAD = Case("download", http=True)
CASES = [
    *(DOWNLOAD, Case("download")),
    *(Case(stage, jobs) for stage in STAGES[1:] for jobs in (1, 2)),
    *(Case(stage, 2, dvc=True) for stage in STAGES),
    *(Case(stage, fleet=True) for stage in reversed(LEARNING)),  # base models last: they change
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
    finished: dict[str, tuple[int, int]] = field(default_factory=dict)  # files: which, when
    to_do: dict[Case, int] = field(default_factory=dict)  # runs or base models, before any kill

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
                self.check_what_is_left(case)
            else:  # it ended first
                self.check_the_end(case)
                self.begin(case)
        process = self.start(case)
        assert process.wait(300) == 0, self.said(case)
        self.check_the_end(case)

    def begin(self, case: Case) -> None:
        """As before the stage's first start."""
        if case not in self.seconds:
            self.clear(case)
            begun = time.monotonic()
            assert self.start(case).wait(300) == 0, self.said(case)
            self.seconds[case] = time.monotonic() - begun
            self.check_the_end(case)
        self.clear(case)

    def clear(self, case: Case) -> None:
        for out in (self.study / path for path in case.outs):
            shutil.rmtree(out) if out.is_dir() else out.unlink(missing_ok=True)
        shutil.rmtree(self.study / ".checkpoints", ignore_errors=True)
        self.finished.clear()
        write_params(self.study, values(case.jobs))

    def start(self, case: Case) -> subprocess.Popen:
        """Start the stage in a session of its own, as a terminal does."""
        if case.dvc:
            self.mend()
        root, environment = self.repository.root, self.repository.environment
        if case.dvc:  # its run cache would bring the outs back without running anything
            name = f"{case.stage}@{case.dataset}"
            command = [sys.executable, "-m", "dvc", "repro", "-s", "--no-run-cache", name]
        else:
            command = [sys.executable, str(root / "pipeline" / f"{case.stage}.py"), case.dataset]
            environment |= {"PYTHONPATH": str(root / "src"), "no_proxy": "127.0.0.1"}
        if before := self.server.before if case.http else AS_FLEETS if case.fleet else "":
            run = f"import runpy, sys\nrunpy.run_path({command[1]!r}, run_name='__main__')"
            command = [sys.executable, "-c", before + run, case.dataset]
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
    def partial(self) -> Path:
        return self.study / ".checkpoints" / "downloads" / "data.tar.gz.part"

    @property
    def log(self) -> Path:
        return self.repository.root.parent / "said.txt"

    def said(self, case: Case) -> str:
        return f"{case} said:\n{self.log.read_text('utf-8')}"

    def start_and_kill(self, case: Case, kill: Kill) -> bool:
        """Whether it could be killed before it ended."""
        come, asked = size(self.partial), len(self.server.requests)
        process = self.start(case)
        killed = kill_at(process, self.rng.uniform(0, self.seconds[case]), kill)
        code = process.wait(60)
        left = wait_for_end(process.pid)
        assert not left, f"{case}, {kill}: {left} are left. {self.said(case)}"
        assert killed or code == 0, self.said(case)
        if come and asked < len(self.server.requests):
            assert self.server.requests[asked]["Range"] == f"bytes={come}-"
        said = self.log.read_text("utf-8")
        assert "Traceback" not in said or kill[1] == signal.SIGINT, f"{kill}: {self.said(case)}"
        if left_to_do := re.search(r"(\d+) of them to (?:train|learn|probe)", said):
            n, folder = (
                int(left_to_do[1]),
                "models" if case.stage == "train_base" else ".checkpoints",
            )
            finished = [name for name in self.finished if name.startswith(folder)]
            assert n <= self.to_do.setdefault(case, n) - len(finished), self.said(case)
        if kill[0] == "worker" and code:  # 0: it had nothing left to do
            assert "error: a worker process ended in the middle" in said, said
        return killed

    def check_what_is_left(self, case: Case) -> None:
        """Under a final name is what an undisturbed run puts there, or nothing."""
        for name, content in self.outs().items():
            if case.fleet and name.endswith(".pt"):  # the company of a run decides its rounding
                mine, other = (model(file) for file in (content, self.expected[name]))
                networks = mine.pop("network"), other.pop("network")
                torch.testing.assert_close(*networks, rtol=1e-3, atol=1e-4)
                assert mine == other, f"{name} says something else of itself"
            elif not Path(name).name.startswith((".", "dvc.lock")):
                assert content == self.expected[name], f"{name} is not whole"
        if size(self.partial):
            assert self.server.content.startswith(self.partial.read_bytes())
        for file in sorted((self.study / ".checkpoints").glob("*.json")):
            assert json.loads(file.read_text("utf-8"))["rows"], f"{file.name} is not whole"
        self.check_finished()

    def check_finished(self) -> None:
        """What was finished is still there, and was not made again."""
        now = {
            file.relative_to(self.study).as_posix(): (file.stat().st_ino, file.stat().st_mtime_ns)
            for pattern in (".checkpoints/*.json", "models/base/*/*/*.pt")
            for file in self.study.glob(pattern)
        }
        lost = {name for name, made in self.finished.items() if now.get(name) != made}
        # A stage removes the files of its runs once it has written their records.
        records = {
            file.parent.name: file.read_text("utf-8")
            for file in self.study.glob("metrics/records/*/*.csv")
        }
        recorded = {
            name
            for name in lost - set(now)
            if any(Path(name).stem in text for text in records.values())
            or ("/probes-" in name and "probe_base" in records)
        }
        assert not lost - recorded, f"{sorted(lost - recorded)} were lost or made again"
        self.finished = now

    def check_the_end(self, case: Case) -> None:
        """Every byte as after an undisturbed run, nothing more, and no litter elsewhere."""
        if case.dvc:  # it has put links to its cache in the place of all files
            self.finished = {}
        self.check_what_is_left(case)
        found = self.outs()
        assert found.keys() == self.expected.keys(), found.keys() ^ self.expected.keys()
        assert found["dvc.lock"] == self.expected["dvc.lock"]
        left = [file for file in (self.study / ".checkpoints").rglob("*") if file.is_file()]
        assert not [file.name for file in left if file.suffix in (".part", ".json", ".validator")]

    def outs(self) -> dict[str, bytes]:
        folders = ("data", "models", "metrics")
        return {
            f"{folder}/{name}": content
            for folder in folders
            for name, content in files_in(self.study / folder).items()
        } | {"dvc.lock": (self.study / "dvc.lock").read_bytes()}


def model(file: bytes) -> dict[str, Any]:
    return torch.load(io.BytesIO(file), weights_only=True)


def values(jobs: int) -> dict[str, Any]:
    """The tiny study's params, with one dataset that is downloaded."""
    values = params("../..")
    change(values, "machine.jobs", jobs)
    words = values["datasets"]["words"]
    values["datasets"]["gsc"] = words | {"kind": "speech_commands"}
    return values


@contextlib.contextmanager
def new_yard(
    root: Path, seed: int, last: Sequence[str] = ("learn_steps", "sweep_exemplars", "probe_base")
) -> Iterator[Yard]:
    """A repository with a copy of this project's code and the tiny study after `dvc repro`.

    Args:
        seed: of the moments of killing.
        last: what is run, with all that it needs.
    """
    repository = new_repository(root, values(1))
    repository.dvc("repro", *(f"{stage}@{Case(stage).dataset}" for stage in last))
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
        print(f"{case:36}{kill:20}{n:4}")
    for command, n in yard.mended.items():
        print(f"needed after a kill of DVC: {command} ({n} times)")
    print(f"{yard.tally.total()} of {n_kills} kills survived")


if __name__ == "__main__":
    main(int(sys.argv[1]))
