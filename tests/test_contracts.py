"""Every method and every figure found by its name keeps its contract (datasets: test_datasets)."""

import dataclasses
import inspect
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import NETWORK, blobs
from matplotlib.figure import Figure

from mtcil.clips import of_labels
from mtcil.errors import UserError
from mtcil.learner import RULES, Learner, from_plain, predict, to_plain
from mtcil.lookup import find, names
from mtcil.methods import StepClips
from mtcil.models import Network, copy_state
from mtcil.results import step_rows
from mtcil.runs import method_settings
from mtcil.study import read_study
from mtcil.training import Streams

ROOT = Path(__file__).parents[1]
STUDY = read_study(ROOT / "params.yaml")


@pytest.mark.parametrize("kind", ["datasets", "methods", "probes", "figures"])
def test_an_unknown_name_is_refused_with_the_known_ones(kind):
    with pytest.raises(UserError, match=f"No mtcil.{kind} called 'tyo'. There are: .*To add one"):
        find(kind, "tyo")


@pytest.fixture
def learner():
    return Learner(Network(NETWORK, 4, torch.Generator().manual_seed(0)).eval())


@pytest.fixture
def clips():
    train = blobs(12, 6, 0)
    memory = torch.cat([of_labels(train, c, c + 1)[:4] for c in range(4)])
    return StepClips(train[of_labels(train, 4, 6)], train[memory], blobs(3, 6, 1), per_class=2)


@pytest.mark.parametrize("name", names("methods"))
def test_a_method_learns_a_step_and_keeps_its_contract(name, learner, clips, step_training):
    method = find("methods", name)
    assert method.__doc__ and method.learn_step.__doc__
    assert dataclasses.is_dataclass(method.Config)
    assert list(inspect.signature(method.learn_step).parameters) == [
        "learner", "clips", "training", "config", "streams", "report",
    ]  # fmt: skip
    label = next(k for k, v in STUDY.methods.items() if v.get("kind", k) == name)
    _, config = method_settings(STUDY, label)
    before = copy_state(learner.network)
    assert hasattr(method, "keep") == hasattr(method, "cost")
    if hasattr(method, "keep"):
        base = blobs(12, 4, 3)
        learner = method.keep(learner, base, clips.memory, config, Streams(0, 0))
    first, again = (
        method.learn_step(learner, clips, step_training, config, Streams(0, 1)) for _ in range(2)
    )
    assert all(torch.equal(before[k], v) for k, v in learner.network.state_dict().items())
    assert first.n_classes == 6 and not first.network.training
    assert first.rule in RULES and sum(first.epochs.values()) > 0
    x = blobs(4, 6, 2).features
    assert torch.equal(first.network(x), again.network(x))
    plain = from_plain(to_plain(first), NETWORK, torch.device("cpu"))
    assert torch.equal(predict(plain, x), predict(first, x))


def records(stage_rows, variants, kind):
    """Records of made-up runs: accuracies that fall from step to step and differ by seed."""
    tables = []
    for row, changes in stage_rows.items():
        for more in variants:
            for seed in range(3):
                steps = (5, 3, 3, 3, 3, 3)
                results = []
                for n in np.cumsum(steps):
                    right = 40 + seed - n
                    confusion = np.full((n, n), 1) + right * np.eye(n, dtype=int)
                    results.append(
                        SimpleNamespace(
                            confusion=confusion,
                            epochs={"a": 3},
                            memory_bytes=1,
                            state_bytes=4,
                            validation_bytes=2,
                            teacher_bytes=3,
                        )
                    )
                identity = {
                    "dataset": "gsc", "split": "random", "passes": "separate", "control": "none",
                    "method": "ccil", "losses": "CE_N", "schedule": "two_step",
                    "stopping": "early", "exemplars": 200, **changes, **more, "seed": seed,
                }  # fmt: skip
                rows = step_rows(identity, steps, results)[kind]
                tables.append(pd.DataFrame(rows).assign(row=row))
    return pd.concat(tables, ignore_index=True)


VARIANTS = {
    "ablate_losses": [{"losses": "CE_N"}, {"losses": "CE_N+CE_O+KD_N+KD_O"}],
    "sweep_exemplars": [{"exemplars": k} for k in (20, 200)],
    "sweep_epochs": [{"stopping": "early"}, {"stopping": "15"}, {"schedule": "small"}],
    "compare_methods": [{"method": name} for name in ("ccil", "icarl", "joint")],
}


def timings():
    return pd.DataFrame(
        [
            {
                "dataset": "gsc", "device": "cpu", "clips": 10, "heads": heads, "passes": passes,
                "round": turn, "seconds": 9.0, "cpu_seconds": len(heads) + turn, "row": "gsc",
            }
            for heads in ("5", "5-4", "5-4-3")
            for passes in ("separate", "shared")
            for turn in range(3)
        ]
    )  # fmt: skip


def bases():
    counts = {"train_clips": 70, "test_clips": 20, "validation_clips": 10, "leaking_test_clips": 5}
    about = {"dataset": "gsc", "split": "random", "heads": "5", "row": "gsc_5"}
    return pd.DataFrame([{**about, "seed": seed, **counts} for seed in range(3)])


def probed():
    rows = {"gsc_5": "5", "gsc_5-4-3-2": "5-4-3-2"}
    return pd.DataFrame(
        [
            {
                "dataset": "gsc", "split": "random", "heads": heads, "passes": "separate",
                "control": "none", "probe": probe, "seed": seed, "scope": scope, "step": step,
                "accuracy": 50 + len(heads) + seed - step, "row": row,
            }
            for row, heads in rows.items()
            for probe in ("linear", "ncm")
            for seed in range(3)
            for scope in ("seen", "future", "base")
            for step in range(3)
        ]
    )  # fmt: skip


MADE = {"time_heads": timings, "train_base": bases, "probe_base": probed}


@pytest.mark.parametrize("name", names("figures"))
def test_a_figure_gives_a_table_its_markdown_and_a_picture(name):
    figure = find("figures", name)
    assert figure.__doc__ and hasattr(STUDY, figure.SECTION)
    rows = {"gsc_5": {"heads": "5"}, "gsc_5-4-3-2": {"heads": "5-4-3-2"}}
    variants = VARIANTS.get(figure.STAGE, [{}])
    make = MADE.get(figure.STAGE, lambda: records(rows, variants, figure.RECORDS))
    table = figure.table(STUDY, make())
    header, rows = figure.markdown(table)
    assert len(table) and rows and all(len(row) == len(header) for row in rows)
    assert all(isinstance(cell, str) for row in rows for cell in row)
    drawn = figure.draw(table)
    assert isinstance(drawn, Figure) and drawn.axes
    panels = [axis for axis in drawn.axes if axis.get_label() != "<colorbar>"]
    assert all(axis.get_xlabel() and axis.get_ylabel() for axis in panels)


@pytest.mark.parametrize("name", names("figures"))
def test_a_figure_without_records_gives_an_empty_table(name):
    assert len(find("figures", name).table(STUDY, pd.DataFrame())) == 0
