"""What a stage says of bad input: one message, exit code 1, and no file added, changed or lost.

A message is one line; a list of damaged clips has more. Where settings are refused, each mistake
has a line of its own, and the last says how to undo it. A stage may first say how many runs or base
models there are to learn.
"""

import contextlib
import re
import runpy
import sys
from pathlib import Path
from unittest import mock

import pytest
from tiny_study import ROOT, files_in, run_stage

OF_SETTINGS = re.compile(r"error: \S*(params|settings)\.yaml: ")
MISTAKE = re.compile(r"\S*(params|settings)\.yaml: \S.*\.|\.\.\. and \d+ more mistakes\.")
HOW_MANY = re.compile(r"^\d+ (runs|base models), \d+ of them to (learn|train)\n")
UNDO = re.compile(r"Correct it there\. .*`git checkout -- \S.*` undoes it\.")


def lines_of(message: str) -> list[str]:
    """The lines of a message; where settings are refused they have the form that is said above."""
    assert message.startswith("error: ")
    if not OF_SETTINGS.match(message):
        return message.removeprefix("error: ").splitlines()
    lines = message.removeprefix("error: ").split("\n  ")
    assert all(line.isprintable() and line.strip() for line in lines), message
    if len(lines) > 1:
        *mistakes, last = lines
        assert all(map(MISTAKE.fullmatch, mistakes)), message
        assert MISTAKE.fullmatch(last) or UNDO.fullmatch(last), message
    return lines


def assert_refused(study: Path, stage: str, *arguments: str, says: str) -> None:
    """Run the stage as DVC does, in a process of its own."""
    before = files_in(study)
    done = run_stage(study, stage, *arguments)
    assert (done.returncode, done.stdout) == (1, ""), done.stderr
    message = HOW_MANY.sub("", done.stderr.removesuffix("\n"))
    lines = lines_of(message)
    assert len(lines) == 1 or OF_SETTINGS.match(message), done.stderr
    assert any(says in line for line in lines), done.stderr
    assert files_in(study) == before


def refusal(study: Path, stage: str, *arguments: str) -> str:
    """The stage's message; the stage runs in this process, which is faster."""
    before = files_in(study)
    file = ROOT / "pipeline" / f"{stage}.py"
    with (
        mock.patch.object(sys, "argv", [str(file), *arguments]),
        mock.patch.object(sys, "path", [str(file.parent), *sys.path]),
        contextlib.chdir(study),
        pytest.raises(SystemExit) as ended,
    ):
        runpy.run_path(str(file), run_name="__main__")
    assert files_in(study) == before
    message = str(ended.value.code)  # Python prints a text and exits with code 1
    assert lines_of(message)[-1].endswith(".")
    return message
