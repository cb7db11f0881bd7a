"""Each purpose has random numbers of its own, and nothing outside a study changes a result."""

import os
import random
import shutil
import subprocess
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import NETWORK, SGD, batches_of, blobs, phase
from test_trajectory import CONFIG, base_learner, begin, last_network, make_plan
from tiny_study import ROOT, files_in, params, write_params
from untrained import bases_of, made_study

from mtcil.learning.base_step import BasePlan, learn_base
from mtcil.learning.fit import Seeds
from mtcil.learning.learner import Learner
from mtcil.learning.network import Network, copy_state
from mtcil.learning.split import split_rows
from mtcil.learning.steps import StepClips
from mtcil.learning.trajectory import Run, choose_exemplars
from mtcil.methods import ccil
from mtcil.records.tables import known_runs, write_records
from mtcil.running.alone import train
from mtcil.running.jobs import Variant, run_jobs
from mtcil.running.run import forget_checkpoints, learn_all, train_all
from mtcil.settings.files import read_study
from mtcil.settings.sections import MachineSettings, SplitSettings
from mtcil.settings.training import BaseTrainingSettings, PhaseSettings

DATASET = read_study(ROOT / "demo" / "params.yaml").datasets["words"]
SPLIT = SplitSettings("random", 0.7, 0.2, 0.1)
TASKS = [(0, 1, 2, 3), (0, 1, 2), (1, 3)]
SHORT = phase(2)


def same(first, second):
    """Whether two dicts of tensors are equal bit for bit."""
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)


# Split and class order


def drawn(seed=0, dataset=DATASET, split=SPLIT, n_per_class=20, **order):
    labels = [name for name in dataset.classes for _ in range(n_per_class)]
    groups = [f"group{i % 10}" for i in range(len(labels))]
    order, _, rows = split_rows(
        pd.DataFrame({"class": labels, "group": groups}), dataset, split, seed, **order
    )
    return order, {part: found.tolist() for part, found in rows.items()}


def test_the_class_order_does_not_move_the_split():
    given = replace(DATASET, class_order=tuple(sorted(DATASET.classes)))
    assert drawn(dataset=given)[1] == drawn()[1]
    assert drawn(dataset=given)[0] == given.class_order != drawn()[0]


@pytest.mark.parametrize(
    "changes",
    [
        {"split": SplitSettings("group", 0.7, 0.2, 0.1)},
        {"split": SplitSettings("random", 0.5, 0.3, 0.2)},
        {"n_per_class": 30},
    ],
    ids=["kind", "shares", "more clips"],
)
def test_the_split_does_not_move_the_class_order(changes):
    assert drawn(**changes)[0] == drawn()[0] and drawn(**changes)[1] != drawn()[1]


@pytest.mark.parametrize("changes", [{"steps": (4, 1, 3)}, {"exemplars": 3}, {"network": "us8k"}])
def test_the_protocol_changes_neither(changes):
    assert drawn(dataset=replace(DATASET, **changes)) == drawn()


def test_another_seed_moves_both():
    assert drawn(1)[0] != drawn()[0] and drawn(1)[1] != drawn()[1]


def test_an_order_seed_changes_only_the_class_order():
    orders = [drawn(seed)[0] for seed in (0, 1)]
    for seed in (0, 1):
        assert drawn(seed, order_seed=None) == drawn(seed)
        for order_seed in (0, 1):
            assert drawn(seed, order_seed=order_seed) == (orders[order_seed], drawn(seed)[1])


# The base step


def base_fit(tasks=TASKS, passes="separate", batch=16, seed=0, length=SHORT, rate=0.1, **more):
    """What a base step asks to be trained."""
    fit = PhaseSettings(None, rate, "constant")
    settings = BaseTrainingSettings(replace(SGD, batch=batch), fit, 0.1, 1.0, "mean", "full_task")
    clips = blobs(20, 4, 1)
    plan = BasePlan(tasks, passes, NETWORK, settings, length, **more)
    return next(learn_base(clips, clips[:0], plan, Seeds(seed, 0)))


@pytest.mark.parametrize(
    "changes",
    [
        {"batch": 32}, {"passes": "shared"}, {"length": phase(9), "rate": 0.5},
        {"shuffled_labels": True}, {"tasks": TASKS[:1]}, {"tasks": [*TASKS, (0, 1)]},
    ],
    ids=["batch", "passes", "updates and rate", "shuffled labels", "one task", "more tasks"],
)  # fmt: skip
def test_only_the_seed_moves_the_first_weights_of_a_base_model(changes):
    """So that runs of one seed, whatever their heads, start from the same network."""
    usual = copy_state(base_fit().network.network)
    assert same(copy_state(base_fit(**changes).network.network), usual)
    other = copy_state(base_fit(seed=1).network.network)
    assert not torch.equal(other["head.weight"], usual["head.weight"])


@pytest.mark.parametrize("passes", ["separate", "shared"])
def test_more_tasks_change_neither_batches_nor_dropout_of_the_full_task(passes):
    alone, more = (batches_of(base_fit(tasks, passes), 7) for tasks in (TASKS[:1], TASKS))
    for one, two in zip(alone, more, strict=True):
        assert same(vars(one.full), vars(two.full))
    assert not same(vars(alone[0].full), vars(alone[1].full))


def test_a_larger_batch_begins_with_the_clips_of_a_smaller_one():
    ((small,), (large,)) = (batches_of(base_fit(batch=n), 1) for n in (16, 32))
    assert torch.equal(large.full.features[:16], small.full.features)


# The incremental steps


@cache
def step_of(n_exemplars: int) -> StepClips:
    clips = blobs(20, 6, 0)
    old = torch.cat([torch.arange(20 * k, 20 * k + n_exemplars) for k in range(4)])
    new = clips[torch.arange(80, 120)]
    return StepClips(new, clips[old], clips[old[:0]], n_exemplars, 4, 2)


def step_fit(step_training, n_exemplars=5, batch=16, length=9):
    """What a step of CCIL asks to be trained first."""
    sgd, head_first = replace(SGD, batch=batch), replace(step_training.head_first, updates=length)
    training = replace(step_training, sgd=sgd, head_first=head_first)
    network = Network(NETWORK, 4, torch.Generator().manual_seed(0)).eval()
    return next(
        ccil.learn_step(Learner(network), step_of(n_exemplars), CONFIG, training, Seeds(0, 1))
    )


@pytest.mark.parametrize("changes", [{"n_exemplars": 9}, {"batch": 32}, {"length": 99}], ids=str)
def test_k_batch_and_length_change_neither_the_new_head_rows_nor_the_first_clips(
    step_training, changes
):
    usual, other = step_fit(step_training), step_fit(step_training, **changes)
    assert torch.equal(usual.network.head.weight, other.network.head.weight)
    ((one,), (two,)) = batches_of(usual, 1), batches_of(other, 1)
    assert len(one.new.features) == 8 <= len(two.new.features)
    assert torch.equal(one.new.features, two.new.features[:8])


@pytest.mark.parametrize("selection", ["herding", "random"])
def test_a_smaller_k_keeps_the_first_of_what_a_larger_one_keeps(data, step_training, selection):
    small, large = (
        choose_exemplars(
            Run(data, make_plan(step_training, k, selection), ccil, 0), base_learner(), (), 0
        )
        for k in (12, 40)
    )
    for few, many in zip(small, large, strict=True):
        assert len(few) == 3 < len(many) and torch.equal(few, many[:3])


def test_random_numbers_drawn_elsewhere_change_nothing(data, step_training):
    plan = make_plan(step_training)
    torch.manual_seed(5)
    usual = last_network(data, plan)
    torch.rand(7), np.random.seed(9), random.seed(9)  # noqa: NPY002
    assert same(last_network(data, plan), usual)


def test_the_order_of_runs_changes_nothing(data, step_training):
    plan = make_plan(step_training)
    found = [{seed: last_network(data, plan, seed) for seed in order} for order in ((0, 1), (1, 0))]
    for seed in (0, 1):
        assert same(found[0][seed], found[1][seed])


def test_interleaved_runs_give_the_results_of_each_alone(data, step_training):
    """A phase of one, a phase of the other: nothing is shared but the clips."""
    plan = make_plan(step_training)
    alone = [last_network(data, plan, seed) for seed in (0, 1)]
    runs, noted = zip(*(begin(data, plan, seed) for seed in (0, 1)), strict=True)
    fits = [next(run) for run in runs]
    for _ in range(2 * 2):  # two phases of each of two steps
        for k, run in enumerate(runs):
            trained = train(fits[k])
            try:
                fits[k] = run.send(trained)
            except StopIteration:
                fits[k] = None
    assert fits == [None, None]
    for k in (0, 1):
        assert same(noted[k].learners[-1].network.state_dict(), alone[k])


# Jobs, and finished runs


def records_of(folder, jobs=1, fresh=False, stop_after=None):
    """Train and learn as the stages do, at most so many runs; the bytes of all that is kept."""
    settings, bases = read_study(folder / "params.yaml"), bases_of(folder)
    machine = MachineSettings("cpu", jobs, "loky", None, fresh)
    train_all(bases, machine)
    variants = [Variant("ccil", 12), Variant("icarl", 12)]
    runs = run_jobs(settings, [base for base in bases if base.name.base != "single"], variants)
    assert len(runs) == 8
    records = folder / "metrics/records"
    for table, rows in learn_all(
        runs[:stop_after], machine, known_runs(sorted(records.glob("*")), "words")
    ).items():
        if stop_after is None:
            write_records(records / "compare_methods", "words", rows, table)
    if stop_after is None:
        forget_checkpoints(runs)
    return {name: content for name, content in files_in(folder).items() if "params" not in name}


@pytest.mark.slow
def test_any_number_of_jobs_finished_or_resumed_gives_the_same_bytes(tmp_path):
    for name in ("one", "two", "resumed"):
        (tmp_path / name).mkdir()
        made_study(tmp_path / name, params("."))
    wanted = records_of(tmp_path / "one", fresh=True)
    assert len(wanted) == 2 + 6 + 3  # features, base models, tables
    assert records_of(tmp_path / "one") == wanted
    assert records_of(tmp_path / "one", jobs=2, fresh=True) == wanted
    assert records_of(tmp_path / "two", jobs=2, fresh=True) == wanted
    # Killed twice, and a number of jobs of its own each time.
    bases = bases_of(tmp_path / "resumed")
    for base in bases:
        base.file.unlink()
    train_all(bases[:3], MachineSettings("cpu", 1, "loky", None, False))
    half = records_of(tmp_path / "resumed", jobs=2, stop_after=5)
    assert sum(name.startswith(".checkpoints/") for name in half) == 5
    assert records_of(tmp_path / "resumed") == wanted


# The whole chain, in other surroundings

CHAIN = """
import _study, importlib, sys
for stage, row in (
    ("download", "words"), ("extract_features", "words"),
    ("train_base", "words"), ("learn_steps", "words"),
):
    sys.argv = [stage, row]
    _study.run(importlib.import_module(stage).main)
"""
SURROUNDINGS = {
    "PYTHONHASHSEED": ("0", "77"),
    "OMP_NUM_THREADS": ("1", "2"),
    "LC_ALL": ("C.UTF-8", "POSIX"),
    "PYTHONUTF8": ("1", "0"),
    "PYTHONCOERCECLOCALE": ("1", "0"),
    "TZ": ("UTC", "Asia/Kathmandu"),
    "COLUMNS": ("80", "20"),
}


@pytest.mark.slow
def test_other_surroundings_and_another_order_of_seeds_change_no_byte(tmp_path):
    studies = []
    for k, seeds in enumerate(([0, 1], [1, 0])):
        study = tmp_path / f"study {k}"
        study.mkdir()
        values = params(".")
        values["machine"]["fresh"] = True
        write_params(study, values | {"seeds": seeds})
        paths = os.pathsep.join(str(ROOT / folder) for folder in ("src", "pipeline"))
        around = {name: values[k] for name, values in SURROUNDINGS.items()}
        done = subprocess.run(
            [sys.executable, "-c", CHAIN], cwd=study, capture_output=True,
            env={**os.environ, "PYTHONPATH": paths, **around},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr.decode()
        shutil.rmtree(study / ".checkpoints", ignore_errors=True)
        studies.append(outcome(study))
    first, second = studies
    assert first.keys() == second.keys() and len(first) > 8
    assert [name for name in first if first[name] != second[name]] == []


def outcome(study: Path) -> dict[str, object]:
    """Every file but params.yaml: its bytes; of a table of runs, whatever their order."""
    found: dict[str, object] = {}
    for name, content in files_in(study).items():
        is_table = name.startswith("metrics/records/") and name.endswith(".csv")
        found[name] = sorted(content.splitlines()) if is_table else content
    del found["params.yaml"]
    return found
