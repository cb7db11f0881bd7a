"""A run's key changes exactly with what the run's result depends on.

Every value of both settings files is changed in turn, and every file of the package.
"""

import copy
import dataclasses
import functools
import importlib
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import yaml
from tiny_study import ROOT, change, params, write_params

from mtcil.core import lookup
from mtcil.core.lookup import PACKAGE_DIR, files_reached, names
from mtcil.running import base_jobs as jobs_of_bases
from mtcil.running import jobs, keys
from mtcil.running.base_jobs import BaseJob, Folders, base_jobs
from mtcil.running.jobs import (
    RunJob,
    Variant,
    comparison_training,
    method_settings,
    own_training,
    run_jobs,
)
from mtcil.running.probe import ProbeJob, probe_jobs
from mtcil.settings.files import SHARED, read_study
from mtcil.settings.sections import SplitSettings
from mtcil.settings.study import BaseRow, Study

BASE = "multitask"
# What a base model, and what the steps after it, depend on: places in the settings.
OF_BASE = (
    "datasets.words.classes", "datasets.words.steps", "datasets.words.class_order",
    "datasets.words.updates.base", "networks.tiny", "split", "seeds", "base_training.sgd",
    "base_training.fit.patience", "base_training.fit.schedule", "base_training.multitask_rate",
    "base_training.task_weight", "base_training.task_reduction", "base_training.statistics",
    *(f"base_models.words.{BASE}.{name}" for name in (
        "heads", "passes", "control", "order_seed", "parts", "length")),
)  # fmt: skip
MEMORY = ("memory", "exemplars", "datasets.words.exemplars")
LENGTHS = ("datasets.words.updates.head_first", "datasets.words.updates.then_all")
OF_STEPS = (*OF_BASE, *MEMORY, *LENGTHS, "step_training")
OF_COMPARED = (
    *OF_BASE, *MEMORY, "datasets.words.updates.compare", "comparison.training",
    "comparison.head_first_share",
)  # fmt: skip
# The same of the runs of other stages, from the same base models.
OF_STAGES = {
    "compare_methods": (
        *OF_COMPARED, "comparisons.words.methods",
        *(f"comparison.tuned.{name}" for name in ("ccil", "replay", "icarl")),
    ),
    "tune_methods": (*OF_COMPARED, "tunings.words.methods", "comparison.grids.replay"),
    "sweep_epochs": (
        *OF_STEPS, "schedules.small_rate", "datasets.words.clips_per_class",
        *(f"epoch_sweeps.words.{name}" for name in ("schedules", "epochs", "method")),
    ),
}  # fmt: skip
# Where any other value would not do; for names of rows, the name of another row.
OTHER: dict[str, Any] = {
    "datasets.words.class_order": ("yes", "no", "up", "left", "down"),
    "datasets.words.steps": (3, 2),
    "datasets.words.clips_per_class": 480,
    f"base_models.words.{BASE}.heads": "3-2-2",
    f"base_models.words.{BASE}.control": "shuffled_labels",
    f"base_models.words.{BASE}.passes": "shared",
    f"base_models.words.{BASE}.order_seed": 7,
    f"base_models.words.{BASE}.parts": ("gain",),
    "comparisons.words.methods": ("ccil", "replay", "lwf"),
    "tunings.words.methods": ("lwf",),
    "epoch_sweeps.words.method": "ccil_8_bits",
    "comparison.head_first_share": 0.7,
    "base_training.fit.schedule": "constant",
    "base_training.task_reduction": "sum",
    "base_training.statistics": "all_tasks",
}
# Names of rows, and which base models there are; tested below.
APART = (
    "methods", "datasets.words.network", f"base_models.words.{BASE}.method",
    f"base_models.words.{BASE}.splits", f"base_models.words.{BASE}.seeds",
)  # fmt: skip


@functools.cache
def code_digest(*starts: str) -> str:
    return keys.code_digest(*starts)


@functools.cache
def tiny_study(folder: Path) -> Study:
    write_params(folder, params("."))
    return read_study(folder / "params.yaml")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("stale")


@pytest.fixture
def study(monkeypatch, folder) -> Study:
    """The code is read once for all tests."""
    for module in (jobs_of_bases, jobs):
        monkeypatch.setattr(module, "code_digest", code_digest)
    return tiny_study(folder)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A folder with what stands for features, read for their checksums alone."""
    for name in ("features.npy", "clips.csv"):
        (tmp_path / name).write_bytes(b"once")
    return tmp_path


def bases_of(study: Study, files: Path, row: str = BASE, **how: Any) -> list[BaseJob]:
    """The base models of one row."""
    starts = [start for start in study.all_starts("words") if start[0] == row]
    folders = Folders(files, files / "models", files / "checkpoints")
    return base_jobs(study, "words", starts, folders, **{"device": "cpu"} | how)


def base_keys(study: Study, files: Path, row: str = BASE, **how: Any) -> list[str]:
    return [job.key for job in bases_of(study, files, row, **how)]


def runs_of(study: Study, files: Path, row: str = BASE, **changes: Any) -> list[RunJob]:
    """As stage learn_steps makes them."""
    variant = Variant(study.base_models["words"][row].method, study.budget("words"))
    variant = dataclasses.replace(variant, **changes)
    return run_jobs(study, bases_of(study, files, row), [variant])


def step_keys(study: Study, files: Path, row: str = BASE, **changes: Any) -> list[str]:
    return [job.key for job in runs_of(study, files, row, **changes)]


def stage_keys(stage: str, study: Study, files: Path) -> list[str]:
    """Keys of the runs that a stage of pipeline/ asks for, from the base models of one row."""
    with mock.patch.object(sys, "path", [str(ROOT / "pipeline"), *sys.path]):
        module, shared = importlib.import_module(stage), importlib.import_module("_learn")
    bases = bases_of(study, files)
    with (
        mock.patch.object(shared, "bases_of", return_value=bases),
        mock.patch.object(module, "bases_of", return_value=bases, create=True),
    ):
        return [job.key for job in module.jobs(study, "words")]


def both_keys(study: Study, files: Path, row: str = BASE) -> list[str]:
    return base_keys(study, files, row) + step_keys(study, files, row)


def leaves(value: Any, place: str = "") -> Iterator[str]:
    """Places of all values in nested settings, tuples as one value: "split.train"."""
    if dataclasses.is_dataclass(value):
        inside = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    elif isinstance(value, dict):
        inside = value
    else:
        yield place
        return
    for name, part in inside.items():
        yield from leaves(part, f"{place}.{name}".lstrip("."))


def changed(settings: Any, place: str, value: Any = None) -> Any:
    """A copy with another value at one place; nothing asks whether it is a sensible one."""
    settings = copy.deepcopy(settings)
    *way, last = place.split(".")
    at = settings
    for name in way:
        at = at[name] if isinstance(at, dict) else getattr(at, name)
    old = at[last] if isinstance(at, dict) else getattr(at, last)
    new = OTHER.get(place, another(old)) if value is None else value
    assert new != old
    if isinstance(at, dict):
        at[last] = new
    else:
        object.__setattr__(at, last, new)
    return settings


def another(value: Any) -> Any:
    if value is None:
        return 1
    if isinstance(value, bool):
        return not value
    if isinstance(value, str):
        return f"{value}x"
    if isinstance(value, tuple | list):
        return (another(value[0]), *value[1:]) if value else (1,)
    return value + 1


def is_below(place: str, places: tuple[str, ...]) -> bool:
    return any(f"{place}.".startswith(f"{other}.") for other in places)


# Values of settings.yaml and params.yaml


def test_a_changed_value_changes_the_keys_of_the_runs_that_use_it_only(study, files):
    base, steps = base_keys(study, files), step_keys(study, files)
    found = list(leaves(study))
    for place in (*OF_STEPS, *APART):  # the walk meets every place that is named here
        assert any(is_below(one, (place,)) for one in found), place
    assert {place.split(".")[0] for place in found} >= {
        field.name for field in dataclasses.fields(Study) if getattr(study, field.name)
    }
    places = [place for place in found if not is_below(place, APART)]
    assert len(places) > 150
    for place in places:
        other = changed(study, place)
        assert (base_keys(other, files) != base) == is_below(place, OF_BASE), place
        assert (step_keys(other, files) != steps) == is_below(place, OF_STEPS), place


@pytest.mark.parametrize("stage", OF_STAGES)
def test_a_changed_value_is_another_run_of_the_stages_that_read_it(study, files, stage):
    """The lengths of steps are compare_methods' and tune_methods' own, and so is what they keep."""
    places, before = OF_STAGES[stage], stage_keys(stage, study, files)
    assert len(set(before)) == len(before) >= 4
    found = [place for place in leaves(study) if not is_below(place, APART)]
    assert all(any(is_below(one, (place,)) for one in found) for place in places)
    assert len(found) > 150
    for place in found:
        other = stage_keys(stage, changed(study, place), files)
        assert (other != before) == is_below(place, places), place


@pytest.mark.parametrize(
    ("place", "of_single"),
    [("fit.learning_rate", True), ("multitask_rate", False), ("task_weight", False),
     ("task_reduction", False), ("statistics", False)],
)  # fmt: skip
def test_a_single_task_is_trained_again_only_if_its_own_settings_change(
    study, files, place, of_single
):
    other = changed(study, f"base_training.{place}")
    assert (base_keys(other, files, "single") != base_keys(study, files, "single")) == of_single


def test_an_override_counts_as_the_value_itself(study, files, tmp_path):
    """A key has the number, and not the place where it is written."""
    shared = yaml.safe_load((ROOT / "settings.yaml").read_text("utf-8"))
    overrides = params(".")["overrides"]
    values = params(".") | {"settings": "settings.yaml", "overrides": {}}
    for section, parts in overrides.items():
        for name, value in parts.items():
            merge(shared[section], name, value)
    (tmp_path / "settings.yaml").write_text(yaml.safe_dump(shared), "utf-8")
    write_params(tmp_path, values)
    written = read_study(tmp_path / "params.yaml")
    assert both_keys(written, files) == both_keys(study, files)
    base, steps = base_keys(study, files), step_keys(study, files)
    for place, value, of_base, of_steps in (
        ("base_training.fit.patience", 16, True, True),
        ("base_training.task_reduction", "sum", True, True),
        ("base_training.statistics", "all_tasks", True, True),
        ("networks.tiny.dropout", 0.25, True, True),
        ("step_training.then_all.learning_rate", 0.25, False, True),
        ("step_training.head_first.patience", 16, False, True),
        ("methods.ccil.kd_weight", 0.25, False, True),
        ("methods.replay.bits", 16, False, False),
        ("comparison.training.then_all.learning_rate", 0.25, False, False),
        ("comparison.head_first_share", 0.25, False, False),
        ("schedules.large_rate", 0.25, False, False),
        ("probes.slda.shrinkage", 0.25, False, False),
    ):
        assert place.split(".")[0] in SHARED
        values = params(".")
        change(values, place, value)
        write_params(tmp_path, values)
        other = read_study(tmp_path / "params.yaml")
        assert (base_keys(other, files) != base) == of_base, place
        assert (step_keys(other, files) != steps) == of_steps, place


def merge(values: dict[str, Any], name: str, value: Any) -> None:
    if isinstance(value, dict) and isinstance(values.get(name), dict):
        for inner, one in value.items():
            merge(values[name], inner, one)
    else:
        values[name] = value


def test_a_name_of_a_network_counts_by_what_is_below_it(study, files):
    tiny = study.networks["tiny"]
    networks = {**study.networks, "new": tiny, "other": dataclasses.replace(tiny, dropout=0.1)}
    for network, same in (("new", True), ("other", False)):
        words = dataclasses.replace(study.datasets["words"], network=network)
        other = dataclasses.replace(study, networks=networks, datasets={"words": words})
        assert (base_keys(other, files) == base_keys(study, files)) == same
        assert (step_keys(other, files) == step_keys(study, files)) == same


def with_row(study: Study, name: str, **changes: Any) -> Study:
    row = dataclasses.replace(study.base_models["words"][BASE], **changes)
    rows = {**study.base_models["words"], name: row}
    return dataclasses.replace(study, base_models={"words": rows})


def test_the_name_of_a_base_model_is_a_label(study, files):
    other = with_row(study, "by_another_name")
    assert both_keys(other, files, "by_another_name") == both_keys(study, files)
    assert len({*both_keys(study, files), *both_keys(study, files, "single")}) == 8


def test_the_method_of_a_row_is_the_steps_and_not_the_base_models(study, files):
    other = with_row(study, BASE, method="replay")
    assert base_keys(other, files) == base_keys(study, files)
    assert not set(step_keys(other, files)) & set(step_keys(study, files))


def test_a_split_of_a_row_is_a_run_of_its_own(study, files):
    other = with_row(study, BASE, splits=("random", "group"))
    for find in (base_keys, step_keys):
        found = find(other, files)
        assert found[:2] == find(study, files) and len(set(found)) == 4


def test_the_seeds_of_a_row_leave_each_other_their_keys(study, files):
    only = with_row(study, BASE, seeds=(1,))
    more = dataclasses.replace(study, seeds=(2, *study.seeds))
    for find in (base_keys, step_keys):
        assert find(only, files) == find(study, files)[1:]
        assert find(more, files)[1:] == find(study, files)
    assert len(set(both_keys(more, files))) == 6


def test_an_order_seed_counts_by_the_order_that_it_draws(study, files):
    """Null is the run's own seed."""
    zero, one = (with_row(study, BASE, order_seed=seed) for seed in (0, 1))
    for find in (base_keys, step_keys):
        usual = find(study, files)
        assert find(zero, files)[0] == usual[0] and find(zero, files)[1] != usual[1]
        assert find(one, files)[1] == usual[1] and find(one, files)[0] != usual[0]
    assert [job.order_seed for job in bases_of(one, files)] == [1, 1]


def test_the_control_that_trains_longer_depends_on_the_heads_of_multitask(study, files):
    other = changed(study, f"base_models.words.{BASE}.heads")
    row = "single_longer"
    assert both_keys(other, files, row) != both_keys(study, files, row)
    assert both_keys(other, files, "single") == both_keys(study, files, "single")
    assert base_keys(study, files, "single") != base_keys(study, files, row)


# Variants and methods


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({"exemplars": 13}, False),
        ({"settings": {"losses": "CE_N"}}, False),
        ({"settings": {"learning_rate": 0.3}}, False),
        ({"measured": "validation"}, False),
        ({"validation": "memory"}, False),
        ({"validation_share": 0.3}, False),
        ({"method": "icarl"}, False),
        # Labels of records; what they stand for is in `settings` and `training`.
        ({"name": "other"}, True),
        ({"schedule": "small"}, True),
        ({"stopping": "2"}, True),
        ({"settings": {"losses": "CE_N+CE_O+KD_N+KD_O"}}, True),  # as it is
    ],
    ids=str,
)
def test_every_part_of_a_variant_changes_the_key(study, files, change, same):
    assert (step_keys(study, files, **change) == step_keys(study, files)) == same


def test_labels_are_in_the_records_and_not_in_the_key(study, files):
    usual = runs_of(study, files)[0]
    other = runs_of(study, files, name="other", schedule="small", stopping="2")[0]
    assert (other.run.method, other.run.schedule, other.run.stopping) == ("other", "small", "2")
    assert other.run != usual.run and other.key == usual.key
    assert other.checkpoint == usual.checkpoint


def test_a_variants_own_training_counts(study, files):
    own = comparison_training(study, "words")
    trainings = [None, own, *(changed(own, place) for place in leaves(own))]
    found = [tuple(step_keys(study, files, training=training)) for training in trainings]
    assert len(set(found)) == len(trainings) > 20
    same = step_keys(study, files, training=own_training(study, "words"))
    assert same == step_keys(study, files)


def test_every_setting_of_every_method_counts(study, files, monkeypatch):
    seen = set()
    for section in study.methods:
        kind, config = method_settings(study, section)
        configs = [config, *(changed(config, place) for place in leaves(config))]
        found = set()
        for one in configs:
            monkeypatch.setattr(jobs, "method_settings", lambda *args, one=(kind, one): one)
            found.add(tuple(step_keys(study, files)))
        monkeypatch.setattr(jobs, "method_settings", method_settings)
        assert len(found) == len(configs) >= 4, section
        seen.add(kind)
    assert seen == set(names("methods"))


def test_a_row_of_methods_counts_by_its_file_and_its_settings(study, files):
    """A row of another name with the same file and settings is the same run."""
    values = study.methods["ccil"]
    same = {**study.methods, "mine": {**values, "kind": "ccil"}}
    other = {**study.methods, "mine": {**values, "kind": "ccil", "temperature": 3.0}}
    for methods, is_same in ((same, True), (other, False)):
        of_mine = dataclasses.replace(study, methods=methods)
        found = step_keys(of_mine, files, method="mine")
        assert (found == step_keys(study, files)) == is_same
    # Two methods may have the same settings: the file counts too.
    config = study.methods["icarl"]
    assert config == study.methods["er_ace"] == {}
    two = [step_keys(study, files, method=name)[0] for name in ("icarl", "er_ace")]
    assert two[0] != two[1]


# Data, base models, machines


@pytest.mark.parametrize("name", ["features.npy", "clips.csv"])
def test_other_features_are_other_runs(study, files, name):
    before = both_keys(study, files)
    (files / name).write_bytes(b"oncE")
    assert not set(before) & set(both_keys(study, files))


def test_another_base_model_is_another_run_through_its_key(study, files):
    """The model's file is not read, so it need not be there to know what is finished."""
    bases = bases_of(study, files)
    assert not bases[0].file.exists()
    variant = Variant("ccil", 12)
    usual = [job.key for job in run_jobs(study, bases, [variant])]
    other = [dataclasses.replace(bases[0], key="another"), bases[1]]
    found = [job.key for job in run_jobs(study, other, [variant])]
    assert found[0] != usual[0] and found[1] == usual[1]
    moved = [dataclasses.replace(base, file=files / "elsewhere.pt") for base in bases]
    assert [job.key for job in run_jobs(study, moved, [variant])] == usual


def test_another_place_on_the_disk_changes_no_key(study, files, tmp_path):
    shutil.copytree(files, tmp_path / "copied")
    assert both_keys(study, tmp_path / "copied") == both_keys(study, files)


@pytest.mark.parametrize("place", range(4), ids=["torch", "numpy", "device", "hardware"])
def test_another_version_or_kind_of_machine_is_another_run(study, files, monkeypatch, place):
    before = base_keys(study, files), step_keys(study, files)
    bases = bases_of(study, files)
    about = jobs.environment("cpu")
    about[place] += "x"
    for module in (jobs_of_bases, jobs):
        monkeypatch.setattr(module, "environment", lambda device: about)
    assert not set(base_keys(study, files)) & set(before[0])
    # Steps by themselves, not only through the base model.
    found = run_jobs(study, bases, [Variant("ccil", study.budget("words"))])
    assert not {job.key for job in found} & set(before[1])


def test_the_kind_of_device_counts_and_its_number_does_not(monkeypatch):
    monkeypatch.setattr(keys.torch.cuda, "get_device_name", lambda: "a card")
    assert keys.environment("cuda:1") == keys.environment("cuda")
    assert keys.environment("cuda")[2:] == ["cuda", "a card"]
    assert keys.environment("cpu")[2] == "cpu"


# Probes


def keys_of(jobs: list[ProbeJob]) -> list[str]:
    return [key for job in jobs for key in job.probes]


def test_a_probes_key_follows_its_base_model_its_name_and_every_setting(study, files):
    bases = bases_of(study, files)[:1]
    before = keys_of(probe_jobs(study.probes, bases))
    assert len(set(before)) == len(study.probes) == len(names("probes"))
    other = [dataclasses.replace(bases[0], key="another")]
    assert not set(keys_of(probe_jobs(study.probes, other))) & set(before)
    for place in leaves(dict(study.probes)):
        name = place.split(".")[0]
        if place == name:  # without settings
            continue
        value = {"held_share": 0.3, "shrinkage": 0.5, "covariance_shrinkage": 0.5}
        changed_probes = changed(dict(study.probes), place, value.get(place.split(".")[1]))
        after = keys_of(probe_jobs(changed_probes, bases))
        differ = [a != b for a, b in zip(after, before, strict=True)]
        assert differ == [one == name for one in study.probes], place


# Code


def key_of_code(source: str, file: Path) -> str:
    file.write_text(source, "utf-8")
    keys.code_of.cache_clear()
    keys.code_digest.cache_clear()
    return keys.code_of(file)


CODE = '''
"""What it is for."""
from math import pi

# why
class Circle:
    """A circle."""

    def area(self, r):
        """Its area."""
        return pi * r**2  # by hand

def nothing():
    """Does nothing."""
'''


def test_comments_docstrings_and_layout_do_not_count_as_code(tmp_path):
    usual = key_of_code(CODE, tmp_path / "a.py")
    assert keys.digest(usual) == "1cedbba78ed6b6df"  # on every version of Python
    for old, new in (
        ("# why", "# another reason\n# of two lines"),
        ("  # by hand", ""),
        ('"""What it is for."""', '"""Something else."""'),
        ('"""What it is for."""\n', ""),
        ('    """A circle."""\n\n', ""),
        ('"""Its area."""', '"""Of a circle\n\n        of radius r."""'),
        ('        """Its area."""\n', ""),
        ('"""Does nothing."""', "pass"),
        ("pi * r**2", "(pi\n            * r ** 2)"),
        ("\n\ndef", "\n\n\n\ndef"),
    ):
        assert old in CODE
        assert key_of_code(CODE.replace(old, new), tmp_path / "a.py") == usual, old
    for old, new in (
        ("r**2", "r**3"), ("pi * r", "3.14 * r"), ("area", "surface"), ("(self, r)", "(self, r=1)"),
        ("from math import pi", "from numpy import pi"), ("Circle:", "Circle(tuple):"),
        ("        return", '        "text"\n        return "text" and'),
    ):  # fmt: skip
        assert old in CODE
        assert key_of_code(CODE.replace(old, new), tmp_path / "a.py") != usual, old


def test_the_build_of_pytorch_does_not_matter(monkeypatch):
    found = set()
    for built in ("2.0.0", "2.0.0+cpu", "2.0.0+cu130", "2.0.1"):
        monkeypatch.setattr(keys.torch, "__version__", built)
        found.add(keys.environment("cpu")[0])
    assert found == {"2.0.0", "2.0.1"}


@pytest.fixture
def package(tmp_path, monkeypatch, study) -> Path:
    """A copy of the package's source, from which keys are then made."""
    copied = tmp_path / "mtcil"
    shutil.copytree(PACKAGE_DIR, copied, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(lookup, "PACKAGE_DIR", copied)
    monkeypatch.setattr(keys, "PACKAGE_DIR", copied)
    of_values = {copied / path.relative_to(PACKAGE_DIR) for path in keys.OF_VALUES}
    monkeypatch.setattr(keys, "OF_VALUES", of_values)
    for module in (jobs_of_bases, jobs):
        monkeypatch.setattr(module, "code_digest", keys.code_digest)
    yield copied
    keys.functions_digest.cache_clear()
    keys.code_of.cache_clear()
    keys.code_digest.cache_clear()


@contextmanager
def added(more: str, to: set[Path]) -> Iterator[None]:
    """For a while, some text at the end of files of the package."""
    texts = {file: file.read_text("utf-8") for file in to}
    for end in (more, ""):
        for file, text in texts.items():
            file.write_text(text + end, "utf-8")
        keys.code_of.cache_clear()
        keys.code_digest.cache_clear()
        if end == more:
            yield


def after_adding(
    more: str, to: set[Path], study: Study, files: Path
) -> tuple[list[str], list[str]]:
    """The keys with some text at the end of files of the package."""
    with added(more, to):
        return base_keys(study, files), step_keys(study, files)


@pytest.mark.slow
def test_a_key_changes_only_with_code_that_the_run_reaches(study, files, package):
    method = package / "methods" / "ccil.py"
    learning, rows = package / "learning", package / "records" / "rows.py"
    executor = package / "running" / "alone.py"
    of_base = files_reached([learning / "base_step.py", learning / "split.py", executor])
    of_steps = of_base | files_reached([learning / "trajectory.py", method, rows])
    assert len(of_base) > 10 and len(of_steps) > 20
    core = package / "core" / "randomness.py"
    for file in (learning / "fit.py", learning / "network.py", core, executor):
        assert file in of_base
    for file in (learning / "memory.py", method, package / "records" / "measures.py"):
        assert file in of_steps - of_base
    base, steps = base_keys(study, files), step_keys(study, files)
    for file in sorted(of_steps - keys.OF_VALUES):
        found = after_adding("\nhere = 1\n", {file}, study, files)
        assert (found[0] != base) == (file in of_base), file
        assert found[1] != steps, file
    others = {*package.rglob("*.py")} - (of_steps - keys.OF_VALUES)
    assert len(others) > 70 and package / "methods" / "icarl.py" in others
    assert after_adding("\nhere = 1\n", others, study, files) == (base, steps)
    assert after_adding("\n\n# a remark\n", of_steps, study, files) == (base, steps)


BEGINS = {  # file, a change of the code in it, and the keys that this code is part of
    "tasks": ("run.py", "draw_tasks(job.heads, n_base", "draw_tasks(job.heads, 1 + n_base", "bsp"),
    "split": ("run.py", "job.split, job.seed, device", "job.split, 1 + job.seed, device", "bsp"),
    "seed": ("run.py", "plan, method, base.seed)", "plan, method, 1 + base.seed)", "s"),
    "process": ("device.py", "set_flush_denormal(True)", "set_flush_denormal(False)", "bsp"),
    "probe": ("probe.py", "dataset.steps, base.seed)", "dataset.steps, 1 + base.seed)", "p"),
    "order of work": ("run.py", "if not jobs:", "if not [*jobs]:", ""),
    "remark": ("run.py", "plan = BasePlan(", "plan = BasePlan(  # why", ""),
}


@pytest.mark.parametrize("case", BEGINS)
def test_the_functions_that_begin_a_run_are_part_of_its_key(study, files, package, case):
    name, code, other, wanted = BEGINS[case]
    file = package / "running" / name

    def found():
        keys.functions_digest.cache_clear()
        probes = keys_of(probe_jobs({"ncm": {}}, bases_of(study, files)))
        return {"b": base_keys(study, files), "s": step_keys(study, files), "p": probes}

    before, text = found(), file.read_text("utf-8")
    assert text.count(code) == 1
    file.write_text(text.replace(code, other), "utf-8")
    now = found()
    assert {kind for kind in before if now[kind] != before[kind]} == set(wanted)


def test_the_code_of_parts_is_in_the_keys_of_the_base_models_that_use_it(study, files, package):
    rows = {
        "plain": BaseRow("3"), "gained": BaseRow("3", parts=("gain",)),
        "mixed": BaseRow("3", parts=("mixup",)), "top": BaseRow("3", control="ceiling"),
    }  # fmt: skip
    study = dataclasses.replace(study, base_models={"words": rows})

    def keys_of_rows():
        return {row: base_keys(study, files, row) for row in rows}

    before, learning = keys_of_rows(), package / "learning"
    for file, wanted in (
        (learning / "parts" / "gain.py", {"gained"}),
        (learning / "parts" / "__init__.py", {"gained", "mixed", "top"}),
        (learning / "parts_step.py", {"gained", "mixed", "top"}),
        (learning / "base_step.py", set(rows)),
    ):
        with added("\nhere = 1\n", {file}):
            now = keys_of_rows()
        assert {row for row in rows if now[row] != before[row]} == wanted, file
    assert keys_of_rows() == before


def test_code_left_out_of_keys_holds_only_settings_and_messages():
    """Their values are in the keys themselves."""
    left_out = {path.relative_to(PACKAGE_DIR).as_posix() for path in keys.OF_VALUES}
    assert "core/errors.py" in left_out
    assert left_out - {"core/errors.py"} == {
        path.relative_to(PACKAGE_DIR).as_posix() for path in (PACKAGE_DIR / "settings").iterdir()
        if path.suffix == ".py"
    }  # fmt: skip


# The hash itself


def test_a_digest_follows_every_value_and_only_values():
    network = tiny_network()
    found = {
        keys.digest(network, 1), keys.digest(network, 2), keys.digest(network, "1"),
        keys.digest(network, [1, None]), keys.digest([network, 1]), keys.digest(network, True),
        keys.digest(dataclasses.replace(network, dropout=0.4), 1), keys.digest(network, 1.5),
    }  # fmt: skip
    assert len(found) == 8
    assert keys.digest(network, 1) == keys.digest(tiny_network(), 1)
    assert keys.digest({"a": 1, "b": 2}) == keys.digest({"b": 2, "a": 1})
    split = SplitSettings("random", 0.7, 0.2, 0.1)
    assert keys.digest(split) != keys.digest(dataclasses.replace(split, kind="group"))


def tiny_network() -> Any:
    from conftest import NETWORK

    return copy.deepcopy(NETWORK)


def test_values_without_a_plain_form_are_refused():
    for value in ({1, 2}, object(), SplitSettings):
        with pytest.raises(TypeError, match="not a plain value"):
            keys.digest(value)
