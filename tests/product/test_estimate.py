"""`make estimate`: what a study costs, before anything of it is there."""

import re
from dataclasses import replace
from types import SimpleNamespace

import pytest
from tiny_study import ROOT, files_in, params, run_stage, write_params
from untrained import bases_of, made_study

from mtcil.running import estimate, jobs
from mtcil.running.estimate import Cost, PhaseCost, cost_of, phases_of, print_costs, sum_of
from mtcil.running.jobs import Variant, run_jobs
from mtcil.settings.files import read_study


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("estimate")
    made_study(folder, params("."))
    return read_study(folder / "params.yaml"), bases_of(folder)


@pytest.fixture
def features(study):
    settings, _ = study
    return settings.features[settings.datasets["words"].features]


def test_costs_by_hand(study, monkeypatch):
    study, bases = study
    singles = [base for base in bases if base.name.base == "single"]
    variants = [Variant("ccil", 12), Variant("replay", 12), Variant("replay", 16)]
    runs = run_jobs(study, singles, variants)
    asked = []

    def phases(job, features, known, share):
        asked.append((known, share))
        n = len(asked)
        return [PhaseCost("head", 10, known.get("head", 0.5)), PhaseCost(n, 4 * n, 2.0)]

    def run_all(function, tasks, machine):
        return reversed([function(*task) for task in tasks])  # in the order in which they finish

    monkeypatch.setattr(estimate, "phases_of", phases)
    monkeypatch.setattr(estimate, "run_all", run_all)
    known = {}
    # Two seeds of the base step; two of ccil and four of replay, whatever the number of exemplars.
    assert cost_of(singles, None, study.machine, known) == Cost(2, 2 * 14, 2 * (5.0 + 8.0))
    runs_cost = Cost(6, 2 * 18 + 4 * 22, 2 * (5.0 + 16.0) + 4 * (5.0 + 24.0))
    assert cost_of(runs, None, study.machine, known, 0.1) == runs_cost
    assert asked == [({}, 0.0), *[({"head": 0.5, 1: 2.0}, 0.1)] * 2]
    assert known == {"head": 0.5, 1: 2.0, 2: 2.0, 3: 2.0}
    assert sum_of([Cost(1, 2, 3.0), Cost(10, 20, 30.0)]) == Cost(11, 22, 33.0)


def test_kinds_are_timed_side_by_side_as_runs_are_trained(study, monkeypatch):
    study, bases = study
    asked = []

    def run_all(function, tasks, machine):
        tasks = list(tasks)
        asked.append((len(tasks), machine))
        return [function(*task) for task in tasks]

    monkeypatch.setattr(estimate, "phases_of", lambda *_: [])
    monkeypatch.setattr(estimate, "run_all", run_all)
    cost_of(bases, None, study.machine, {})
    assert asked == [(len({base.name for base in bases}), study.machine)]


def test_base_models_and_runs_are_counted_once_by_the_first_stage_that_needs_them(
    study, monkeypatch, capsys
):
    study, bases = study
    monkeypatch.setattr(
        estimate, "phases_of", lambda job, *_: [PhaseCost("one", job.size(), 3600 / job.size())]
    )
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


def clocked(monkeypatch):
    """A clock on which a run starts in 100 s and takes a second per update; the updates timed."""
    timed = []

    def seconds(fit, copies, updates):
        timed.append(updates)
        return 100.0 + updates

    monkeypatch.setattr(estimate, "_timed", seconds)
    return timed


@pytest.mark.parametrize("method", ["ccil", "generative_replay"])
def test_each_phase_of_a_step_is_timed_and_scaled(study, features, monkeypatch, method):
    settings, bases = study
    clocked(monkeypatch)
    (job,) = run_jobs(settings, bases[:1], [Variant(method, 12)])
    decoder = 3 * 1000 if method == "generative_replay" else 0  # after the base step, too
    for one, size in ((job, job.size() + decoder), (bases[0], bases[0].size())):
        phases = phases_of(one, features, {}, 0.0)
        assert sum(phase.updates for phase in phases) == size
        assert {phase.seconds for phase in phases} == {1.0}


def test_a_phase_is_timed_once_whatever_its_length_rates_and_weights(study, features, monkeypatch):
    settings, bases = study
    timed = clocked(monkeypatch)
    own = jobs.own_training(settings, "words")
    other = replace(own, whole=replace(own.whole, updates=400, learning_rate=0.5, patience=3))
    variants = [
        Variant("lwf", 12),
        Variant("lwf", 16, {"kd_weight": 3.0}),
        Variant("lwf", 12, training=other),
        Variant("lwf", 12, training=replace(own, sgd=replace(own.sgd, batch=own.sgd.batch + 1))),
    ]
    known: dict = {}
    of_jobs = []
    for job in run_jobs(settings, bases[:1], variants):
        timed.clear()
        phases = phases_of(job, features, known, 0.0)
        known |= {phase.kind: phase.seconds for phase in phases}
        of_jobs.append((sum(phase.updates for phase in phases), list(timed)))
    each = [1, 1, 1 + estimate.UPDATES]  # a warm-up, one update, more
    assert of_jobs == [(8, each), (8, []), (800, []), (8, each)]
    timed.clear()
    phases_of(run_jobs(settings, bases[:1], variants)[2], features, {}, 0.25)
    assert timed == [1, 1, 1 + 100]  # a quarter of 400


def test_what_a_worker_has_timed_is_known(study, features, monkeypatch):
    settings, bases = study
    runs = run_jobs(settings, bases[:1], [Variant(method, 12) for method in ("ccil", "ewc")])
    known: dict = {}
    cost_of(runs, features, replace(settings.machine, jobs=2), known)
    timed = clocked(monkeypatch)
    for job in runs:
        assert all(
            phase.seconds == known[phase.kind] for phase in phases_of(job, features, known, 0.0)
        )
    assert known and not timed


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


def test_a_study_of_a_base_step_only_is_estimated(study, features):
    settings, (base, *_) = study
    classes = base.dataset.classes[:3]
    alone = replace(base, dataset=replace(base.dataset, classes=classes, steps=(3,)))
    assert [phase.updates for phase in phases_of(alone, features, {}, 0.0)] == [alone.size()]
    (job,) = run_jobs(settings, [base], [Variant("ccil", 12)])
    job = replace(job, base=alone, plan=replace(job.plan, steps=(3,)))
    assert phases_of(job, features, {}, 0.0) == []


ROOT_STAGES = {path.stem for path in (ROOT / "pipeline").glob("[a-z]*.py")}
