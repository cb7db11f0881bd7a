"""Base models, checkpoints and features that are damaged or of another version."""

import io
import os
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from refused import assert_refused, refusal
from tiny_study import change, params, write_params

from mtcil import runs
from mtcil.errors import UserError
from mtcil.learner import Learner, to_plain
from mtcil.models import Network
from mtcil.runs import Variant, finished_run, learn_one_run, save_base, step_tasks
from mtcil.settings import NetworkSettings
from mtcil.study import read_study

WORDS = params(".")["datasets"]["words"]["classes"]
NETWORK = NetworkSettings((4, 4), (3, 3), (2, 2), (2, 1), 0.5)


class Payload:
    """Unpickling it makes a folder."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


def base_model(n_classes: int = 3, network: NetworkSettings = NETWORK) -> dict:
    made = Network(network, n_classes, torch.Generator().manual_seed(0))
    return to_plain(Learner(made.eval(), epochs={"base": 2}))


@pytest.fixture
def study(tmp_path):
    """As after train_base: noise as features of 12 clips per word, untrained base models."""
    values = params(".")
    change(values, "comparison.grids", {})
    write_params(tmp_path, values)
    folder = tmp_path / "data" / "features" / "words"
    folder.mkdir(parents=True)
    shape = (12 * len(WORDS), 32, 32)
    np.save(folder / "features.npy", np.random.default_rng(0).normal(size=shape).astype("f4"))
    rows = [f"{word}/{i},{word},{i},0,1.0" for word in WORDS for i in range(12)]
    (folder / "clips.csv").write_text("\n".join(["id,class,group,fold,seconds", *rows, ""]))
    for seed in (0, 1):
        save_base(base_model(), tmp_path / "models" / "words_3" / f"seed{seed}.pt")
    return tmp_path


def flipped(content: bytes) -> bytes:
    """One bit of a weight: torch alone does not see it."""
    place = content.find(base_model()["network"]["head.weight"].numpy().tobytes()[:32])
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
    "has no weights": with_("network", {}),
    "has a number for the weights": with_("network", 3),
    "is of a smaller network": base_model(network=NetworkSettings((4,), (3,), (2,), (2,), 0.5)),
    "is of a wider network": base_model(network=replace(NETWORK, channels=(4, 8))),
    "has no epochs": {k: v for k, v in base_model().items() if k != "epochs"},
    "lacks a weight": with_(
        "network", {k: v for k, v in base_model()["network"].items() if k != "head.weight"}
    ),
}  # fmt: skip


def damage(file: Path, case: str) -> None:
    made = DAMAGE[case]
    content = file.read_bytes()
    if callable(made):
        file.write_bytes(made(content))
    else:
        torch.save(made, file)


@pytest.mark.parametrize("case", DAMAGE)
@pytest.mark.parametrize("stage", ["learn_steps", "probe_base"])
def test_a_base_model_that_cannot_be_used_is_named(study, stage, case):
    damage(study / "models" / "words_3" / "seed0.pt", case)
    message = refusal(study, stage, "words_3")
    assert "models/words_3/seed0.pt: the base model cannot be read (" in message
    assert message.endswith("Train it again: dvc repro train_base --force.")


def test_a_base_model_of_other_classes_is_not_learnt_from(study):
    save_base(base_model(n_classes=4), study / "models" / "words_3" / "seed0.pt")
    message = refusal(study, "learn_steps", "words_3")
    assert "seed0.pt: the base model cannot be read (ValueError)" in message


def test_nothing_in_a_base_model_is_executed(study):
    for stage in ("learn_steps", "probe_base"):
        for content in ({"network": Payload(study / "ran")}, Payload(study / "ran")):
            torch.save(content, study / "models" / "words_3" / "seed0.pt")
            assert "cannot be read (UnpicklingError)" in refusal(study, stage, "words_3")
    assert not (study / "ran").exists()


def test_a_process_that_reads_a_damaged_base_model_ends_with_one_line(study):
    damage(study / "models" / "words_3" / "seed1.pt", "has a wrong bit")
    assert_refused(study, "learn_steps", "words_3", says="seed1.pt: the base model cannot be read")


def one_task(study: Path, exemplars: int = 12) -> runs.StepTask:
    settings = read_study(study / "params.yaml")
    places = study / "data/features/words", study / "models/words_3", study / ".checkpoints"
    return step_tasks(settings, "words_3", [Variant("ccil", exemplars, [0])], *places, "cpu")[0]


def test_a_base_model_that_vanishes_before_its_run_is_named(study):
    task = one_task(study)
    (study / "models" / "words_3" / "seed0.pt").unlink()
    with pytest.raises(UserError, match=r"seed0\.pt: the base model cannot be read \(FileNotFound"):
        learn_one_run(task)


# What became of a finished run's checkpoint.
CHECKPOINTS = {
    "is half": lambda file, saved: file.write_bytes(file.read_bytes()[:3000]),
    "has a wrong byte": lambda file, saved: file.write_bytes(
        file.read_bytes()[:-3000] + b"x" + file.read_bytes()[-2999:]
    ),
    "is a list": lambda file, saved: torch.save([1], file),
    "holds nothing": lambda file, saved: torch.save({}, file),
    "has no results": lambda file, saved: torch.save({**saved, "results": None}, file),
    "has no learner": lambda file, saved: torch.save({**saved, "learner": {}}, file),
    "has results of another version": lambda file, saved: torch.save(
        {**saved, "results": [{"accuracy": 1.0}] * 3}, file
    ),
    "would run": lambda file, saved: torch.save({"x": Payload(file.parent / "ran")}, file),
}


def test_a_run_whose_checkpoint_is_damaged_starts_again_and_ends_alike(study):
    task = one_task(study)
    _, state = learn_one_run(task)
    file = task.checkpoint.file
    whole, saved = file.read_bytes(), task.checkpoint.load()
    assert finished_run(task) is not None
    for case, change_file in CHECKPOINTS.items():
        file.write_bytes(whole)
        change_file(file, saved)
        assert finished_run(task) is None, case
    _, again = learn_one_run(task)
    for one, other in zip(state.results, again.results, strict=True):
        np.testing.assert_array_equal(one.confusion, other.confusion)
    assert [path.name for path in file.parent.iterdir()] == [file.name]


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
        "features.npy holds what is no finite number",
    ),
    "holds infinity": (
        lambda array: saved(np.where(np.arange(32) == 7, np.float32("inf"), array)),
        "features.npy holds what is no finite number",
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
    message = refusal(study, "train_base", "words_3")
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
    message = refusal(study, "learn_steps", "words_3")
    assert "data/features/words" in message and says in message


@pytest.mark.parametrize("stage", ["train_base", "learn_steps"])
@pytest.mark.parametrize("other", ["yes", "left"])
def test_clips_of_other_classes_than_the_settings_name_are_refused(study, stage, other):
    file = study / "data/features/words/clips.csv"
    lines = file.read_text().splitlines()
    file.unlink()
    file.write_text("\n".join(line.replace(f",{other},", ",cat,") for line in [*lines, ""]))
    message = refusal(study, stage, "words_3")
    assert f"clips.csv and params.yaml differ in the classes cat, {other}. Make" in message


# Settings that only the stage that uses them knows.
SETTINGS = {
    "an unknown method": (
        "learn_steps", "words_3", "base_models.words_3.method", "hope", "No mtcil.methods called",
    ),
    "an unknown kind": (
        "learn_steps", "words_3", "methods.ccil.kind", "hope", "No mtcil.methods called 'hope'",
    ),
    "an unknown loss": (
        "learn_steps", "words_3", "methods.ccil.losses", "CE_N+CE_X", "losses must be CE_N and any",
    ),
    "an unknown setting": (
        "learn_steps", "words_3", "methods.ccil.warmth", 3, "methods.ccil has no key warmth",
    ),
    "an unknown setting in a grid": (
        "tune_methods", "words", "comparison.grids", {"replay": {"learning_rat": [0.1]}},
        "methods.replay with {'learning_rat': 0.1} has no key learning_rat",
    ),
    "a value in a grid that the method refuses": (
        "tune_methods", "words", "comparison.grids", {"replay": {"learning_rate": [0.1, -1.0]}},
        "methods.replay with {'learning_rate': -1.0}: learning_rate: above 0",
    ),
    "an unknown probe": ("probe_base", "words_3", "probes.hope", {}, "No mtcil.probes called"),
    "a wrong setting of the last probe": (
        "probe_base", "words_3", "probes.ranpac.width", "wide", "probes.ranpac.width must be int",
    ),
    "an unknown dataset": (
        "extract_features", "words", "datasets.words.kind", "cats", "No mtcil.datasets called",
    ),
    "narrow mel bands": (
        "extract_features", "words", "features.words.log_mel", 500, "mel bands hold no frequency",
    ),
    "octaves above the sample rate": (
        "extract_features", "words", "features.words.contrast", 9, "contrast 9 needs",
    ),
    "an odd n_fft": ("extract_features", "words", "features.words.n_fft", 1023, "must be even"),
}  # fmt: skip


@pytest.mark.parametrize("case", SETTINGS)
def test_a_setting_that_the_stage_does_not_know_is_refused_before_it_works(study, case):
    stage, row, place, value, says = SETTINGS[case]
    values = params(".")
    change(values, place, value)
    write_params(study, values)
    raw = study / "data" / "raw" / "words"
    raw.mkdir(parents=True)
    (raw / "words.tar").write_bytes(b"not read")
    (raw / "source.json").write_text("{}")
    assert says in refusal(study, stage, row)
