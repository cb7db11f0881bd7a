"""What a stage says of bad input: one message, exit code 1, and no file added, changed or lost."""

import contextlib
import runpy
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest
from tiny_study import ROOT, files_in, run_stage


def assert_refused(study: Path, stage: str, *arguments: str, says: str) -> None:
    """Run the stage as DVC does, in a process of its own."""
    before = files_in(study)
    done = run_stage(study, stage, *arguments)
    assert (done.returncode, done.stdout) == (1, ""), done.stderr
    lines = done.stderr.splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: "), done.stderr
    assert says in lines[0]
    assert files_in(study) == before


@contextlib.contextmanager
def _own_answer_to_ctrl_c() -> Iterator[None]:
    """A stage that has said all ignores Ctrl-C; the tests must not."""
    before = signal.getsignal(signal.SIGINT)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def refusal(study: Path, stage: str, *arguments: str) -> str:
    """The stage's message; the stage runs in this process, which is faster."""
    before = files_in(study)
    file = ROOT / "pipeline" / f"{stage}.py"
    with (
        mock.patch.object(sys, "argv", [str(file), *arguments]),
        mock.patch.object(sys, "path", [str(file.parent), *sys.path]),
        mock.patch.object(sys, "excepthook", sys.excepthook),
        _own_answer_to_ctrl_c(),
        contextlib.chdir(study),
        pytest.raises(SystemExit) as ended,
    ):
        runpy.run_path(str(file), run_name="__main__")
    assert files_in(study) == before
    message = str(ended.value.code)  # Python prints a text and exits with code 1
    assert message.startswith("error: ") and message.endswith((".", ").", "`."))
    return message
