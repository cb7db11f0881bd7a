"""A fleet trains each of its runs as it would be trained alone, whatever the others do.

In float64, on a CPU, so that only rounding may differ; inputs of 8 x 8 and a tiny network.
"""

import copy
import re
from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
from conftest import SGD, blobs
from tiny_study import ROOT, params
from torch import nn
from tqdm import tqdm
from untrained import NO_CLIPS, TINY, TRAINING, bases_of, made_study, network_of, numbers, run

from mtcil.core.errors import UserError
from mtcil.core.lookup import find, names
from mtcil.core.randomness import numpy_generator
from mtcil.learning.base_step import BasePlan, learn_base
from mtcil.learning.clips import Clips, of_labels
from mtcil.learning.fit import Fit, Phase, Seeds, Table, Trained
from mtcil.learning.learner import Learner
from mtcil.learning.network import Network
from mtcil.learning.protocol import draw_tasks
from mtcil.learning.steps import StepClips
from mtcil.running import alone, together
from mtcil.running import run as running
from mtcil.running.base_jobs import BaseJob
from mtcil.running.fleet import Course, Fleet
from mtcil.running.jobs import Variant, method_settings, run_jobs
from mtcil.running.run import forget_checkpoints, learn_all, train_all
from mtcil.running.stacks import kind_of, stacked
from mtcil.running.together import follow_all, train_together
from mtcil.settings.files import read_study
from mtcil.settings.sections import Heads, MachineSettings
from mtcil.settings.training import BaseTrainingSettings, PhaseSettings

STUDY = read_study(ROOT / "params.yaml")
RUNS = range(5)
UPDATES = 30
MACHINE = MachineSettings("cpu", 1, "loky", None, False)


def method_fits(name: str, seed: int, n_memory: int) -> list[Fit]:
    """All Fits of a step of one run; four old classes, two new ones, other sizes for each run."""
    section = next(s for s, v in STUDY.methods.items() if v.get("kind", s) == name)
    quick = {"updates": 20} if name == "generative_replay" else {}
    _, config = method_settings(STUDY, section, quick)
    method, clips = find("methods", name), blobs(12 + seed, 6, seed)
    base, new = clips[of_labels(clips, 0, 4)], clips[of_labels(clips, 4, 6)]
    memory = base[torch.cat([of_labels(base, k, k + 1)[:n_memory] for k in range(4)])]
    learner = Learner(network_of(4, seed))
    fits: list[Fit] = []
    before, of_base = run(method.state_after(learner, base, memory, config, Seeds(seed, 0)))
    step = StepClips(new, memory, NO_CLIPS, n_memory * 4 // 6, 4, 2)
    learnt, of_step = run(method.learn_step(before, step, config, TRAINING, Seeds(seed, 1)))
    assert learnt.n_classes == 6
    return [*fits, *of_base, *of_step]


def base_fit(seed: int, passes="separate", statistics="full_task", validation=NO_CLIPS) -> Fit:
    """The Fit of a base step of two smaller tasks."""
    fit = PhaseSettings(None, 0.1, "constant")
    training = BaseTrainingSettings(SGD, fit, 0.1, 1.0, "mean", statistics)
    tasks = draw_tasks(Heads.parse("4-3-2", 4), 4, numpy_generator(seed, "tasks"))
    plan = BasePlan(tasks, passes, TINY, training, Phase(2, 0.1))
    return next(learn_base(blobs(12 + seed, 4, seed), validation, plan, Seeds(seed, 0)))


def as_double(value):
    if isinstance(value, dict):
        return {name: as_double(one) for name, one in value.items()}
    is_float = isinstance(value, torch.Tensor) and value.is_floating_point()
    return value.double() if is_float else value


def in_float64(fit: Fit, **phase) -> Fit:
    """The same Fit in float64, of `UPDATES` updates."""
    tables = {
        name: table and replace(table, rows=as_double(dict(table.rows)))
        for name, table in fit.tables.items()
    }
    held = fit.validation
    return replace(
        fit,
        network=copy.deepcopy(fit.network).double(),
        tables=tables,
        numbers=as_double(dict(fit.numbers)),
        validation=held and replace(held, rows=as_double(dict(held.rows))),
        phase=replace(fit.phase, **({"updates": UPDATES} | phase)),
    )


def assert_equal(found: Sequence[Trained], wanted: Sequence[Trained]) -> None:
    for one, other in zip(found, wanted, strict=True):
        assert one.updates == other.updates
        torch.testing.assert_close(
            one.module.state_dict(), other.module.state_dict(), rtol=1e-10, atol=1e-10
        )
        assert not one.module.training and all(p.requires_grad for p in one.module.parameters())


def assert_as_alone(fits: Sequence[Fit]) -> None:
    assert len({kind_of(fit) for fit in fits}) == 1
    found = Fleet(fits).train()
    assert_equal(found, [alone.train(fit) for fit in fits])
    for fit, trained in zip(fits, found, strict=True):
        before = fit.network.state_dict()
        assert any(not torch.equal(before[n], v) for n, v in trained.module.state_dict().items())


@pytest.mark.parametrize("n_memory", [5, 0], ids=["exemplars", "none"])
@pytest.mark.parametrize("name", names("methods"))
def test_each_phase_of_a_method(name, n_memory):
    by_run = [method_fits(name, seed, n_memory) for seed in RUNS]
    for fits in zip(*by_run, strict=True):
        assert_as_alone([in_float64(fit) for fit in fits])


@pytest.mark.parametrize("passes", ["separate", "shared"])
@pytest.mark.parametrize("statistics", ["full_task", "all_tasks"])
def test_the_base_step(passes, statistics):
    assert_as_alone([in_float64(base_fit(seed, passes, statistics)) for seed in RUNS])


def hard_clips(n: int, seed: int) -> Clips:
    """Clips that an early stop is decided on, so noisy that accuracy goes up and down."""
    clips = blobs(n, 4, seed)
    return Clips(clips.features + 3 * numbers(*clips.features.shape, seed=seed), clips.labels)


def stopping_fits(schedule="cosine") -> list[Fit]:
    """Base steps that stop at different checks, by validation clips of different numbers."""
    fits = [base_fit(seed, validation=hard_clips(3 + seed, seed)) for seed in RUNS]
    return [in_float64(fit, patience=3, checks=10, schedule=schedule) for fit in fits]


def test_runs_that_stop_at_different_checks():
    fits = stopping_fits()
    assert_as_alone(fits)
    assert len({trained.updates for trained in Fleet(fits).train()}) > 2


def test_the_weights_of_a_stopped_run_no_longer_move():
    fleet = Fleet(stopping_fits()[:2])
    fleet.n_checks, fleet.courses[0] = 5, Course(best=(2.0, 0.0), best_check=1)
    fleet.check(6)
    assert [course.stopped_after for course in fleet.courses] == [6, None]
    before = fleet.weights.clone()
    fleet.draw()
    fleet.update()
    assert [torch.equal(fleet.weights[run], before[run]) for run in (0, 1)] == [True, False]


def same_logits(module, features):
    """Logits that no training changes: every check is as good as the first."""
    return features.flatten(1)[:, :4]


def test_among_equal_checks_the_first_is_kept():
    fits = [
        replace(fit, validation=replace(fit.validation, logits=same_logits))
        for fit in stopping_fits()
    ]
    assert_as_alone(fits)
    assert {trained.updates for trained in Fleet(fits).train()} == {4 * UPDATES // 10}


def test_a_run_that_has_stopped_moves_its_weights_no_more():
    fleet = Fleet(stopping_fits())
    fleet.draw()
    for _ in range(3):
        fleet.update()
    fleet.learns[1] = 0.0
    before = fleet.weights.clone()
    fleet.update()
    moved = (fleet.weights != before).any(1)
    assert moved.tolist() == [True, False, True, True, True]


def test_rates_and_numbers_are_each_runs_own():
    fits = []
    for seed in RUNS:
        fit = in_float64(base_fit(seed), learning_rate=0.01 * (seed + 1))
        fits.append(replace(fit, numbers={"task_weight": 0.2 * seed}))
    assert_as_alone(fits)


def test_random_numbers_go_on_from_block_to_block():
    fits = [in_float64(method_fits("recipe", seed, 5)[0], updates=70) for seed in (0, 1)]
    assert_as_alone(fits)


def test_a_run_does_not_depend_on_its_company():
    fits = [in_float64(base_fit(seed)) for seed in RUNS]
    assert_equal(Fleet(fits[:2]).train(), Fleet(fits).train()[:2])


def test_the_same_fleet_twice_is_equal_to_the_bit():
    one, two = (Fleet([base_fit(seed) for seed in RUNS]).train() for _ in range(2))
    for a, b in zip(one, two, strict=True):
        torch.testing.assert_close(a.module.state_dict(), b.module.state_dict(), rtol=0, atol=0)


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "other"}, {"frozen_blocks": 1}, {"choices": None}, {"loss": len},
        {"numbers": {}}, {"numbers": {"task_weight": torch.ones(2)}},
        {"phase": Phase(3, 0.1)}, {"phase": Phase(2, 0.1, "cosine")},
        {"sgd": replace(SGD, momentum=0.5)}, {"network": network_of(5)},
        {"network": Network(replace(TINY, dropout=0.1), 4, torch.Generator())},
        {"network": Network(replace(TINY, pools=(2, 1)), 4, torch.Generator())},
        {"tables": {"full": Table({"features": torch.zeros(9, 1, 9, 8)}, 2)}},
    ],
    ids=lambda changes: "-".join(changes),
)  # fmt: skip
def test_fits_that_differ_are_trained_apart(changes):
    fit = replace(base_fit(0), network=network_of(4))
    if "tables" in changes:
        fit = replace(fit, tables={"full": Table({"features": torch.zeros(9, 1, 8, 8)}, 2)})
    assert kind_of(replace(fit, **changes)) != kind_of(fit)


def test_fits_whose_nested_numbers_have_other_shapes_are_trained_apart():
    one, other, same = (
        replace(base_fit(0), numbers={"a": {"b": values}})
        for values in (torch.ones(2), torch.ones(3), torch.zeros(2))
    )
    assert kind_of(one) != kind_of(other) and kind_of(one) == kind_of(same)


def test_learning_rate_numbers_and_length_of_tables_may_differ():
    fit, other = base_fit(0), base_fit(1)
    other = replace(other, phase=replace(fit.phase, learning_rate=0.7))
    assert len(other.tables["full"]) != len(fit.tables["full"])
    assert kind_of(other) == kind_of(fit)


# Runs that are followed together


def steps_of(seed: int, log: list):
    """A run of three phases; notes when it gets something back."""
    fit = in_float64(base_fit(seed), updates=3)
    network = fit.network
    for phase in range(3 if seed else 1):
        fit = replace(fit, network=network, name=f"phase{phase}")
        trained = yield fit
        log.append((seed, phase))
        network = trained.module
    return network


def test_runs_meet_at_the_same_phase_and_may_end_at_different_ones():
    log, told = [], []
    found = dict(follow_all({seed: steps_of(seed, log) for seed in range(3)}, told.append))
    assert log == [(0, 0), (1, 0), (2, 0), (1, 1), (2, 1), (1, 2), (2, 2)]
    assert told == [9, 6, 6]
    for seed, network in found.items():
        wanted = alone.follow(steps_of(seed, []))
        torch.testing.assert_close(
            network.state_dict(), wanted.state_dict(), rtol=1e-10, atol=1e-10
        )


def test_a_run_ends_before_runs_of_another_kind_are_trained(monkeypatch):
    trained = []

    def noted(fits):
        trained.append([fit.name for fit in fits])
        return train_together(fits)

    def run(name):
        yield replace(base_fit(0), name=name)

    monkeypatch.setattr(together, "train_together", noted)
    ends = [name for name, _ in follow_all({"a": run("a"), "b": run("b"), "c": run("a")})]
    assert ends == ["a", "c", "b"] and trained == [["a", "a"], ["b"]]
    trained.clear()
    next(follow_all({name: run(name) for name in "ab"}))
    assert trained == [["a"]]


def test_random_numbers_are_drawn_into_the_same_memory_that_a_graph_reads():
    fleet = Fleet([base_fit(seed) for seed in (0, 1)])
    fleet.draw()
    drawn = fleet.tables["full"].drawn["keep"]
    first, place = drawn.clone(), drawn.data_ptr()
    fleet.draw()
    assert fleet.tables["full"].drawn["keep"].data_ptr() == place
    assert not torch.equal(fleet.tables["full"].drawn["keep"], first)


def test_a_run_without_training_ends_at_once():
    def nothing():
        return 7
        yield

    assert list(follow_all({"a": nothing(), "b": nothing()})) == [("a", 7), ("b", 7)]


def picky_loss(module, batch, numbers, choices):
    """A loss that looks into a tensor, which vmap cannot do."""
    logits = module.network(batch.full.features, batch.full.keep)
    scale = 2.0 if logits.mean().item() > 0 else 1.0
    return scale * nn.functional.cross_entropy(logits, batch.full.labels)


def test_fits_that_vmap_cannot_take_are_trained_one_by_one_with_a_message(capsys):
    fits = [replace(base_fit(seed), loss=picky_loss) for seed in (0, 1)]
    assert_equal(train_together(fits), [alone.train(fit) for fit in fits])
    text = capsys.readouterr().err
    assert re.search(r"picky_loss is trained one run after the other, because vmap", text)


def test_where_memory_is_short_a_fleet_is_halved_and_nothing_is_lost(monkeypatch, capsys):
    fits, sizes = [in_float64(base_fit(seed)) for seed in RUNS], []
    whole = Fleet.train

    def short_of_memory(fleet):
        sizes.append(len(fleet.fits))
        if len(fleet.fits) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return whole(fleet)

    monkeypatch.setattr(Fleet, "train", short_of_memory)
    assert_equal(train_together(fits), [alone.train(fit) for fit in fits])
    assert sizes == [5, 3, 2, 2, 1]
    assert capsys.readouterr().err.count("need too much memory: now") == 2


@pytest.mark.parametrize("most", [1, 0])
def test_a_fleet_is_halved_down_to_one_run(monkeypatch, most):
    sizes = []

    def short_of_memory(fleet):
        sizes.append(len(fleet.fits))
        if len(fleet.fits) > most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return [len(fleet.fits)] * len(fleet.fits)

    monkeypatch.setattr(Fleet, "train", short_of_memory)
    fits = [base_fit(seed) for seed in (0, 1, 2)]
    if most:
        assert train_together(fits) == [1, 1, 1] and sizes == [3, 2, 1, 1, 1]
    else:
        with pytest.raises(torch.OutOfMemoryError):
            train_together(fits)
        assert sizes == [3, 2, 1]


def test_as_many_runs_are_followed_as_half_of_the_memory_holds_twice(monkeypatch):
    assert together.n_at_once(10**15) == together.MOST  # without a GPU
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (1000, 2000))
    assert [together.n_at_once(size) for size in (10, 60, 84, 500, 1)] == [25, 4, 2, 1, 128]


def test_a_fleet_is_as_large_as_the_memory_allows(monkeypatch):
    fits = [base_fit(seed) for seed in RUNS]
    monkeypatch.setattr(together, "_bytes_of", lambda fits: 100 + 50 * (len(fits) - 1))
    for free, n_runs in ((10_000, 5), (250, 3), (187, 1), (10, 1)):
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda free=free: (free, 10_000))
        assert together.runs_that_fit(fits) == n_runs


def test_where_two_runs_are_too_many_one_is_trained_at_a_time(monkeypatch):
    def short_of_memory(fits):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(together, "_bytes_of", short_of_memory)
    fits = [in_float64(base_fit(seed)) for seed in (0, 1)]
    assert together.runs_that_fit(fits) == 1
    assert_equal(train_together(fits), [alone.train(fit) for fit in fits])


def test_what_vmap_refuses_only_for_several_runs_is_trained_one_by_one(monkeypatch):
    monkeypatch.setattr(together, "_bytes_of", lambda fits: 0 if len(fits) == 1 else None)
    assert together.runs_that_fit([base_fit(seed) for seed in RUNS]) == 0


def test_stacked_weights_are_contiguous():
    """In PyTorch's channels_last order, those of a frozen part are refused by vmap on a GPU."""
    networks = [network_of(4, seed).state_dict() for seed in RUNS]
    assert any(not value.is_contiguous() for value in networks[0].values())
    weights = stacked(networks, torch.zeros(1))
    assert all(value.is_contiguous() for value in weights.values())


def test_a_phase_without_updates_changes_nothing():
    fits = [in_float64(base_fit(seed), updates=0) for seed in (0, 1)]
    for fit, trained in zip(fits, train_together(fits), strict=True):
        assert trained.updates == 0
        torch.testing.assert_close(trained.module.state_dict(), fit.network.state_dict())


def test_the_table_of_a_fit_may_be_missing():
    fits = [in_float64(method_fits("er_ace", seed, 0)[0]) for seed in RUNS]
    assert fits[0].tables["memory"] is None
    assert isinstance(fits[0].tables["new"], Table)
    assert_as_alone(fits)


# Stages on a GPU: jobs go through fleets. Here the fleets run on the CPU.


@pytest.fixture(scope="module")
def alone_rows(tmp_path_factory):
    """Records of base models and runs that are learnt one by one."""
    return learnt(tmp_path_factory.mktemp("alone"))


def learnt(folder, device="cpu", methods=("ccil", "icarl")):
    """Updates of all base models, records of all runs, and the base models."""
    if not (folder / "params.yaml").exists():
        made_study(folder, params("."))
    study, bases = read_study(folder / "params.yaml"), bases_of(folder, device)
    for base in bases:
        base.file.unlink(missing_ok=True)
    updates = train_all(bases, MACHINE)
    variants = [Variant(method, 12) for method in methods]
    return updates, learn_all(run_jobs(study, bases, variants), MACHINE, {}), bases


@pytest.fixture
def on_gpu(monkeypatch):
    monkeypatch.setattr(BaseJob, "is_on_gpu", True)


def test_stages_learn_the_same_by_fleets_and_run_by_run(tmp_path, alone_rows, on_gpu, capsys):
    updates, rows, bases = learnt(tmp_path)
    wanted_updates, wanted, other_bases = alone_rows
    assert updates == wanted_updates
    for mine, other in zip(bases, other_bases, strict=True):
        state, of_other = (torch.load(b.file, weights_only=True)["network"] for b in (mine, other))
        torch.testing.assert_close(state, of_other, rtol=1e-3, atol=1e-4)  # float32
    places = ["base", "method", "seed", "step", "updates", "phases", "clips_passed", "state_bytes"]
    mine, other = (pd.DataFrame(one["records"]) for one in (rows, wanted))
    pd.testing.assert_frame_equal(mine[places], other[places])
    assert (mine["accuracy"] - other["accuracy"]).abs().mean() < 5
    assert "one run after the other" not in capsys.readouterr().err


def test_updates_that_no_job_counts_do_not_overfill_the_bar(monkeypatch):
    """As those of generative replay's decoder."""
    bar = tqdm(total=8, disable=None)
    monkeypatch.setattr(running, "progress", lambda **options: bar)
    monkeypatch.setattr(bar, "update", lambda n: setattr(bar, "n", bar.n + n))
    job = SimpleNamespace(likeness=str, size=lambda: 4, data_bytes=lambda: 1)
    done = running.perform_as_fleets(
        [job, job], lambda job, load: steps_of(1, []), lambda job, network: 7, "runs"
    )
    assert [saved for _, saved in done] == [7, 7] and bar.n == 8


def test_a_killed_fleet_loses_no_finished_run(tmp_path, on_gpu, monkeypatch):
    _, rows, bases = learnt(tmp_path)
    study = read_study(tmp_path / "params.yaml")
    jobs = run_jobs(study, bases, [Variant("ccil", 12), Variant("icarl", 12)])
    forget_checkpoints(jobs)
    saved, save = [], running.save_run

    def killed_at_the_third(job, results):
        if len(saved) == 3:
            raise KeyboardInterrupt
        saved.append(job)
        return save(job, results)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(running, "save_run", killed_at_the_third)
        learn_all(jobs, MACHINE, {})
    before = {job.key: job.checkpoint.read_bytes() for job in saved}
    again = learn_all(jobs, MACHINE, {})
    assert len(before) == 3
    assert all(job.checkpoint.read_bytes() == before[job.key] for job in saved)
    assert [row["key"] for row in again["records"]] == [row["key"] for row in rows["records"]]


def test_of_a_fleet_with_a_base_model_that_diverged_the_others_are_saved(
    tmp_path, on_gpu, monkeypatch
):
    save = running.save_base

    def diverged(job, trained):
        if job == first:
            trained[1].diverged = True
        return save(job, trained)

    made_study(tmp_path, params("."))
    bases = bases_of(tmp_path)
    first, n_bases = bases[0], len(bases)
    for base in bases:
        base.file.unlink(missing_ok=True)
    monkeypatch.setattr(running, "save_base", diverged)
    with pytest.raises(UserError, match=r"diverged.*multitask_rate"):
        train_all(bases, MACHINE)
    saved = [base for base in bases if base.file.exists()]
    assert first not in saved and len(saved) == n_bases - 1


def test_runs_of_one_seed_share_their_clips(tmp_path, on_gpu, monkeypatch):
    loaded, load = [], running.load_data
    monkeypatch.setattr(running, "load_data", lambda job: loaded.append(job.seed) or load(job))
    _, rows, bases = learnt(tmp_path)
    n_seeds = len({base.seed for base in bases})
    assert len(rows["records"]) > 2 * 3 * n_seeds
    assert len(loaded) == 2 * n_seeds  # once for base models, once for runs
