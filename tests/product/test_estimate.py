"""`make estimate`: what a study costs, before anything of it is there."""

import re
from dataclasses import replace
from types import SimpleNamespace

import pytest
from tiny_study import ROOT, files_in, params, run_stage, write_params
from untrained import bases_of, made_study

from mtcil.running import estimate
from mtcil.running.estimate import Cost, cost_of, print_costs, seconds_of, sum_of
from mtcil.running.jobs import Variant, run_jobs
from mtcil.settings.files import read_study


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("estimate")
    made_study(folder, params("."))
    return read_study(folder / "params.yaml"), bases_of(folder)


def test_costs_by_hand(study, monkeypatch):
    study, bases = study
    singles = [base for base in bases if base.name.base == "single"]
    variants = [Variant("ccil", 12), Variant("replay", 12), Variant("replay", 16)]
    runs = run_jobs(study, singles, variants)
    timed = []
    monkeypatch.setattr(estimate, "seconds_of", lambda job, *_: timed.append(job) or 3.0)
    # Two seeds of 4 updates; two seeds, three variants, two steps of 2 + 2 updates.
    assert cost_of(singles, None, study.machine) == Cost(2, 2 * 4, 2 * 3.0)
    assert cost_of(runs, None, study.machine) == Cost(6, 6 * 2 * 4, 6 * 3.0)
    assert len(timed) == 1 + 2  # each kind of run once, whatever the number of exemplars
    assert sum_of([Cost(1, 2, 3.0), Cost(10, 20, 30.0)]) == Cost(11, 22, 33.0)


def test_kinds_are_timed_side_by_side_as_runs_are_trained(study, monkeypatch):
    study, bases = study
    asked = []

    def run_all(function, tasks, machine):
        asked.append((len(tasks), machine))
        return [function(*task) for task in tasks]

    monkeypatch.setattr(estimate, "seconds_of", lambda *_: 1.0)
    monkeypatch.setattr(estimate, "run_all", run_all)
    cost_of(bases, None, study.machine)
    assert asked == [(len({base.name for base in bases}), study.machine)]


def test_base_models_and_runs_are_counted_once_by_the_first_stage_that_needs_them(
    study, monkeypatch, capsys
):
    study, bases = study
    monkeypatch.setattr(estimate, "seconds_of", lambda *_: 3600.0)
    singles = [base for base in bases if base.name.base == "single"]
    runs = run_jobs(study, singles, [Variant("ccil", 12)])
    stages = [
        SimpleNamespace(__name__=name, SECTION="base_models", jobs=lambda *_, jobs=jobs: jobs)
        for name, jobs in (("one", singles[:1]), ("two", runs), ("three", runs))
    ]
    print_costs(study, stages)
    lines = [line.split() for line in capsys.readouterr().out.splitlines()[1:]]
    # Two base models of 4 updates; two runs of 2 steps of 4: `two` trains the second base itself.
    assert [line[-3:] for line in lines] == [
        ["1", "4", "1.00"], ["3", "20", "3.00"], ["0", "0", "0.00"], ["4", "24", "4.00"],
    ]  # fmt: skip


@pytest.mark.parametrize("method", ["ccil", "generative_replay"])
def test_each_phase_of_a_step_is_timed_and_scaled(study, monkeypatch, method):
    """A clock that gives a second per update: a run takes as many as it has updates."""
    study, bases = study
    clock = [0.0]

    def timed(fits, updates):
        clock[0] += updates
        return float(updates), [estimate.Trained(fit.network.eval(), updates) for fit in fits]

    monkeypatch.setattr(estimate, "_timed", timed)
    (job,) = run_jobs(study, bases[:1], [Variant(method, 12)])
    features = study.features[study.datasets["words"].features]
    decoder = 3 * 1000 if method == "generative_replay" else 0  # after the base step, too
    assert seconds_of(job, features, 0.0) == job.size() + decoder
    assert seconds_of(bases[0], features, 0.0) == bases[0].size()


def test_it_runs_before_there_are_features_and_leaves_nothing(tmp_path):
    write_params(tmp_path, params("."))
    before = files_in(tmp_path)
    done = run_stage(tmp_path, "_estimate")
    assert done.returncode == 0, done.stderr
    assert files_in(tmp_path) == before
    lines = done.stdout.splitlines()
    found = {line.split()[0]: line.split() for line in lines if line.split()}
    assert found["train_base"][1:4] == ["words", "6", "30"]  # 4 + 4 + 7 (longer), two seeds
    assert found["learn_steps"][1:4] == ["words", "6", "48"]
    assert re.match(r"Hours are of one core; with 1 jobs at once about", lines[-1])
    n_runs = sum(int(found[name][2]) for name in found if name in ROOT_STAGES)
    assert found["all"][1] == str(n_runs)


def test_datasets_that_differ_in_their_clips_are_all_counted(tmp_path):
    values = params(".")
    for section in values:
        if isinstance(values[section], dict) and "words" in values[section]:
            values[section]["more"] = values[section]["words"]
    write_params(tmp_path, values)
    lines = [line.split() for line in run_stage(tmp_path, "_estimate").stdout.splitlines()]
    rows = {tuple(line[:2]): line[2:4] for line in lines if len(line) > 3}
    assert rows["train_base", "more"] == rows["train_base", "words"] == ["6", "30"]


def test_a_study_of_a_base_step_only_is_estimated(study):
    settings, (base, *_) = study
    features = settings.features[settings.datasets["words"].features]
    classes = base.dataset.classes[:3]
    alone = replace(base, dataset=replace(base.dataset, classes=classes, steps=(3,)))
    assert seconds_of(alone, features, 0.0) > 0
    (job,) = run_jobs(settings, [base], [Variant("ccil", 12)])
    job = replace(job, base=alone, plan=replace(job.plan, steps=(3,)))
    assert seconds_of(job, features, 0.0) == 0


ROOT_STAGES = {path.stem for path in (ROOT / "pipeline").glob("[a-z]*.py")}
