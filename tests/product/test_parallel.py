"""The same results for any number of jobs; no orphans."""

import contextlib
import gc
import os
import signal
import subprocess
import sys
import textwrap
import time
from types import SimpleNamespace

import pytest
from distributed import KilledWorker

from mtcil.core import progress
from mtcil.core.errors import UserError
from mtcil.running.parallel import run_all
from mtcil.running.run import perform
from mtcil.settings.sections import MachineSettings


def machine(jobs):
    return MachineSettings("cpu", jobs, "loky", None, False)


def square(x):
    return x, x * x


@pytest.mark.parametrize("jobs", [1, 2])
def test_gives_every_result_once(jobs):
    assert sorted(run_all(square, [(i,) for i in range(7)], machine(jobs))) == [
        (i, i * i) for i in range(7)
    ]


def test_a_scheduler_that_does_not_answer_is_named(monkeypatch):
    def refused(address):
        raise OSError(f"Timed out trying to connect to {address} after 30 s")

    monkeypatch.setattr("dask.distributed.Client", refused)
    nowhere = MachineSettings("cpu", 0, "dask", "tcp://login1:8786", False)
    with pytest.raises(UserError, match=r"no Dask scheduler answers at tcp:.*8786. Start it"):
        list(run_all(square, [(1,)], nowhere))


@pytest.fixture
def no_garbage():
    """A dead Client that is collected while another one starts waits for its lock for ever."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_garbage")
@pytest.mark.parametrize("address", ["login1", "http://login1:8786", "tcp://localhost:abc"])
def test_an_address_that_is_none_is_named(address):
    nowhere = MachineSettings("cpu", 0, "dask", address, False)
    with pytest.raises(UserError, match=f"no Dask scheduler answers at {address}"):
        list(run_all(square, [(1,)], nowhere))


def test_workers_that_end_again_and_again_are_a_message(monkeypatch):
    def killed(*_, **__):
        raise KilledWorker("square", SimpleNamespace(address="tcp://a:1"), 3)
        yield

    client = SimpleNamespace(submit=lambda *_, **__: None)
    monkeypatch.setattr("dask.distributed.Client", lambda _: contextlib.nullcontext(client))
    monkeypatch.setattr("dask.distributed.as_completed", killed)
    with pytest.raises(UserError, match=r"the workers of tcp://a:1 .* ended .* Start them again"):
        list(run_all(square, [(1,)], MachineSettings("cpu", 0, "dask", "tcp://a:1", False)))


def fail(x):
    raise ValueError(f"run {x} failed")


@pytest.mark.parametrize("jobs", [1, 2])
def test_an_error_in_a_run_reaches_the_caller(jobs):
    with pytest.raises(ValueError, match="run 0 failed"):
        list(run_all(fail, [(0,)], machine(jobs)))


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_workers_end_when_their_parent_is_killed(tmp_path):
    script = tmp_path / "parent.py"
    script.write_text(
        textwrap.dedent("""
        import os, sys, time
        from pathlib import Path
        from mtcil.running.parallel import run_all
        from mtcil.settings.sections import MachineSettings

        def work(folder):
            (Path(folder) / f"{os.getpid()}.pid").touch()
            time.sleep(60)

        run = run_all(work, [(sys.argv[1],)] * 2, MachineSettings("cpu", 2, "loky", None, False))
        list(run)
        """)
    )
    parent = subprocess.Popen([sys.executable, str(script), str(tmp_path)])
    until = time.monotonic() + 60
    while len(list(tmp_path.glob("*.pid"))) < 2 and time.monotonic() < until:
        time.sleep(0.05)
    workers = [int(f.stem) for f in tmp_path.glob("*.pid")]
    assert len(workers) == 2
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    until = time.monotonic() + 10
    while any(map(alive, workers)) and time.monotonic() < until:
        time.sleep(0.05)
    assert not any(map(alive, workers))


def test_a_worker_whose_parent_was_gone_before_it_looked_ends_at_once():
    code = (
        "import time; from mtcil.core.processes import die_with_parent\n"
        "die_with_parent(1 << 30)\n"
        "time.sleep(60)"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=30).returncode == 1


@pytest.mark.parametrize(
    ("parent", "command", "ends"),
    [
        (1, b"/sbin/init", True),
        (1, None, True),  # no /proc, as on macOS
        (1, b"/venv/bin/python\0-m\0dvc\0repro", False),  # in a container
        (99, b"/usr/lib/systemd/systemd\0--user", True),
        (99, b"bash", False),
    ],
)
def test_a_stage_ends_at_once_if_dvc_was_gone_before_it_looked(tmp_path, parent, command, ends):
    if command:
        (tmp_path / str(parent)).mkdir()
        (tmp_path / str(parent) / "cmdline").write_bytes(command)
    text = (
        "import os, sys; from pathlib import Path; from mtcil.core import processes\n"
        "processes._parent, processes.PROC = int(sys.argv[1]), Path(sys.argv[2])\n"
        "processes.die_with_parent = lambda parent: None\n"
        "os.environ['DVC_STAGE'] = 'learn_steps@words'\n"
        "processes.die_with_dvc()"
    )
    stage = [sys.executable, "-c", text, str(parent), str(tmp_path)]
    done = subprocess.run(stage, capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stderr.startswith("error: DVC has ended")) == (ends, ends)


def test_a_forked_process_watches_for_itself():
    code = (
        "import os, time; from mtcil.core.processes import die_with_parent\n"
        "die_with_parent(os.getppid())\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    die_with_parent(1 << 30)\n"
        "    time.sleep(60)\n"
        "assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=30).returncode == 0


def hears_ctrl_c(x):
    return signal.getsignal(signal.SIGINT)


def test_only_the_first_process_handles_ctrl_c():
    before = signal.getsignal(signal.SIGINT)
    assert list(run_all(hears_ctrl_c, [(0,)], machine(2))) == [signal.SIG_IGN]
    assert signal.getsignal(signal.SIGINT) == before


def test_where_nothing_is_to_do_no_worker_is_started(monkeypatch):
    monkeypatch.setattr("mtcil.running.run.run_all", fail)
    assert list(perform(square, [], machine(2), "runs")) == []
    with pytest.raises(TypeError):  # with a job it is called
        list(perform(square, [3], machine(2), "runs"))


def test_progress_is_silent_where_nobody_watches(capsys):
    assert list(perform(square, [2, 3], machine(1), "runs")) == [(2, 4), (3, 9)]
    assert capsys.readouterr() == ("", "")


def test_progress_shows_how_many_runs_are_done_on_a_terminal(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert list(perform(square, [2, 3], machine(1), "base models")) == [(2, 4), (3, 9)]
    said = capsys.readouterr().err
    assert "base models:   0%" in said and "base models 2/2: 100%" in said


def test_without_a_terminal_progress_is_lines_now_and_then(monkeypatch, capsys):
    assert list(progress.progress(range(3), desc="short")) == [0, 1, 2]
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(progress, "SECONDS", 0.2)
    for _ in progress.progress(range(30), desc="long"):
        time.sleep(0.02)
    lines = capsys.readouterr().err.split("\n")
    assert lines.pop() == "" and all(line.startswith("long: ") for line in lines)
    assert 2 <= len(lines) <= 6 and "30/30" in lines[-1] and "\r" not in "".join(lines)
