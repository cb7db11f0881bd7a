"""Faults of the machine end a stage with one line, leave what was there, and pass."""

import ast
import contextlib
import errno
import os
import re
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import NETWORK
from kills import DOWNLOAD, Case, new_yard
from local_server import CONTENT, Server, break_off
from tiny_study import ROOT, change, files_in, params, run_stage, write_params
from victims import child_of, start, wait_for_end

from mtcil.audio.provide import fetch
from mtcil.core.errors import errors_as_one_line, fault_of_machine
from mtcil.core.files import whole_file, write_text
from mtcil.core.lookup import PACKAGE_DIR
from mtcil.learning.network import Network
from mtcil.running.models import save_model
from mtcil.running.parallel import run_all
from mtcil.settings.sections import MachineSettings

KEPT = "Finished work is kept"
FROM_BASES = (
    "exemplar_sweeps", "loss_ablations", "epoch_sweeps", "heads_timings", "tunings", "comparisons",
    "base_probes",
)  # fmt: skip
DIES_BEFORE_ITS_RECORDS = """
import os
import mtcil.records.tables
mtcil.records.tables.write_records = lambda *_: os._exit(9)
"""


def machine(jobs: int) -> MachineSettings:
    return MachineSettings("cpu", jobs, "loky", None, False)


# --- killed


@pytest.mark.slow
def test_some_kills_lose_nothing_and_leave_nobody(tmp_path):
    ctrl_c, everyone = ("group", signal.SIGINT), ("group", signal.SIGKILL)
    first, worker, stage = ((whom, signal.SIGKILL) for whom in ("first", "worker", "stage"))
    plan = {
        DOWNLOAD: [first, ctrl_c, everyone],
        Case("extract_features", 2): [ctrl_c, first, ("first", signal.SIGTERM)],
        Case("learn_steps", 2): [worker, ctrl_c, everyone],
        Case("train_base", dvc=True): [first, stage, ctrl_c],
        Case("learn_steps", fleet=True): [first, ctrl_c],
    }
    with new_yard(tmp_path / "project", seed=0, last=("learn_steps",)) as yard:
        for case, kills in plan.items():
            yard.seconds[case] = 3.0  # or so: what ends sooner is started again
            yard.survive(case, len(kills), kills)
    print(f"{yard.tally.total()} kills survived")


@pytest.mark.slow
def test_a_stage_and_its_workers_end_without_dvc(extracted):
    values = params(".")
    change(values, "machine.jobs", 2)
    change(values, "datasets.words.updates.base", 100_000)
    change(values, "base_training.fit.patience", None)
    write_params(extracted, values)
    as_dvc = "import subprocess, sys; subprocess.run([sys.executable, *sys.argv[1:]])"
    stage = [str(ROOT / "pipeline" / "train_base.py"), "words"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "DVC_STAGE": "train_base"}
    command = [sys.executable, "-c", as_dvc, *stage]
    first = start(command, extracted, environment, extracted / "said.txt")
    while child_of(first.pid, "worker") is None:
        assert first.poll() is None, (extracted / "said.txt").read_text()
    first.kill()
    first.wait()
    assert wait_for_end(first.pid) == []


def test_a_temporary_file_of_a_killed_process_goes_with_the_next_write_of_that_name(tmp_path):
    code = (
        "import os, sys; from pathlib import Path; from mtcil.core.files import part_file\n"
        "with part_file(Path(sys.argv[1]), 'x.csv') as part: os._exit(9)\n"
    )
    assert subprocess.run([sys.executable, "-c", code, tmp_path]).returncode == 9
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(".x.csv.") and left.suffix == ".part"
    others = [".x.csv.b.12345678.part", ".y.csv.12345678.part"]  # perhaps in use
    for name in others:
        (tmp_path / name).touch()
    write_text(tmp_path / "x.csv", "x")
    assert sorted(file.name for file in tmp_path.iterdir()) == [*others, "x.csv"]


# --- no room


def model(channels: int) -> Network:
    settings = replace(NETWORK, channels=(4, 4, 4, channels))
    return Network(settings, 2, torch.Generator().manual_seed(0))


def test_earlier_files_survive_a_full_disk(tmp_path):
    save_model(model(4), 1, "key", tmp_path / "x.pt")
    before = files_in(tmp_path)
    with pytest.raises(OSError) as caught, limited_files(20_000):
        save_model(model(400), 1, "key", tmp_path / "x.pt")
    assert caught.value.filename == str(tmp_path / "x.pt")
    assert files_in(tmp_path) == before


@contextlib.contextmanager
def limited_files(n_bytes: int):
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture
def extracted(tmp_path) -> Path:
    """As after extract_features, with older records: noise as features of 12 clips per word."""
    values = params(".")
    words = values["datasets"]["words"]["classes"]
    write_params(tmp_path, values)
    folder = tmp_path / "data" / "features" / "words"
    folder.mkdir(parents=True)
    noise = np.random.default_rng(0).normal(size=(12 * len(words), 32, 32))
    np.save(folder / "features.npy", noise.astype(np.float32))
    rows = [f"{word}/{i},{word},{i},0,1.0" for word in words for i in range(12)]
    (folder / "clips.csv").write_text("\n".join(["id,class,group,fold,seconds", *rows, ""]))
    for stage in ("train_base", "learn_steps"):
        write_text(tmp_path / "metrics" / "records" / stage / "words.csv", "old\n")
    return tmp_path


def assert_fails(study: Path, stage: str, says: str, before: str = "") -> None:
    """A stage says how much it has to do, ends with one line, and leaves the files as they were."""
    there = files_in(study)
    done = run_stage(study, stage, "words", before=before)
    assert (done.returncode, done.stdout) == (1, ""), done.stderr
    to_do, error = done.stderr.splitlines()
    assert re.fullmatch(r"6 (base models|runs), 6 of them to (train|learn)", to_do), to_do
    assert error.startswith("error: ") and says in error and KEPT in error, error
    assert files_in(study) == there


def assert_works(study: Path, stage: str) -> None:
    done = run_stage(study, stage, "words")
    assert done.returncode == 0, done.stderr
    rows = (study / f"metrics/records/{stage}/words.csv").read_text().splitlines()[1:]
    assert len(rows) == (6 if stage == "train_base" else 18)  # of each run and step


@pytest.mark.slow
def test_a_stage_on_a_full_disk_says_so_and_works_when_there_is_room(extracted):
    values = params(".")
    change(values, "machine.jobs", 2)  # the limit is handed down to workers
    write_params(extracted, values)
    limit = "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))"
    for stage in ("train_base", "learn_steps"):
        assert_fails(extracted, stage, "File too large. Make room and run it again", limit)
        assert_works(extracted, stage)


@pytest.mark.slow
@pytest.mark.parametrize("options", ["size=4k", "ro"])
def test_a_full_and_a_read_only_file_system_have_their_own_messages(extracted, options):
    place = extracted / "models"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("only root may mount here, and not in every container")
    try:
        says = "No space left on device. Make room" if options != "ro" else "Read-only file system"
        assert_fails(extracted, "train_base", says)
    finally:
        subprocess.run(["umount", str(place)], check=True)


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried"), "the GPU has not enough memory"),
        (MemoryError("Unable to allocate memory"), "Lower machine.jobs"),
        (OSError(errno.EMFILE, "Too many open files", "a"), "a: Too many open files. Put that ri"),
        (OSError(errno.EACCES, "Permission denied", "a"), "Make it writable"),
        (RuntimeError("CUDA error: unknown"), "the GPU failed"),
    ],
)
def test_the_advice_fits_the_fault(error, says):
    assert says in fault_of_machine(error)


@pytest.mark.slow
def test_a_file_where_a_folder_should_be_is_named(extracted):
    for stage, folder in [
        ("train_base", "models/base/words/single-random"), ("learn_steps", ".checkpoints"),
    ]:  # fmt: skip
        place = extracted / folder
        write_text(place, "mine")
        assert_fails(extracted, stage, f"{folder}: File exists. Put that right")
        assert place.read_text() == "mine"
        place.unlink()
        assert_works(extracted, stage)


# --- no memory, no GPU, no worker


def killed(x: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def too_large(x: int) -> None:
    torch.empty(10**14)


def too_large_for_numpy(x: int) -> None:
    np.ones(10**14)


def gpu_full(x: int) -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has ...")


def gpu_lost(x: int) -> None:
    raise RuntimeError("CUDA error: unspecified launch failure\nCUDA kernel errors might be ...")


def wrong(x: int) -> None:
    raise RuntimeError("mat1 and mat2 shapes cannot be multiplied (2x3 and 4x5)")


@pytest.mark.parametrize(
    ("jobs", "fault", "says"),
    [
        (2, killed, r"a worker process ended .* \(.*SIGKILL\(-9\).*\).* lower machine\.jobs"),
        (1, too_large, r"not enough memory .*allocate memory.* Lower machine\.jobs"),
        (1, too_large_for_numpy, r"not enough memory \(Unable to allocate"),
        (
            2,
            gpu_full,
            r"not enough memory \(CUDA out of memory.*Free it, or set machine\.device: cpu",
        ),
        (
            1,
            gpu_lost,
            r"GPU failed \(CUDA error: unspecified launch failure\).* machine\.device: cpu",
        ),
    ],
)
def test_a_fault_in_a_run_is_one_line_that_says_what_to_do(jobs, fault, says):
    with pytest.raises(SystemExit, match=rf"^error: .*{says}.*{KEPT}[^\n]*$"), errors_as_one_line():
        list(run_all(fault, [(0,), (1,)], machine(jobs)))


def test_a_fault_of_the_program_keeps_its_traceback():
    with pytest.raises(RuntimeError, match="mat1 and mat2"), errors_as_one_line():
        list(run_all(wrong, [(0,)], machine(1)))
    with pytest.raises(FileNotFoundError), errors_as_one_line():
        Path("there is no such file").read_text()


# --- the clock


@pytest.mark.parametrize("when", [0, 4_000_000_000], ids=["1970", "2096"])
def test_the_clock_does_not_matter_to_temporary_files(tmp_path, when):
    with whole_file(tmp_path / "x") as part:
        os.utime(part, (when, when))
        write_text(tmp_path / "y", "y")
        assert part.exists()
    assert {file.name for file in tmp_path.iterdir()} == {"x", "y"}


@pytest.mark.slow
@pytest.mark.parametrize("when", [0, 4_000_000_000], ids=["1970", "2096"])
def test_the_clock_does_not_matter_to_what_is_finished(extracted, when):
    values = params(".")
    values["base_models"] = {"words": {"multitask": {"heads": "3-2"}}}
    values |= {section: {} for section in FROM_BASES}
    write_params(extracted, values)
    clock = f"import time\ntime.time = lambda: {2_000_000_000.0 - when}"
    for stage, what in [("train_base", "base models"), ("learn_steps", "runs")]:
        done = run_stage(extracted, stage, "words", before=DIES_BEFORE_ITS_RECORDS)
        assert done.returncode == 9 and f"2 {what}, 2 of them" in done.stderr, done.stderr
        for file in extracted.rglob("*"):
            os.utime(file, (when, when))
        done = run_stage(extracted, stage, "words", before=clock)
        assert done.returncode == 0 and f"2 {what}, 0 of them" in done.stderr, done.stderr


@pytest.mark.parametrize("when", [0, 4_000_000_000], ids=["1970", "2096"])
def test_the_clock_does_not_matter_to_downloads(tmp_path, server: Server, when):
    break_off(server, tmp_path, 300_000)
    for file in (tmp_path / "partial").iterdir():
        os.utime(file, (when, when))
    archive = fetch(server.source(), tmp_path / "out", tmp_path / "partial")
    assert server.requests[-1]["Range"] == "bytes=300000-"
    assert archive.read_bytes() == CONTENT


def test_no_code_asks_what_time_it_is():
    files = [*PACKAGE_DIR.rglob("*.py"), *(ROOT / "pipeline").glob("*.py")]
    said = {
        (file.name, ast.unparse(node))
        for file in files
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(node, ast.Attribute | ast.alias)
    }
    asks = ("time.time", "datetime", "datetime.datetime")
    of_files = ("st_mtime", "st_ctime", "st_mtime_ns")
    assert {one for one in said if one[1] in asks or one[1].endswith(of_files)} == set()
