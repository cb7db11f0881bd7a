"""Base models and features that are damaged, of other settings, or left over."""

import io
import os
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from refused import assert_refused, refusal
from tiny_study import change, files_in, params, run_stage, write_params
from untrained import bases_of, made_study

from mtcil.core.errors import UserError
from mtcil.learning.network import Network, copy_state
from mtcil.running import run as running
from mtcil.running.base_jobs import BaseJob
from mtcil.running.jobs import Variant, run_jobs
from mtcil.running.models import save_model, saved_updates
from mtcil.running.run import learn_one_run, remove_others, train_all, train_one_base
from mtcil.settings.files import read_study
from mtcil.settings.sections import MachineSettings, NetworkSettings

NETWORK = NetworkSettings((4, 4), (3, 3), (2, 2), (2, 1), 0.5)
FILE = "models/base/words/single-random/seed0.pt"


class Payload:
    """Unpickling it makes a folder."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


def base_model(n_classes: int = 3, network: NetworkSettings = NETWORK) -> dict:
    """What is in the file of a base model, except for its key."""
    made = Network(network, n_classes, torch.Generator().manual_seed(0))
    return {"updates": 2, "network": copy_state(made)}


@pytest.fixture
def study(tmp_path):
    """As after train_base: noise as features of 12 clips per word, untrained base models."""
    made_study(tmp_path, params("."))
    return tmp_path


def first_base(folder: Path) -> BaseJob:
    """The one whose file is FILE."""
    job = bases_of(folder)[0]
    assert job.file == folder / FILE
    return job


def flipped(content: bytes) -> bytes:
    """One bit of a weight: torch alone does not see it."""
    weight = torch.load(io.BytesIO(content), weights_only=True)["network"]["head.weight"]
    place = content.find(weight.numpy().tobytes())
    assert place > 0
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


def with_(key: str, value: object) -> dict:
    return {**base_model(), key: value}


# What became of the file: a change of its bytes, or other content for torch to save.
DAMAGE = {
    "is empty": lambda content: b"",
    "is half": lambda content: content[: len(content) // 2],
    "lacks its end": lambda content: content[:-1],
    "has a wrong bit": flipped,
    "is a web page": lambda content: b"<!DOCTYPE html>" * 99,
    "is zeros": lambda content: bytes(len(content)),
    "is a plain pickle": lambda content: pickle.dumps({"network": {}}),
    "is a list": [1, 2],
    "is a tensor": torch.zeros(3),
    "holds nothing": {},
    "has no key": base_model(),
}
# Content under the right key, as this code never writes it.
CONTENT = {
    "has no weights": with_("network", {}),
    "has a number for the weights": with_("network", 3),
    "is of a smaller network": base_model(network=NetworkSettings((4,), (3,), (2,), (2,), 0.5)),
    "is of a wider network": base_model(network=replace(NETWORK, channels=(4, 8))),
    "is of other classes": base_model(n_classes=4),
    "has no updates": {k: v for k, v in base_model().items() if k != "updates"},
    "has a word for the updates": with_("updates", "many"),
    "lacks a weight": with_(
        "network", {k: v for k, v in base_model()["network"].items() if k != "head.weight"}
    ),
}  # fmt: skip


def damage(job: BaseJob, case: str) -> None:
    if case in CONTENT:
        torch.save({"key": job.key, **CONTENT[case]}, job.file)
    elif callable(DAMAGE[case]):
        job.file.write_bytes(DAMAGE[case](job.file.read_bytes()))
    else:
        torch.save(DAMAGE[case], job.file)


@pytest.mark.parametrize("case", [*DAMAGE, *CONTENT])
@pytest.mark.parametrize("stage", ["learn_steps", "probe_base"])
def test_a_base_model_that_cannot_be_used_is_named(study, stage, case):
    damage(first_base(study), case)
    message = refusal(study, stage, "words")
    assert f"{FILE}: the base model cannot be read (" in message
    assert message.endswith("Train it again: dvc repro train_base --force.")


@pytest.mark.parametrize("stage", ["learn_steps", "probe_base"])
@pytest.mark.parametrize(
    ("place", "value"),
    [("datasets.words.updates.base", 7), ("base_models.words.single.order_seed", 3)],
)
def test_a_base_model_of_other_settings_is_not_learnt_from(study, stage, place, value):
    values = params(".")
    change(values, place, value)
    write_params(study, values)
    message = refusal(study, stage, f"{stage}@words")
    assert f"{FILE} was trained with other settings, code or device. Train it" in message


def test_nothing_in_a_base_model_is_executed(study):
    job = first_base(study)
    harmful = Payload(study / "ran")
    for save, content, error in (
        (lambda one, f: f.write_bytes(pickle.dumps(one, protocol=2)), harmful, "BadZipFile"),
        (torch.save, {"key": job.key, "network": harmful}, "UnpicklingError"),
        (torch.save, harmful, "UnpicklingError"),
    ):
        save(content, job.file)
        for stage in ("learn_steps", "probe_base"):
            assert f"cannot be read ({error})" in refusal(study, stage, "words")
        assert saved_updates(job.file, job.key) is None
    assert not (study / "ran").exists()
    torch.load(job.file, weights_only=False)  # read without care, it does run
    assert (study / "ran").exists()


def test_a_process_that_reads_a_damaged_base_model_ends_with_one_line(study):
    damage(first_base(study), "has a wrong bit")
    says = "seed0.pt: the base model cannot be read (ValueError)"
    assert_refused(study, "learn_steps", "words", says=says)


def test_a_base_model_that_vanishes_before_its_run_is_named(study):
    settings = read_study(study / "params.yaml")
    job = run_jobs(settings, bases_of(study), [Variant("ccil", 12)])[0]
    job.base.file.unlink()
    with pytest.raises(UserError, match=r"seed0\.pt: the base model cannot be read \(FileNotFound"):
        learn_one_run(job)


# Training again


def train(folder: Path, monkeypatch, fresh: bool = False) -> list[str]:
    """As stage train_base does; the files that were made."""
    made, models = [], folder / "models/base/words"

    def noted(job):
        made.append(job.file.relative_to(models).as_posix())
        return train_one_base(job)

    monkeypatch.setattr(running, "train_one_base", noted)
    jobs = bases_of(folder)
    updates = train_all(jobs, MachineSettings("cpu", 1, "loky", None, fresh))
    assert updates == [saved_updates(job.file, job.key) for job in jobs]
    remove_others(models, jobs)
    return made


@pytest.mark.parametrize("case", DAMAGE)
def test_only_a_damaged_base_model_is_trained_again(study, monkeypatch, case):
    job = first_base(study)
    train_one_base(job)
    whole = files_in(study / "models")
    damage(job, case)
    assert files_in(study / "models") != whole
    assert train(study, monkeypatch) == ["single-random/seed0.pt"]
    assert files_in(study / "models") == whole


def test_finished_base_models_are_reused_unless_fresh_is_set(study, monkeypatch):
    before = files_in(study / "models")
    assert train(study, monkeypatch) == [] and files_in(study / "models") == before
    assert len(train(study, monkeypatch, fresh=True)) == len(before) == 6
    after = files_in(study / "models")
    assert after.keys() == before.keys() and not set(after.values()) & set(before.values())
    assert train(study, monkeypatch) == [] and files_in(study / "models") == after


def test_base_models_of_other_settings_are_trained_again_where_it_matters(study, monkeypatch):
    values = params(".")
    change(values, "base_models.words.multitask.order_seed", 0)  # of seed 0 it is the usual one
    change(values, "datasets.words.updates.then_all", 3)
    write_params(study, values)
    assert train(study, monkeypatch) == ["multitask-random/seed1.pt"]


def test_base_models_that_nothing_names_any_more_are_removed(study, monkeypatch):
    values = params(".")
    del values["base_models"]["words"]["single_longer"]
    change(values, "epoch_sweeps.words.seeds", [1])
    write_params(study, values | {"seeds": [1]})
    models = study / "models/base"
    (models / "words/single-random/notes.txt").write_text("mine")
    for folder in ("words/gone-group", "other"):
        (models / folder).mkdir()
        (models / folder / "seed0.pt").write_bytes(b"")
    assert train(study, monkeypatch) == []
    assert list(files_in(models)) == [
        "other/seed0.pt", "words/multitask-random/seed1.pt", "words/single-random/notes.txt",
        "words/single-random/seed1.pt",
    ]  # fmt: skip
    folders = {path.name for path in (models / "words").iterdir()}
    assert folders == {"multitask-random", "single-random"}


@pytest.mark.slow
def test_the_stage_trains_again_what_cannot_be_used_and_removes_what_nothing_names(study):
    damage(first_base(study), "is half")
    stale = study / "models/base/words/single-group/seed0.pt"
    stale.parent.mkdir()
    stale.write_bytes(b"")
    whole = {name: content for name, content in files_in(study).items() if "single-" not in name}
    done = run_stage(study, "train_base", "words")
    assert done.returncode == 0, done.stderr
    assert "6 base models, 1 of them to train" in done.stderr
    assert not stale.parent.exists()
    after = files_in(study)
    assert whole.items() <= after.items()
    job = first_base(study)
    assert saved_updates(job.file, job.key) == 4
    rows = after["metrics/records/train_base/words.csv"].decode().splitlines()
    assert [row.split(",")[-1] for row in rows[1:]] == [job.key for job in bases_of(study)]


def test_equal_base_models_have_equal_files(tmp_path):
    """Their names are not inside, their keys and updates are."""
    made = Network(NETWORK, 3, torch.Generator().manual_seed(0)).eval()
    for name, key, updates in (("a", "k", 2), ("b", "k", 2), ("c", "k", 3), ("d", "other", 2)):
        save_model(made, updates, key, tmp_path / name)
    a, b, c, d = files_in(tmp_path).values()
    assert a == b and len({a, c, d}) == 3
    assert saved_updates(tmp_path / "a", "k") == 2 and saved_updates(tmp_path / "c", "k") == 3
    assert saved_updates(tmp_path / "d", "k") is None
    assert saved_updates(tmp_path / "gone", "k") is None


# What became of data/features/words, and what the message must say.
ARRAYS = {
    "is empty": (lambda array: b"", "the features cannot be read"),
    "is half": (lambda array: saved(array)[:9000], "the features cannot be read"),
    "has half a header": (lambda array: saved(array)[:40], "the features cannot be read"),
    "is a pickle": (lambda array: pickle.dumps(array), "the features cannot be read"),
    "is a web page": (lambda array: b"<!DOCTYPE html>", "the features cannot be read"),
    "is float64": (lambda array: saved(array.astype("f8")), "float64 (60, 32, 32) and clips.csv"),
    "is flat": (lambda array: saved(array.reshape(60, -1)), "float32 (60, 1024) and clips.csv"),
    "lacks clips": (lambda array: saved(array[:-1]), "float32 (59, 32, 32) and clips.csv (60 rows"),
    "holds objects": (
        lambda array: saved(np.array([{}] * 60, dtype=object)), "the features cannot be read",
    ),
    "is several arrays": (lambda array: several(array), "features.npy holds no single array"),
    "holds what is not a number": (
        lambda array: saved(np.where(np.arange(32) == 7, np.float32("nan"), array)),
        "features.npy holds numbers that are not finite",
    ),
    "holds infinity": (
        lambda array: saved(np.where(np.arange(32) == 7, np.float32("inf"), array)),
        "features.npy holds numbers that are not finite",
    ),
}  # fmt: skip
TABLES = {
    "is gone": (None, "clips.csv is missing"),
    "is empty": (lambda text: "", "the features cannot be read"),
    "is a header": (lambda text: text.split("\n")[0] + "\n", "clips.csv (0 rows"),
    "is half": (lambda text: text[: len(text) // 2], "rows; id, class, group, fold, seconds"),
    "has other columns": (lambda text: text.replace("group", "speaker", 1), "id, class, speaker"),
    "has rows of two lengths": (lambda text: text + "a,b,c,d,e,f\n", "the features cannot be read"),
}


def saved(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=True)
    return stream.getvalue()


def several(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, array=array)
    return stream.getvalue()


@pytest.mark.parametrize("case", ARRAYS)
def test_features_that_cannot_be_used_are_refused(study, case):
    make, says = ARRAYS[case]
    file = study / "data/features/words/features.npy"
    content = make(np.load(file))
    file.unlink()
    file.write_bytes(content)
    message = refusal(study, "train_base", "words")
    assert "data/features/words: " in message and says in message
    assert message.endswith("Make them again: dvc repro extract_features --force.")


@pytest.mark.parametrize("case", TABLES)
def test_a_table_of_clips_that_cannot_be_used_is_refused(study, case):
    change_text, says = TABLES[case]
    file = study / "data/features/words/clips.csv"
    text = file.read_text()
    file.unlink()
    if change_text:
        file.write_text(change_text(text))
    message = refusal(study, "learn_steps", "words")
    assert "data/features/words" in message and says in message


@pytest.mark.parametrize("stage", ["train_base", "learn_steps"])
@pytest.mark.parametrize("other", ["yes", "left"])
def test_clips_of_other_classes_than_the_settings_name_are_refused(study, stage, other):
    file = study / "data/features/words/clips.csv"
    lines = file.read_text().splitlines()
    file.unlink()
    file.write_text("\n".join(line.replace(f",{other},", ",cat,") for line in [*lines, ""]))
    message = refusal(study, stage, "words")
    assert f"clips.csv and params.yaml differ in the classes cat, {other}. Make" in message


# Settings that only the stage that uses them knows.
SETTINGS = {
    "an unknown kind": (
        "learn_steps", "methods.ccil.kind", "hope", "No mtcil.methods called 'hope'",
    ),
    "an unknown loss": (
        "learn_steps", "methods.ccil.losses", "CE_N+CE_X", "losses must be CE_N and any",
    ),
    "an unknown setting": (
        "learn_steps", "methods.ccil.warmth", 3, "methods.ccil.warmth: unknown key",
    ),
    "an unknown setting in a grid": (
        "tune_methods", "comparison.grids.replay", {"learning_rat": [0.1]},
        ".learning_rat: unknown key. Known keys: memory, bits, learning_rate",
    ),
    "a value in a grid that the method refuses": (
        "tune_methods", "comparison.grids.replay", {"learning_rate": [0.1, -1.0]},
        "methods.replay with {'learning_rate': -1.0}.learning_rate: must be greater than 0",
    ),
    "a chosen value that the method refuses": (
        "compare_methods", "comparison.tuned.replay", {"bits": 7}, "bits: must be 8, 16 or 32",
    ),
    "an unknown probe": ("probe_base", "probes.hope", {}, "No mtcil.probes called"),
    "a wrong setting of the last probe": (
        "probe_base", "probes.ranpac.width", "wide", "probes.ranpac.width: must be an integer",
    ),
    "an unknown dataset to download": (
        "download", "datasets.words.kind", "cats", "No mtcil.datasets called 'cats'",
    ),
    "an unknown dataset": (
        "extract_features", "datasets.words.kind", "cats", "No mtcil.datasets called",
    ),
    "narrow mel bands": (
        "extract_features", "features.gsc.log_mel", 500, "mel bands hold no frequency",
    ),
    "octaves above the sample rate": (
        "extract_features", "features.gsc.contrast", 9, "contrast 9 needs",
    ),
    "an odd n_fft": ("extract_features", "features.gsc.n_fft", 1023, "must be even"),
}  # fmt: skip


@pytest.mark.parametrize("case", SETTINGS)
def test_a_setting_that_the_stage_does_not_know_is_refused_before_it_works(study, case):
    stage, place, value, says = SETTINGS[case]
    values = params(".")
    change(values, place, value)
    write_params(study, values)
    raw = study / "data" / "raw" / "words"
    raw.mkdir(parents=True)
    (raw / "words.tar").write_bytes(b"not read")
    (raw / "source.json").write_text("{}")
    assert says in refusal(study, stage, "words")
