"""Finished runs: whole files, what counts as finished, and that nothing is learnt twice."""

import json
import re
from pathlib import Path

import pandas as pd
import pytest
from tiny_study import files_in, params
from untrained import bases_of, made_study

from mtcil.core.files import file_digest, whole_file, write_text
from mtcil.core.lookup import PACKAGE_DIR, files_reached
from mtcil.records.rows import TABLES
from mtcil.records.tables import known_runs, read_records, write_records
from mtcil.running import run as running
from mtcil.running.jobs import RunJob, Variant, run_jobs
from mtcil.running.keys import code_digest
from mtcil.running.run import forget_checkpoints, learn_all, learn_one_run
from mtcil.settings.files import read_study
from mtcil.settings.sections import MachineSettings


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A study whose runs are learnt, their files of checkpoints and their records."""
    folder = tmp_path_factory.mktemp("finished")
    made_study(folder, params("."))
    jobs = jobs_of(folder)
    rows = learn_all(jobs, machine(), {})
    return folder, {job.key: job.checkpoint.read_bytes() for job in jobs}, rows


@pytest.fixture
def study(finished):
    """The same study with the checkpoints of its runs and no records."""
    folder, checkpoints, _ = finished
    for key, content in checkpoints.items():
        write(folder, key, content)
    for file in (folder / "metrics").rglob("*.csv"):
        file.unlink()
    return folder


def write(folder: Path, key: str, content: bytes) -> None:
    (folder / ".checkpoints" / f"{key}.json").write_bytes(content)


def machine(fresh: bool = False) -> MachineSettings:
    return MachineSettings("cpu", 1, "loky", None, fresh)


def jobs_of(folder: Path, **variant) -> list[RunJob]:
    """Two seeds, from one of the base models."""
    study = read_study(folder / "params.yaml")
    bases = [base for base in bases_of(folder) if base.name.base == "multitask"]
    return run_jobs(study, bases, [Variant(**{"method": "ccil", "exemplars": 12} | variant)])


@pytest.fixture
def learnt(monkeypatch) -> list[int]:
    """Seeds of the runs that were learnt, as they come."""
    seeds = []

    def noted(job):
        seeds.append(job.run.seed)
        return learn_one_run(job)

    monkeypatch.setattr(running, "learn_one_run", noted)
    return seeds


def written(rows, folder: Path, stage: str = "learn_steps") -> dict[str, bytes]:
    """The tables that a stage writes of them."""
    for table in TABLES:
        write_records(folder / "metrics/records" / stage, "words", rows[table], table)
    return files_in(folder / "metrics/records" / stage)


# Finished runs that a killed stage left


def test_finished_runs_are_taken_up_and_give_the_same_bytes(study, finished, learnt):
    _, _, rows = finished
    assert len(finished[1]) == 2
    again = learn_all(jobs_of(study), machine(), {})
    assert learnt == []
    assert written(again, study) == written(rows, study)
    assert [len(rows[table]) for table in TABLES] == [2 * 3, 2 * 6, 2 * 3]
    # The base models are said to be of 2 updates; each step has 2 of the head and 2 of all.
    updates = [(row["updates"], row["phases"]) for row in again["records"]]
    assert updates == [(2, "base:2"), *[(4, "head_first:2 then_all:2")] * 2] * 2


def test_fresh_learns_all_of_them_again(study, finished, learnt):
    again = learn_all(jobs_of(study), machine(fresh=True), {})
    assert learnt == [0, 1]
    assert written(again, study) == written(finished[2], study)


def flipped(content: bytes) -> bytes:
    """Another digit of an accuracy: still JSON, and still an accuracy."""
    place = content.index(b'"accuracy": ') + len(b'"accuracy": ')
    digit = content[place : place + 1]
    return content[:place] + (b"1" if digit != b"1" else b"2") + content[place + 1 :]


def without_a_row(content: bytes) -> bytes:
    saved = json.loads(content)
    saved["rows"]["confusion"].pop()
    return json.dumps(saved).encode()


def without_a_table(content: bytes) -> bytes:
    saved = json.loads(content)
    del saved["rows"]["matrix"]
    return json.dumps(saved).encode()


def without_checksum(content: bytes) -> bytes:
    return json.dumps(json.loads(content)["rows"]).encode()


# What became of the file of a finished run.
DAMAGE = {
    "is empty": lambda content: b"",
    "is half": lambda content: content[: len(content) // 2],
    "lacks its end": lambda content: content[:-1],
    "has a wrong byte": lambda content: content[:-300] + b"\xff" + content[-299:],
    "has a wrong digit": flipped,
    "lacks a row": without_a_row,
    "lacks a table": without_a_table,
    "has no checksum": without_checksum,
    "is zeros": lambda content: bytes(len(content)),
    "is a web page": lambda content: b"<!DOCTYPE html>" * 99,
    "is a list": lambda content: b"[1, 2]",
    "is null": lambda content: b"null",
    "holds nothing": lambda content: b"{}",
    "is nested without end": lambda content: b"[" * 100_000,
    "has text for rows": lambda content: b'{"rows": "records", "checksum": "0"}',
}


@pytest.mark.parametrize("case", DAMAGE)
def test_a_run_with_a_damaged_checkpoint_is_learnt_again_with_the_same_result(
    study, finished, learnt, case
):
    (first, _), (content, _) = jobs_of(study), finished[1].values()
    damaged = DAMAGE[case](content)
    assert damaged != content
    write(study, first.key, damaged)
    again = learn_all(jobs_of(study), machine(), {})
    assert learnt == [0]
    assert written(again, study) == written(finished[2], study)
    assert files_in(study / ".checkpoints") == {f"{k}.json": c for k, c in finished[1].items()}


def test_the_checkpoint_of_another_run_under_this_ones_name_counts_as_none(study, finished, learnt):
    (first, _), (_, of_second) = jobs_of(study), finished[1].values()
    write(study, first.key, of_second)
    learn_all(jobs_of(study), machine(), {})
    assert learnt == [0]


def test_a_checkpoint_of_other_settings_is_not_looked_at(study, finished, learnt):
    learn_all(jobs_of(study, exemplars=5), machine(), {})
    assert learnt == [0, 1]
    names = {path.name for path in (study / ".checkpoints").iterdir()}
    assert names >= {f"{key}.json" for key in finished[1]} and len(names) == 4
    forget_checkpoints(jobs_of(study, exemplars=5))


def test_checkpoints_are_removed_only_on_request(study, finished):
    other = study / ".checkpoints" / "other.json"
    other.write_text("{}")
    first, second = jobs_of(study)
    forget_checkpoints([first])
    forget_checkpoints([first])  # gone already
    assert {path.name for path in other.parent.iterdir()} == {"other.json", f"{second.key}.json"}
    other.unlink()


def test_a_killed_run_leaves_no_half_checkpoint(study, learnt, monkeypatch):
    """A run that ended before is kept."""
    first, second = jobs_of(study)
    forget_checkpoints([first, second])

    def stop_at_the_second(job):
        if job.run.seed == 1:
            raise KeyboardInterrupt
        return learn_one_run(job)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(running, "learn_one_run", stop_at_the_second)
        learn_all([first, second], machine(), {})
    assert [path.name for path in first.checkpoint.parent.iterdir()] == [first.checkpoint.name]
    learn_all([first, second], machine(), {})
    assert learnt == [1]


# Finished runs in the records


def known(folder: Path):
    return known_runs(sorted((folder / "metrics/records").glob("*")), "words")


@pytest.fixture
def recorded(study, finished):
    """The study with records of its runs and no checkpoints."""
    written(finished[2], study)
    forget_checkpoints(jobs_of(study))
    return study


def test_runs_in_the_records_are_finished(recorded, finished, learnt):
    before = written(finished[2], recorded)
    assert written(learn_all(jobs_of(recorded), machine(), known(recorded)), recorded) == before
    assert learnt == []
    learn_all(jobs_of(recorded), machine(fresh=True), known(recorded))
    assert learnt == [0, 1]


def test_the_records_of_another_stage_are_used_under_this_ones_labels(recorded, learnt):
    jobs = jobs_of(recorded, name="ccil again", stopping="3", schedule="small")
    rows = learn_all(jobs, machine(), known(recorded))
    assert learnt == []
    tables = {}
    for stage, of_stage in (("learn_steps", None), ("compare_methods", rows)):
        if of_stage:
            written(of_stage, recorded, stage)
        tables[stage] = read_records(recorded / "metrics/records" / stage, "words")
    labels = {"method": "ccil again", "stopping": "3", "schedule": "small"}
    pd.testing.assert_frame_equal(tables["compare_methods"], tables["learn_steps"].assign(**labels))


def test_a_run_that_two_rows_ask_for_is_learnt_once_and_known_afterwards(study, learnt):
    """Its records are there twice, under two labels, with one key."""
    jobs = jobs_of(study) + jobs_of(study, name="twice")
    forget_checkpoints(jobs)
    before = written(learn_all(jobs, machine(), {}), study, "compare_methods")
    assert learnt == [0, 1]
    forget_checkpoints(jobs)
    assert written(learn_all(jobs, machine(), known(study)), study, "compare_methods") == before
    assert learnt == [0, 1]
    assert len(read_records(study / "metrics/records/compare_methods", "words")) == 4 * 3


def with_accuracy(text: str) -> str:
    return re.sub(r",[\d.]+,([0-9a-f]{16})$", r",1000.0000,\1", text, flags=re.MULTILINE)


def with_another_key(text: str) -> str:
    """Of the last run."""
    return text.replace(text.strip().rpartition(",")[2], "0123456789abcdef")


def without_last_steps(text: str) -> str:
    return "".join(line for line in text.splitlines(keepends=True) if ",2,5," not in line)


# A table of the records, what became of it, and the seeds that are learnt again.
DAMAGED_TABLES = {
    "is gone": ("", None, [0, 1]),
    "is empty": ("", lambda text: "", [0, 1]),
    "is half": ("", lambda text: text[: len(text) // 2], [0, 1]),
    "is a web page": (".matrix", lambda text: "<!DOCTYPE html>", [0, 1]),
    "has another dataset": ("", lambda text: text.replace("words,", "birds,"), [0, 1]),
    "lacks a column": (".confusion", lambda text: text.replace(",key", ",kye", 1), [0, 1]),
    "has no accuracy": ("", lambda text: text.replace("classes_seen", "seen", 1), [0, 1]),
    "lacks a step": ("", lambda text: text[: text.rindex("words,")], [0, 1]),
    "lacks all last steps": (".confusion", without_last_steps, [0, 1]),
    "has counts that cannot be": (".confusion", lambda text: text.replace(";", " "), [0, 1]),
    "has an accuracy of 1000": (".matrix", with_accuracy, [0, 1]),
    "has another key": ("", with_another_key, [1]),
    "is gone, and another is there": (".matrix", None, [0, 1]),
}


@pytest.mark.parametrize("case", DAMAGED_TABLES)
def test_damaged_records_count_as_none_and_are_made_again(recorded, finished, learnt, case):
    suffix, damage, again = DAMAGED_TABLES[case]
    stage = recorded / "metrics/records/learn_steps"
    before, file = files_in(stage), stage / f"words{suffix}.csv"
    text = file.read_text()
    if damage is None:
        file.unlink()
    else:
        assert damage(text) != text
        file.write_text(damage(text))
    rows = learn_all(jobs_of(recorded), machine(), known(recorded))
    assert learnt == again
    assert written(rows, recorded) == before


# Files


def test_the_code_digest_follows_imports():
    base_step = PACKAGE_DIR / "learning" / "base_step.py"
    reached = {f.relative_to(PACKAGE_DIR).as_posix() for f in files_reached([base_step])}
    assert reached >= {
        "learning/base_step.py", "learning/losses.py", "learning/network.py", "learning/fit.py",
        "__init__.py", "learning/__init__.py",
    }  # fmt: skip
    assert "methods/ccil.py" not in reached and "audio/features.py" not in reached
    assert code_digest("learning/base_step.py") != code_digest("records/measures.py")


def test_a_file_appears_whole_or_not_at_all(tmp_path):
    target = tmp_path / "sub" / "x.txt"
    write_text(target, "old\n")
    with pytest.raises(RuntimeError), whole_file(target) as part:
        part.write_text("half")
        assert target.read_text() == "old\n"
        raise RuntimeError
    assert target.read_text() == "old\n"
    assert [f.name for f in target.parent.iterdir()] == ["x.txt"]


def test_file_digest_is_sha256(tmp_path):
    (tmp_path / "x").write_bytes(b"abc")
    assert file_digest(tmp_path / "x").startswith("ba7816bf8f01cfea")
