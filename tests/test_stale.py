"""No checkpoint is taken up after anything that its result depends on has changed; all others are.

Every value of the settings is changed in turn, and every file of the package.
"""

import copy
import dataclasses
import functools
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_study import ROOT, params

from mtcil import checkpoints, lookup, runs
from mtcil.config import build, read_yaml
from mtcil.lookup import PACKAGE_DIR, files_reached, names
from mtcil.runs import Variant, base_tasks, method_settings, save_base, step_tasks
from mtcil.study import Study

ROW = "words_3-2"
# What a base model, and what the steps after it, depend on: places in the settings.
OF_DATA = ("datasets.words.classes", "datasets.words.steps", "datasets.words.class_order")
OF_BOTH = (*OF_DATA, "networks.words", "split", f"base_models.{ROW}.split")
OF_BASE = (
    *OF_BOTH, "base_training", "seeds",
    *(f"base_models.{ROW}.{name}" for name in ("heads", "passes", "control")),
)  # fmt: skip
OF_STEPS = (
    *OF_BOTH, "step_training", "memory", "exemplars", "datasets.words.exemplars", "seeds",
)  # fmt: skip
# Where any other value would not do; for names of rows, the name of another row.
OTHER: dict[str, Any] = {
    "datasets.words.class_order": ("yes", "no", "up", "left", "down"),
    "datasets.words.multitask": "3-2-2",
    "datasets.words.steps": (3, 2),
    f"base_models.{ROW}.heads": "3-2-2",
    f"base_models.{ROW}.control": "shuffled_labels",
    f"base_models.{ROW}.split": "group",
}
ROW_NAMES = {
    "datasets.words.network", f"base_models.{ROW}.dataset", f"base_models.{ROW}.method",
}  # fmt: skip


METHOD = params(".")["base_models"][ROW]["method"]


@functools.cache
def code_digest(*starts: Path) -> str:
    return checkpoints.code_digest(starts)


@functools.cache
def tiny_study() -> Study:
    """With the settings of every method."""
    methods = read_yaml(ROOT / "params.yaml")["methods"]
    return build(Study, params(".") | {"methods": methods}, "params.yaml:")


@pytest.fixture
def study(monkeypatch) -> Study:
    """The code is read once for all tests."""
    monkeypatch.setattr(runs, "code_digest", lambda starts: code_digest(*starts))
    return tiny_study()


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A folder with what stands for features and base models, read for their checksums alone."""
    for name in ("features.npy", "clips.csv"):
        (tmp_path / name).write_bytes(b"once")
    for seed in range(3):
        save_base(model(0.0), tmp_path / f"seed{seed}.pt")
    runs._model_digest.cache_clear()
    return tmp_path


def model(weight: float, epochs: int = 1) -> dict[str, Any]:
    return {"network": {"head.bias": torch.full((3,), weight)}, "epochs": {"base": epochs}}


def base_names(study: Study, files: Path, row: str = ROW) -> list[str]:
    tasks = base_tasks(study, row, study.seeds, files, files, "cpu")
    return [task.checkpoint.key for task in tasks]


def step_names(study: Study, files: Path, **changes: Any) -> list[str]:
    """As stage learn_steps makes them."""
    variant = Variant(study.base_models[ROW].method, study.budget("words"))
    variant = dataclasses.replace(variant, **changes)
    tasks = step_tasks(study, ROW, [variant], files, files, files, "cpu")
    return [task.checkpoint.key for task in tasks]


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


def changed(settings: Any, place: str) -> Any:
    """A copy with another value at one place; nothing asks whether it is a sensible one."""
    settings = copy.deepcopy(settings)
    *way, last = place.split(".")
    at = settings
    for name in way:
        at = at[name] if isinstance(at, dict) else getattr(at, name)
    old = at[last] if isinstance(at, dict) else getattr(at, last)
    new = OTHER.get(place, another(old))
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


def all_places() -> list[str]:
    apart = (*ROW_NAMES, "methods")  # tested apart
    return [place for place in leaves(tiny_study()) if not is_below(place, apart)]


def test_the_walk_meets_every_section():
    sections = {place.split(".")[0] for place in all_places()} | {"methods"}
    assert sections == {field.name for field in dataclasses.fields(Study)}
    for place in (*OF_BASE, *OF_STEPS):
        assert any(is_below(found, (place,)) for found in all_places()), place


@pytest.mark.parametrize("place", all_places())
def test_a_changed_value_is_another_run_where_it_matters_and_no_other(study, files, place):
    other = changed(study, place)
    assert (base_names(other, files) != base_names(study, files)) == is_below(place, OF_BASE)
    assert (step_names(other, files) != step_names(study, files)) == is_below(place, OF_STEPS)


def test_a_name_of_a_network_counts_by_what_stands_under_it(study, files):
    for network, same in (("words", True), ("other", False)):
        rows = {**study.networks, "new": study.networks["words"]}
        rows["other"] = dataclasses.replace(study.networks["words"], dropout=0.1)
        dataset = dataclasses.replace(
            study.datasets["words"], network="new" if network == "words" else network
        )
        other = dataclasses.replace(study, networks=rows, datasets={"words": dataset})
        assert (base_names(other, files) == base_names(study, files)) == same
        assert (step_names(other, files) == step_names(study, files)) == same


def test_a_new_seed_leaves_the_others_their_names(study, files):
    more = dataclasses.replace(study, seeds=(2, *study.seeds))
    assert base_names(more, files)[1:] == base_names(study, files)
    assert step_names(more, files)[1:] == step_names(study, files)
    assert len(set(base_names(more, files) + step_names(more, files))) == 6


def test_the_control_that_trains_longer_depends_on_the_heads_it_stands_for(study, files):
    other = changed(study, "datasets.words.multitask")
    row = "words_3_longer"
    assert base_names(other, files, row) != base_names(study, files, row)
    assert base_names(study, files, "words_3") != base_names(study, files, row)


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({"exemplars": 13}, False),
        ({"settings": {"losses": "CE_N"}}, False),
        ({"measured": "validation"}, False),
        ({"method": "icarl"}, False),
        # Labels of records; what they stand for is in `settings` and `training`.
        ({"name": "other"}, True),
        ({"schedule": "small"}, True),
        ({"stopping": "2"}, True),
    ],
    ids=str,
)
def test_what_makes_a_variant_another_run(study, files, change, same):
    assert (step_names(study, files, **change) == step_names(study, files)) == same


def test_a_variants_own_training_counts(study, files):
    trainings = [None, study.comparison.training]
    trainings += [
        changed(study.comparison.training, place) for place in leaves(study.comparison.training)
    ]
    found = [tuple(step_names(study, files, training=training)) for training in trainings]
    assert len(set(found)) == len(trainings) > 10


@pytest.mark.parametrize("name", names("methods"))
def test_every_setting_of_every_method_counts(study, files, monkeypatch, name):
    section = next(s for s, v in study.methods.items() if (v or {}).get("kind", s) == name)
    kind, config = method_settings(study, section)
    configs = [config, *(changed(config, place) for place in leaves(config))]
    found = set()
    for one in configs:
        monkeypatch.setattr(runs, "method_settings", lambda *args, one=one: (kind, one))
        found.add(tuple(step_names(study, files)))
    assert len(found) == len(configs) >= 4


@pytest.mark.parametrize("name", ["features.npy", "clips.csv"])
def test_other_features_are_other_runs(study, files, name):
    before = base_names(study, files), step_names(study, files)
    (files / name).write_bytes(b"oncE")
    assert not set(before[0]) & set(base_names(study, files))
    assert not set(before[1]) & set(step_names(study, files))


@pytest.mark.parametrize("other", [model(1.0), model(0.0, epochs=2)], ids=["weights", "epochs"])
def test_another_base_model_is_another_run(study, files, other):
    before = step_names(study, files)
    save_base(other, files / "seed1.pt")
    runs._model_digest.cache_clear()  # it holds for one process, in which a model changes never
    after = step_names(study, files)
    assert after[0] == before[0] and after[1] != before[1]


@pytest.mark.parametrize("place", range(4), ids=["torch", "numpy", "device", "hardware"])
def test_another_version_or_kind_of_machine_is_another_run(study, files, monkeypatch, place):
    before = base_names(study, files), step_names(study, files)
    about = runs.environment("cpu")
    about[place] += "x"
    monkeypatch.setattr(runs, "environment", lambda device: about)
    assert (base_names(study, files), step_names(study, files))[0] != before[0]
    assert step_names(study, files) != before[1]


@pytest.fixture
def package(tmp_path, monkeypatch, study) -> Path:
    """A copy of the package's source, from which names are then made."""
    copied = tmp_path / "mtcil"
    shutil.copytree(PACKAGE_DIR, copied, ignore=shutil.ignore_patterns("__pycache__"))
    for module in (lookup, checkpoints, runs):
        monkeypatch.setattr(module, "PACKAGE_DIR", copied)
    values = {copied / path.name for path in checkpoints.OF_VALUES}
    monkeypatch.setattr(checkpoints, "OF_VALUES", values)
    monkeypatch.setattr(runs, "code_digest", checkpoints.code_digest)
    return copied


@pytest.mark.slow
def test_a_changed_byte_of_code_that_a_run_reaches_is_another_run(study, files, package):
    method = package / "methods" / f"{METHOD}.py"
    of_base = files_reached([package / "base.py", package / "data.py"])
    of_steps = files_reached([package / "trajectory.py", method])
    assert len(of_base) > 8 and len(of_steps) > 15
    base, steps = base_names(study, files), step_names(study, files)
    for file in sorted(package.rglob("*.py")):
        text = file.read_text("utf-8")
        file.write_text(f"{text}#", "utf-8")
        matters = file not in checkpoints.OF_VALUES
        assert (base_names(study, files) != base) == (matters and file in of_base), file
        assert (step_names(study, files) != steps) == (matters and file in of_steps), file
        file.write_text(text, "utf-8")
    assert (base_names(study, files), step_names(study, files)) == (base, steps)
