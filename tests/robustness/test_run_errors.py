"""A person's mistake ends a stage with a message on stderr and exit code 1, and writes nothing.

Where the stage runs in this process (`refusal`) it is faster than in one of its own.
"""

import numpy as np
import pytest
from refused import assert_refused, refusal
from tiny_study import change, params, write_params


@pytest.fixture
def study(tmp_path):
    """Before its first run: only params.yaml."""
    write_params(tmp_path, params("."))
    return tmp_path


@pytest.fixture
def extracted(study):
    """As after extract_features: noise as features of 12 clips per word."""
    words = params(".")["datasets"]["words"]["classes"]
    folder = study / "data" / "features" / "words"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    shape = (12 * len(words), 32, 32)
    np.save(folder / "features.npy", rng.normal(size=shape).astype(np.float32))
    rows = [f"{word}/{i},{word},{i},0,1.0" for word in words for i in range(12)]
    (folder / "clips.csv").write_text("\n".join(["id,class,group,fold,seconds", *rows, ""]))
    return study


def test_a_missing_params_file_is_named(tmp_path):
    assert_refused(tmp_path, "download", "words", says="params.yaml: there is no such file here")


@pytest.mark.parametrize("stage", ["learn_steps", "summarise", "draw_figures", "write_report"])
def test_every_stage_checks_both_files_whole_first(study, stage):
    values = params(".")
    change(values, "features.gsc.hop_length", 4096)
    write_params(study, values)
    row = ["words"] if stage == "learn_steps" else []
    assert_refused(study, stage, *row, says="features.gsc: hop_length must be 1 to n_fft")


@pytest.mark.parametrize("stage", ["train_base", "learn_steps"])
def test_missing_features_are_named(study, stage):
    assert "data/features/words/features.npy is missing" in refusal(study, stage, "words")


@pytest.mark.parametrize("jobs", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_truncated_features_are_refused(extracted, jobs):
    values = params(".")
    change(values, "machine.jobs", jobs)
    write_params(extracted, values)
    file = extracted / "data" / "features" / "words" / "features.npy"
    file.write_bytes(file.read_bytes()[:5000])
    assert_refused(extracted, "train_base", "words", says="the features cannot be read")


def test_too_few_clips_for_a_split_are_refused(extracted):
    folder = extracted / "data" / "features" / "words"
    np.save(folder / "features.npy", np.load(folder / "features.npy")[:-10])
    lines = (folder / "clips.csv").read_text().splitlines()
    (folder / "clips.csv").write_text("\n".join([*lines[:-10], ""]))
    assert "a split needs 3 or more" in refusal(extracted, "train_base", "words")


def test_an_unknown_device_is_refused(extracted):
    values = params(".")
    change(values, "machine.device", "abacus")
    write_params(extracted, values)
    assert "machine.device 'abacus' cannot be" in refusal(extracted, "train_base", "words")


def test_a_methods_own_settings_are_checked(extracted):
    values = params(".")
    change(values, "methods.ccil.temperature", "warm")
    write_params(extracted, values)
    assert_refused(extracted, "learn_steps", "words", says="methods.ccil.temperature: must be")


def test_a_missing_base_model_is_named(extracted):
    assert "seed0.pt: the base model cannot" in refusal(extracted, "learn_steps", "words")


def test_a_missing_archive_is_named(study):
    assert "data/raw/words must hold one archive" in refusal(study, "extract_features", "words")


def test_missing_records_and_tables_are_named(study):
    assert_refused(study, "summarise", says="words.csv: there is no such file")
    for stage in ("draw_figures", "write_report"):
        assert_refused(study, stage, says="metrics/tables: there is no such folder")


@pytest.mark.parametrize("stage", ["download", "extract_features", "train_base", "learn_steps"])
def test_a_row_that_the_params_do_not_name_is_refused(study, stage):
    assert "params.yaml has no " in refusal(study, stage, "gone")


@pytest.mark.parametrize(
    ("stage", "arguments", "says"),
    [
        ("train_base", [], "train_base.py takes one argument, a row name; got none"),
        ("train_base", ["words", "0"], "takes one argument, a row name; got words 0"),
        ("summarise", ["words"], "summarise.py takes no arguments; got words"),
    ],
)
def test_a_wrong_number_of_arguments_is_refused(study, stage, arguments, says):
    assert says in refusal(study, stage, *arguments)
