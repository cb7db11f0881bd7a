"""What only a GPU runs, on a pretended one: captured updates, memory, and where tensors are."""

import copy
import itertools
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from importlib import import_module

import pandas as pd
import pytest
import torch
from pretend_gpu import Capture, Graph, pretended_gpu
from test_fleet import (
    RUNS,
    assert_equal,
    base_fit,
    hard_clips,
    in_float64,
    learnt,
    method_fits,
    stopping_fits,
)
from tiny_study import ROOT, change, params
from untrained import bases_of, made_study, make_features, save_untrained

from mtcil.core.lookup import names
from mtcil.learning.fit import Fit
from mtcil.running import alone, estimate, together
from mtcil.running.base_jobs import PARTS, BaseJob
from mtcil.running.device import choose_device
from mtcil.running.fleet import Fleet
from mtcil.running.jobs import Variant, run_jobs
from mtcil.running.models import read_model
from mtcil.settings.files import read_study
from mtcil.settings.study import AUXILIARY

# The pretended GPU itself


def test_a_tensor_says_where_it_is():
    with pretended_gpu():
        here, there = torch.ones(2), torch.ones(2, device="cuda")
        assert (here.device.type, there.device.type) == ("cpu", "cuda")
        assert there.is_cuda and (there + 1).is_cuda and there.cpu().device.type == "cpu"
        assert torch.arange(2, device=there.device).is_cuda and not here.to(here.device).is_cuda
        layer = copy.deepcopy(torch.nn.Linear(2, 2).to("cuda"))
        layer(there).sum().backward()
        assert layer.weight.grad is not None and layer.weight.grad.is_cuda
    assert not there.is_cuda


def test_tensors_of_two_places_do_not_mix():
    with pretended_gpu():
        here, there = torch.ones(2), torch.ones(2, device="cuda")
        rows = torch.tensor([1])
        for mixed in (
            lambda: here + there, lambda: here * there[0], lambda: here[rows.to("cuda")],
            lambda: there.index_put_((rows,), here[:1]), lambda: torch.stack([here, there]),
        ):  # fmt: skip
            with pytest.raises(RuntimeError, match="same device"):
                mixed()
        with pytest.raises(TypeError, match="numpy"):
            there.numpy()
        assert torch.equal(there + torch.tensor(1.0), torch.full((2,), 2.0, device="cuda"))
        assert there[rows].is_cuda and there.copy_(here).is_cuda
        assert there.cpu().numpy().tolist() == [1.0, 1.0]
        assert torch.as_tensor(here, device="cuda").is_cuda and not here.is_cuda


def test_a_generator_draws_in_its_own_place():
    with pretended_gpu():
        of_cpu, of_gpu = torch.Generator(), torch.Generator("cuda")
        assert torch.rand(2, generator=of_gpu, device="cuda").is_cuda
        assert not torch.randperm(2, generator=of_cpu).is_cuda
        for wrong in (
            lambda: torch.rand(2, generator=of_cpu, device="cuda"),
            lambda: torch.rand(2, generator=of_gpu),
            lambda: torch.ones(2, device="cuda").uniform_(generator=of_cpu),
        ):
            with pytest.raises(RuntimeError, match="generator, found"):
                wrong()


def test_memory_is_counted_and_can_run_out():
    with pretended_gpu(total=1000) as memory:
        first = torch.ones(100, device="cuda")
        assert memory.used() == 400 and first.view(10, 10).is_cuda and memory.used() == 400
        with pytest.raises(torch.OutOfMemoryError):
            first.repeat(2)
        second = first + 1
        del first, second
        assert (memory.used(), memory.peak) == (0, 800)
        assert torch.cuda.mem_get_info() == (200, 1000)  # PyTorch keeps what was freed
        torch.cuda.empty_cache()
        assert torch.cuda.mem_get_info() == (1000, 1000)


def test_the_capture_refuses_what_a_gpu_cannot_capture():
    with pytest.raises(AssertionError, match="_local_scalar_dense"), Capture(Graph()):
        torch.ones(1).item()
    with pytest.raises(AssertionError, match="index"), Capture(Graph()):
        torch.ones(2)[torch.tensor([True, False])]
    with pretended_gpu(total=100) as memory:
        here, there = torch.ones(2), torch.ones(2, device="cuda")
        for copied in (
            lambda: there.cpu(), lambda: here.to("cuda"), lambda: there.copy_(here),
            lambda: there.new_tensor([1.0]), lambda: there[torch.tensor([0])],
        ):  # fmt: skip
            with pytest.raises(RuntimeError, match="capturing"), torch.cuda.graph(Graph()):
                copied()
        assert not memory.is_capturing


def test_a_graph_repeats_operations_and_not_python():
    total, step, graph = torch.zeros(1), 1, Graph()
    with Capture(graph):
        total += 2 * torch.ones(1) * step
    step = 10
    graph.replay()
    assert total.item() == 4 and step == 10


# Captured updates


def fits_to_capture(name: str) -> list[list[Fit]]:
    if name == "base":
        kinds = itertools.product(("separate", "shared"), ("full_task", "all_tasks"))
        return [[base_fit(seed, *kind) for seed in (0, 1)] for kind in kinds]
    by_run = [method_fits(name, seed, 5) for seed in (0, 1)]
    return [list(fits) for fits in zip(*by_run, strict=True)]


def assert_captured(fits: Sequence[Fit]) -> None:
    """A captured update, repeated, is equal to the bit to updates that Python makes."""
    fits = [replace(fit, phase=replace(fit.phase, updates=70)) for fit in fits]  # two draws
    with pretended_gpu():
        fits, graph = [on_gpu(fit) for fit in fits], torch.cuda.CUDAGraph()
        by_graph, by_python = Fleet(fits), Fleet(fits)
        for fleet in (by_graph, by_python):
            fleet.draw()
        with torch.cuda.graph(graph):
            by_graph.update()
        by_python.update()
        for made in range(1, 4):
            if made == 2:
                by_graph.draw()
                by_python.draw()
            graph.replay()
            by_python.update()
        pairs = zip(by_graph._state(), by_python._state(), strict=True)
        assert all(torch.equal(one, other) for one, other in pairs)


@pytest.mark.parametrize("name", ["base", *names("methods")])
def test_an_update_can_be_captured_as_a_cuda_graph(name):
    for fits in fits_to_capture(name):
        assert_captured(fits)


def moved(value):
    if isinstance(value, dict):
        return {name: moved(one) for name, one in value.items()}
    return value.to("cuda") if isinstance(value, torch.Tensor) else value


def on_gpu(fit: Fit) -> Fit:
    """The same Fit on the pretended GPU."""
    tables = {n: t and replace(t, rows=moved(dict(t.rows))) for n, t in fit.tables.items()}
    held = fit.validation
    return replace(
        fit,
        network=copy.deepcopy(fit.network).to("cuda"),
        tables=tables,
        numbers=moved(dict(fit.numbers)),
        validation=held and replace(held, rows=moved(dict(held.rows))),
    )


def test_the_capture_of_an_update_changes_no_state():
    with pretended_gpu():
        fleet = Fleet([on_gpu(in_float64(base_fit(seed))) for seed in (0, 1)])
        fleet.draw()
        state = [*fleet._state(), *fleet.moments, fleet.update_no]
        before = [value.clone() for value in state]
        fleet.captured()
        assert all(torch.equal(one, other) for one, other in zip(state, before, strict=True))


@pytest.mark.parametrize("optimiser", ["sgd", "adam"])
def test_a_fleet_on_a_gpu_stops_its_runs_as_on_a_cpu(optimiser):
    fits = [replace(f, phase=replace(f.phase, optimiser=optimiser)) for f in stopping_fits()]
    wanted = Fleet(fits).train()
    with pretended_gpu():
        found = Fleet([on_gpu(fit) for fit in fits]).train()
        assert all(p.is_cuda for one in found for p in one.module.parameters())
    for one, other in zip(found, wanted, strict=True):
        assert one.updates == other.updates
        states = one.module.state_dict(), other.module.state_dict()
        torch.testing.assert_close(*states, rtol=0, atol=0)


# Memory


def fits_of(kind: str) -> list[Fit]:
    """Five Fits of a kind, with two checks if they have validation clips."""
    if kind == "base":
        fits = [base_fit(seed) for seed in RUNS]
    elif kind == "base, stopping":
        fits = [base_fit(seed, validation=hard_clips(30, seed)) for seed in RUNS]
    else:
        fits = [method_fits(kind, seed, 5)[-1] for seed in RUNS]
    return [replace(f, phase=replace(f.phase, updates=9, checks=2, patience=5)) for f in fits]


@pytest.mark.parametrize("kind", ["base", "base, stopping", "ccil", "recipe"])
def test_the_memory_of_five_runs_is_estimated_within_a_tenth(kind):
    with pretended_gpu() as memory:
        fits = [on_gpu(fit) for fit in fits_of(kind)]
        one, two = together._bytes_of(fits[:1]), together._bytes_of(fits[:2])
        assert one is not None and two is not None
        memory.reset_peak()
        before = memory.used()
        Fleet(fits).train()
        assert 0.99 <= (one + 4 * (two - one)) / (memory.peak - before) <= 1.1


@pytest.fixture
def sizes(monkeypatch):
    """Sizes of all fleets that were trained."""
    found, train = [], Fleet.train
    monkeypatch.setattr(Fleet, "train", lambda of: found.append(len(of.fits)) or train(of))
    return found


def train_five_runs(total: int) -> None:
    """Train five runs with so many bytes of memory, and alone."""
    fits = [in_float64(base_fit(seed)) for seed in RUNS]
    with pretended_gpu(total):
        found = together.train_together([on_gpu(fit) for fit in fits])
    assert_equal(found, [alone.train(fit) for fit in fits])


@pytest.mark.parametrize(("megabytes", "wanted"), [(8, [5]), (4.5, [3, 2]), (3, [2, 2, 1])])
def test_fleets_are_as_large_as_the_memory_holds(sizes, capsys, megabytes, wanted):
    train_five_runs(int(megabytes * 1e6))
    assert sizes == wanted and capsys.readouterr().err == ""


def test_a_fleet_whose_memory_was_underestimated_is_halved(sizes, monkeypatch, capsys):
    monkeypatch.setattr(together, "runs_that_fit", len)
    train_five_runs(3_500_000)
    assert sizes == [5, 3, 2]
    assert "5 runs at once need too much memory: now 3" in capsys.readouterr().err


# Stages

STAGES = (
    "train_base", "learn_steps", "sweep_exemplars", "ablate_losses", "sweep_epochs",
    "tune_methods", "compare_methods", "probe_base", "time_heads",
)  # fmt: skip
ONE_BY_ONE = "one run after the other"
NOT_ALIKE = ["seconds", "cpu_seconds", "accuracy", "class_accuracy", "macro_f1", "old_accuracy"]
NOT_ALIKE += ["new_accuracy"]


def test_stages_on_a_gpu_learn_what_fleets_on_a_cpu_do(tmp_path, monkeypatch, capsys):
    for device in ("cpu", "cuda"):
        (tmp_path / device).mkdir()
    with monkeypatch.context() as patch:
        patch.setattr(BaseJob, "is_on_gpu", True)
        updates, wanted, _ = learnt(tmp_path / "cpu", "cpu", ["ccil"])
    with pretended_gpu():
        of_gpu, found, _ = learnt(tmp_path / "cuda", "cuda", ["ccil"])
    assert of_gpu == updates and ONE_BY_ONE not in capsys.readouterr().err
    for table in wanted:
        rows, other = (pd.DataFrame(of[table]).drop(columns="key") for of in (found, wanted))
        pd.testing.assert_frame_equal(rows, other)


def test_a_run_uses_only_the_gpu_that_was_asked_for(tmp_path):
    with pretended_gpu() as memory:
        device = choose_device("cuda:1")
        learnt(tmp_path, device, ["ccil"])
        assert torch.ones(1, device="cuda").device == torch.device(device)
    assert {str(place) for place in memory.seen} == {"cpu", "cuda:1"}


def test_costs_of_a_gpu_are_estimated_from_fleets(tmp_path, sizes, monkeypatch):
    monkeypatch.setattr(estimate, "GPU_UPDATES", 2)
    monkeypatch.setattr(estimate, "COPIES", 3)
    made_study(tmp_path, params("."))
    study = read_study(tmp_path / "params.yaml")
    features = study.features[study.datasets["words"].features]
    with pretended_gpu():
        (base, *_) = bases_of(tmp_path, "cuda")
        (run,) = run_jobs(study, [base], [Variant("ccil", 12)])
        for job, n_phases in ((base, 1), (run, 2)):
            sizes.clear()
            assert len(estimate.phases_of(job, features, {}, 0.0)) == n_phases
            assert sizes == [3] * 3 * n_phases  # a warm-up, one update, more updates
        monkeypatch.setattr(estimate, "_timed", lambda fit, copies, updates: 9 + copies * updates)
        phases = estimate.phases_of(run, features, {}, 0.0)
        assert [phase.seconds for phase in phases] == [1, 1]  # of one run


def test_a_gpu_without_memory_is_not_called_a_damaged_model(tmp_path):
    made_study(tmp_path, params("."))
    with pretended_gpu(total=100):
        (base, *_) = bases_of(tmp_path, "cuda")
        save_untrained(base)
        arguments = base.file, base.key, base.network, base.dataset.steps[0]
        assert not read_model(*arguments, torch.device("cpu"))[0].head.weight.is_cuda
        with pytest.raises(torch.OutOfMemoryError):
            read_model(*arguments, torch.device("cuda"))


def whole_study(folder, device: str) -> None:
    """A study with all methods and all parts of base training."""
    values = params(".")
    mixing = [name for name in names(PARTS) if name not in ("contrastive", "mixed_classes")]
    unmixed = [name for name in names(PARTS) if name != "mixup"]
    values["base_models"]["words"] |= {
        "mixed": {"heads": "3", "parts": mixing},
        "tasks": {"heads": "3-2", "passes": "shared", "parts": unmixed},
    }
    values["comparisons"]["words"]["methods"] = list(read_study(ROOT / "params.yaml").methods)
    values["datasets"]["words"]["auxiliary"] = "english"
    values["machine"]["device"] = device
    change(values, "methods.generative_replay.updates", 4)
    make_features(folder / "data/features/words" / AUXILIARY, ["apple", "winter"], 20)
    made_study(folder, values)


@pytest.mark.slow
def test_every_stage_runs_on_a_gpu(tmp_path, monkeypatch, capsys):
    """As on a CPU, except for rounding: here as fleets, there run by run."""
    monkeypatch.syspath_prepend(ROOT / "pipeline")
    for device in ("cpu", "cuda"):
        folder = tmp_path / device
        folder.mkdir()
        whole_study(folder, device)
        for file in folder.rglob("*.pt"):
            file.unlink()
        monkeypatch.chdir(folder)
        with pretended_gpu() if device == "cuda" else nullcontext():
            for stage in STAGES:
                import_module(stage).main(read_study(folder / "params.yaml"), "words")
    assert ONE_BY_ONE not in capsys.readouterr().err
    files = sorted((tmp_path / "cpu/metrics/records").rglob("words.csv"))
    assert [file.parent.name for file in files] == sorted(STAGES)
    for file in files:
        wanted = pd.read_csv(file)
        found = pd.read_csv(tmp_path / "cuda" / file.relative_to(tmp_path / "cpu"))
        alike = wanted.columns.drop(["key", "device", *NOT_ALIKE], errors="ignore")
        pd.testing.assert_frame_equal(found[alike], wanted[alike])
        if "accuracy" in wanted:
            assert (found["accuracy"] - wanted["accuracy"]).abs().mean() < 1, file
