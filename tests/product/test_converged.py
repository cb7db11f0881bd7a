"""`make converged`: more and fewer updates, judged by validation clips alone."""

import re
from dataclasses import replace

import pytest
from tiny_study import params, run_stage
from untrained import made_study

from mtcil.running import convergence
from mtcil.running.base_jobs import Folders
from mtcil.running.convergence import with_lengths
from mtcil.settings.files import read_study


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("converged")
    values = params(".")
    values["overrides"]["step_training"] |= {"head_first": {"patience": None}}
    values["overrides"]["step_training"] |= {"then_all": {"patience": None}}
    values["overrides"]["base_training"] = {"fit": {"patience": None, "learning_rate": 0.05}}
    made_study(folder, values)
    return folder


def test_all_phases_are_as_long_as_asked_and_test_clips_are_not_touched(
    folder, tmp_path, monkeypatch
):
    learnt, load, follow = [], convergence.load_data, convergence.follow

    def without_test_clips(job):
        data = load(job)
        return replace(data, test=data.test[:0])

    def noted(training):
        learnt.append(follow(training))
        return learnt[-1]

    monkeypatch.setattr(convergence, "load_data", without_test_clips)
    monkeypatch.setattr(convergence, "follow", noted)
    study = read_study(folder / "params.yaml")
    folders = Folders(folder / "data/features/words", tmp_path, folder / ".checkpoints")
    found = with_lengths(study, "words", folders, [7, 8], [1.0, 2.0])
    updates = [[step.updates for step in results] for results in learnt]
    once, twice = (
        [{"base": 4 * n}, *[{"head_first": 2 * n, "then_all": 2 * n}] * 2] for n in (1, 2)
    )
    assert updates == [once, once, twice, twice]
    for length, results in ((1.0, learnt[:2]), (2.0, learnt[2:])):
        assert list(found[length]) == [7, 8]
        for (base, later), steps in zip(found[length].values(), results, strict=True):
            shares = [100 * s.confusion.trace() / s.confusion.sum() for s in steps]
            assert base == shares[0] and later == pytest.approx(sum(shares[1:]) / 2)
    assert not list((folder / ".checkpoints").glob("*"))


def test_the_length_is_a_multiple_of_the_methods_own(folder, tmp_path, monkeypatch):
    study, made = read_study(folder / "params.yaml"), []
    methods = study.methods | {"ccil": study.methods["ccil"] | {"length": 3.0}}
    monkeypatch.setattr(convergence, "perform", lambda _, runs, *__: made.extend(runs) or [])
    folders = Folders(folder / "data/features/words", tmp_path, folder / ".checkpoints")
    with_lengths(replace(study, methods=methods), "words", folders, [7], [0.5, 2.0])
    assert [job.plan.config.length for job in made] == [1.5, 6.0]


def test_the_command_prints_a_line_for_each_length(folder):
    done = run_stage(folder, "_converged")
    assert done.returncode == 0, done.stderr
    *lines, says = done.stdout.splitlines()[2:]
    assert says == "A study trains long enough if 2 x gains nothing."
    lines = [line.split() for line in lines]
    assert [line[:2] for line in lines] == [["words", "0.5"], ["words", "1"], ["words", "2"]]
    accuracy, gain = r"\d+\.\d", r"[+-]\d+\.\d \+- \d+\.\d"
    half, *longer = [" ".join(line[3:]) for line in lines]
    assert re.fullmatch(f"{accuracy} {accuracy}", half)
    assert all(re.fullmatch(f"{accuracy} {gain} {accuracy} {gain}", line) for line in longer)


def test_without_a_single_task_there_is_nothing_to_measure(folder, tmp_path):
    values = params(".")
    del values["base_models"]["words"]["single"]
    made_study(tmp_path, values | {"headline": "multitask", "tunings": {}, "base_probes": {}})
    done = run_stage(tmp_path, "_converged")
    assert done.returncode != 0 and "base_models.words has no row single" in done.stderr
    assert "Traceback" not in done.stderr
