"""Every dataset, method, probe, table and figure found by its name keeps its contract."""

import dataclasses
import inspect
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from mtcil import figures as figure_contract
from mtcil import tables as table_contract
from mtcil.audio import source as dataset_contract
from mtcil.core.errors import UserError
from mtcil.core.lookup import find, names
from mtcil.learning import probe as probe_contract
from mtcil.learning import steps as method_contract
from mtcil.learning.steps import MethodConfig
from mtcil.records.rows import TABLES, Run, step_rows
from mtcil.records.tables import columns_of
from mtcil.reporting.table_files import page_of, read_table, write_tables
from mtcil.settings.files import read_study

ROOT = Path(__file__).parents[2]
STUDY = read_study(ROOT / "params.yaml")
CONTRACTS = {
    "datasets": dataset_contract,
    "methods": method_contract,
    "probes": probe_contract,
    "tables": table_contract,
    "figures": figure_contract,
}
OPTIONAL = {"make"}  # a function that not every file needs
# What a methods file is called with; the types are those of `Method`.
OF_METHODS = {
    "learn_step": ["learner", "clips", "config", "training", "seeds"],
    "state_after": ["learner", "clips", "memory", "config", "seeds"],
    "predict": ["learner", "features"],
    "cost": ["network", "n_seen", "config"],
}
NEED_BOTH = {"gain"}  # tables of differences between the single task and multitask only
NEED_OTHERS = {"ceiling", "orders"}  # tables of base models that the records here have not
SINGLE, MULTITASK = {"single": "5"}, {"multitask": "5-4-3-2"}  # heads by base model


def against(kind, rule):
    """Files of a kind that do not keep a rule."""
    return [name for name in names(kind) if not rule(find(kind, name))]


def asked(kind):
    """{function: parameters} that the text of a contract asks for."""
    if kind == "methods":
        return OF_METHODS
    text = CONTRACTS[kind].__doc__
    return {
        name: re.findall(r"(\w+)(?:: [^,)]+)?", parameters)
        for name, parameters in re.findall(r"def (\w+)\(([^)]*)\)", text)
    }


@pytest.mark.parametrize("kind", CONTRACTS)
def test_an_unknown_name_is_refused_with_the_known_ones(kind):
    with pytest.raises(UserError, match=f"No mtcil.{kind} called 'tyo'. There are: .*To add one"):
        find(kind, "tyo")


@pytest.mark.parametrize("kind", CONTRACTS)
def test_every_file_has_the_functions_that_its_contract_asks_for(kind):
    functions = asked(kind)
    assert functions

    def has_all(module):
        return all(hasattr(module, name) for name in set(functions) - OPTIONAL)

    def takes_what_it_is_given(module):
        return all(
            list(inspect.signature(getattr(module, name)).parameters) == parameters
            for name, parameters in functions.items()
            if hasattr(module, name)
        )

    def says_what_it_is(module):
        needed = set(functions) - OPTIONAL
        return bool(module.__doc__) and all(getattr(module, name).__doc__ for name in needed)

    assert against(kind, has_all) == []
    assert against(kind, takes_what_it_is_given) == []
    assert against(kind, says_what_it_is) == []


def test_every_method_takes_and_gives_the_types_that_the_protocol_states():
    stated = inspect.get_annotations(method_contract.Method)
    assert set(stated) == {"Config", *OF_METHODS}

    def has_the_types(method):
        for name, parameters in OF_METHODS.items():
            *wanted, gives = get_args(stated[name])
            found = inspect.get_annotations(getattr(method, name))
            if found["return"] != gives or [*wanted[0]] != [
                Any if parameter == "config" else found[parameter] for parameter in parameters
            ]:
                return False
        return True

    def has_its_own_settings(method):
        of = (inspect.get_annotations(getattr(method, name)).get("config") for name in OF_METHODS)
        return all(found in (None, Any, MethodConfig, method.Config) for found in of)

    assert against("methods", has_the_types) == []
    assert against("methods", has_its_own_settings) == []


def test_every_dataset_states_its_archive_and_its_classes():
    def has_a_source(dataset):
        return dataset.SOURCE is None or isinstance(dataset.SOURCE, dataset_contract.Source)

    def has_classes(dataset):
        found = dataset.CLASSES
        return found is None or (isinstance(found, tuple) and len(set(found)) == len(found) >= 2)

    def says_no_more_of_its_root(dataset):
        return getattr(dataset, "ROOT_IS_DROPPED", True) is True

    def is_made_or_downloaded(dataset):
        return not (hasattr(dataset, "make") and dataset.SOURCE)

    assert against("datasets", has_a_source) == []
    assert against("datasets", has_classes) == []
    assert against("datasets", says_no_more_of_its_root) == []
    assert against("datasets", is_made_or_downloaded) == []


def is_frozen(settings):
    return dataclasses.is_dataclass(settings) and settings.__dataclass_params__.frozen


def test_every_method_states_its_settings_and_is_used():
    used = {values.get("kind", name) for name, values in STUDY.methods.items()}
    assert against("methods", lambda method: is_frozen(method.Config)) == []
    assert against("methods", lambda method: issubclass(method.Config, MethodConfig)) == []
    assert sorted(used) == names("methods")


def test_every_probe_states_its_settings():
    assert against("probes", lambda probe: is_frozen(probe.Config)) == []
    assert sorted(STUDY.probes) == names("probes")


def test_every_table_states_what_it_reads():
    stages = {path.stem for path in (ROOT / "pipeline").glob("[!_]*.py")}
    assert against("tables", lambda table: table.STAGE in stages) == []
    assert against("tables", lambda table: isinstance(getattr(STUDY, table.SECTION), dict)) == []
    assert against("tables", lambda table: table.RECORDS in TABLES) == []


def test_every_figure_has_a_table_of_its_name():
    assert set(names("figures")) <= set(names("tables"))


def test_a_table_without_records_is_empty():
    def none(table):
        return pd.DataFrame(columns=list(columns_of(table.STAGE, table.RECORDS)))

    assert against("tables", lambda table: len(table.table(STUDY, pd.DataFrame())) == 0) == []
    assert against("tables", lambda table: len(table.table(STUDY, none(table))) == 0) == []


def records(bases, variants, table):
    """Records of made-up runs: accuracies that fall from step to step and differ by seed."""
    steps, rows = (5, 3, 3, 3, 3, 3), []
    plain = {
        "passes": "separate", "control": "none", "method": "ccil", "losses": "CE_N",
        "schedule": "two_step", "stopping": "early", "exemplars": 200,
    }  # fmt: skip
    for base, heads in bases.items():
        for more in variants:
            for seed in range(3):
                results = [
                    SimpleNamespace(
                        confusion=np.full((n, n), 1) + (40 + seed - n) * np.eye(n, dtype=int),
                        updates={"a": 3},
                        clips_passed=5,
                        diverged=False,
                        memory_bytes=1,
                        state_bytes=4,
                        validation_bytes=2,
                        teacher_bytes=3,
                    )
                    for n in np.cumsum(steps)
                ]
                about = {"dataset": "gsc", "split": "random", "base": base, "heads": heads}
                run = Run(**about, **{**plain, **more}, seed=seed)
                rows += step_rows(run, steps, results, "a key")[table]
    return pd.DataFrame(rows)


VARIANTS = {
    "ablate_losses": [{"losses": "CE_N"}, {"losses": "CE_N+CE_O+KD_N+KD_O"}],
    "sweep_exemplars": [{"exemplars": k} for k in (20, 200)],
    "sweep_epochs": [{"stopping": "early"}, {"stopping": "15"}, {"schedule": "small"}],
    "compare_methods": [{"method": name} for name in ("ccil", "icarl", "joint")],
}


def timings(_):
    return pd.DataFrame(
        [
            {
                "dataset": "gsc", "device": "cpu", "clips": 10, "heads": heads, "passes": passes,
                "round": turn, "seconds": 9.0, "cpu_seconds": len(heads) + turn,
            }
            for heads in ("5", "5-4", "5-4-3")
            for passes in ("separate", "shared")
            for turn in range(3)
        ]
    )  # fmt: skip


def trained(bases):
    counts = {"train_clips": 70, "test_clips": 20, "validation_clips": 10, "leaking_test_clips": 5}
    return pd.DataFrame(
        [
            {
                "dataset": "gsc", "split": "random", "base": base, "heads": heads,
                "passes": "separate", "control": "none", "seed": seed, "updates": 9, **counts,
                "key": "a key",
            }
            for base, heads in bases.items()
            for seed in range(3)
        ]
    )  # fmt: skip


def probed(bases):
    return pd.DataFrame(
        [
            {
                "dataset": "gsc", "split": "random", "base": base, "heads": heads,
                "passes": "separate", "control": "none", "probe": probe, "seed": seed,
                "scope": scope, "step": step, "classes_seen": 5 + step,
                "accuracy": 50.0 + len(heads) + seed - step, "bytes": 9, "key": "a key",
            }
            for base, heads in bases.items()
            for probe in ("linear", "ncm")
            for seed in range(3)
            for scope in ("seen", "future", "base")
            for step in range(3)
        ]
    )  # fmt: skip


MADE = {"time_heads": timings, "train_base": trained, "probe_base": probed}


def made_for(table, bases):
    """Records that a table reads, as its stage would write them."""
    variants = VARIANTS.get(table.STAGE, [{}])
    make = MADE.get(table.STAGE, lambda these: records(these, variants, table.RECORDS))
    return make(bases)


def test_the_records_made_here_have_the_columns_that_stages_write():
    def has_them(table):
        columns = made_for(table, SINGLE).columns
        return columns.tolist() == list(columns_of(table.STAGE, table.RECORDS))

    assert against("tables", has_them) == []


@pytest.mark.parametrize("name", names("tables"))
@pytest.mark.parametrize(
    "bases", [SINGLE | MULTITASK, SINGLE, MULTITASK], ids=["both", "single", "multitask"]
)
def test_a_table_has_a_page_and_its_file_a_picture(name, bases, tmp_path):
    of = find("tables", name)
    table = of.table(STUDY, made_for(of, bases))
    if name in NEED_OTHERS or (name in NEED_BOTH and len(bases) == 1):
        assert table.empty
        return
    header, rows = of.markdown(table)
    assert len(table) and rows and all(len(row) == len(header) for row in rows)
    assert all(isinstance(cell, str) for row in rows for cell in row)
    write_tables(tmp_path, {name: table}, {name: page_of(of, table)})
    if name not in names("figures"):
        return
    drawn = find("figures", name).draw(read_table(tmp_path, name))
    assert isinstance(drawn, Figure) and drawn.axes
    drawn.draw_without_rendering()
    panels = [axis for axis in drawn.axes if axis.get_label() != "<colorbar>"]
    assert all(axis.get_xlabel() and axis.get_ylabel() for axis in panels)
