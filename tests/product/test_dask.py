"""machine.backend dask, with a real scheduler and real worker processes on loopback."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mtcil.records.tables import write_table
from mtcil.running.base_jobs import Folders, base_jobs
from mtcil.running.parallel import run_all
from mtcil.running.run import train_one_base
from mtcil.settings.files import read_study
from mtcil.settings.sections import MachineSettings

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}


def wait_for(condition, seconds=60):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "waited too long"
        time.sleep(0.05)


@pytest.fixture
def cluster(tmp_path):
    """Address of a scheduler, and two worker processes."""
    file = tmp_path / "scheduler.json"
    dask = [sys.executable, "-m", "dask"]
    options = ["--host", "127.0.0.1", "--no-dashboard"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "env": ENVIRONMENT}
    started = [
        subprocess.Popen(
            [*dask, "scheduler", *options, "--port", "0", "--scheduler-file", str(file)], **quiet
        )
    ]
    wait_for(file.exists)
    address = json.loads(file.read_text())["address"]
    for _ in range(2):
        worker = [*dask, "worker", address, *options, "--nthreads", "1", "--no-nanny"]
        folder = ["--local-directory", str(tmp_path)]
        started.append(subprocess.Popen([*worker, *folder], **quiet))
    yield address, started[1:]
    for process in started:
        process.kill()
        process.wait()


@pytest.fixture
def jobs(tmp_path):
    """Base models of eight seeds, on features made here."""
    study = read_study(ROOT / "demo" / "params.yaml")
    classes = study.datasets["words"].classes
    random = np.random.default_rng(0)
    features_dir = tmp_path / "features"
    features_dir.mkdir()
    np.save(features_dir / "features.npy", random.normal(size=(160, 32, 32)).astype(np.float32))
    rows = [
        {"id": f"{name}/{i}", "class": name, "group": f"g{i}", "fold": 0, "seconds": 1.0}
        for name in classes
        for i in range(20)
    ]
    write_table(features_dir / "clips.csv", rows)
    words = study.datasets["words"]
    words = replace(words, updates=replace(words.updates, base=20))
    fit = replace(study.base_training.fit, patience=None)
    study = replace(
        study, seeds=tuple(range(8)), base_training=replace(study.base_training, fit=fit),
        datasets={"words": words},
    )  # fmt: skip
    folders = Folders(features_dir, tmp_path / "models", tmp_path / "checkpoints")
    return base_jobs(study, "words", [("multitask", "random", study.seeds)], folders, "cpu")


# dask and tornado warn about themselves; what they say is not ours to mend.
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_worker_that_dies_has_its_runs_finished_by_another(cluster, jobs, tmp_path):
    address, workers = cluster
    machine = MachineSettings("cpu", 0, "dask", address, False)
    found = []
    for result in run_all(train_one_base, [(job,) for job in jobs], machine):
        found.append(result)
        if len(found) == 1:
            workers[0].send_signal(signal.SIGKILL)
    made = sorted((job.seed, updates) for job, updates in found)
    assert made == [(seed, 20) for seed in range(8)]
    for job in jobs:
        here = tmp_path / "here" / job.file.name
        train_one_base(replace(job, file=here))
        assert job.file.read_bytes() == here.read_bytes()
