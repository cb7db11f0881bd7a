"""Faults of a kind that users reported elsewhere: the right value of each."""

import io
import json
import shutil
import subprocess
import sys
import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import soundfile
import yaml
from tiny_study import ROOT, change, params, run_stage, write_params

from mtcil.audio.archives import write_tar
from mtcil.audio.decode import decode_timed
from mtcil.audio.extraction import extract
from mtcil.core.errors import UserError
from mtcil.datasets import folders
from mtcil.learning.protocol import draw_tasks
from mtcil.learning.split import read_features, split_rows
from mtcil.records.measures import average_incremental_accuracy, backward_transfer, forgetting
from mtcil.records.tables import read_records
from mtcil.reporting.style import with_ci
from mtcil.settings.files import read_study
from mtcil.settings.reader import SettingsError
from mtcil.settings.sections import DatasetSettings, FeatureSettings, Heads, SplitSettings

ONE_SECOND = FeatureSettings(16_000, 1.0, 1024, 512, True, 32)
NOISE = np.random.default_rng(0).uniform(-0.5, 0.5, 64_000)


def sound(seconds: float, container: str = "WAV", rate: int = 16_000) -> bytes:
    stream = io.BytesIO()
    soundfile.write(stream, NOISE[: round(seconds * rate)], rate, format=container)
    return stream.getvalue()


def without_length(flac: bytes) -> bytes:
    """The same FLAC file, its number of samples stated as 0: not known."""
    content = bytearray(flac)
    content[21] &= 0xF0
    content[22:26] = bytes(4)
    return bytes(content)


# Longer and shorter than what is wanted of it.
@pytest.mark.parametrize("seconds", [3.0, 0.5])
def test_a_flac_file_that_states_no_length_is_read_and_counted(seconds):
    whole = sound(seconds, "FLAC")
    wave, counted = decode_timed(without_length(whole), ONE_SECOND, "clip")
    expected, stated = decode_timed(whole, ONE_SECOND, "clip")
    assert counted == stated == seconds
    np.testing.assert_array_equal(wave, expected)


@pytest.mark.parametrize("container", ["FLAC", "MP3", "OGG"])
def test_of_a_file_that_is_cut_off_the_seconds_are_those_that_are_there(container):
    whole = sound(4.0, container)
    seconds = decode_timed(whole[: len(whole) * 6 // 10], ONE_SECOND, "clip")[1]
    assert 1.5 < seconds < 3.0


def test_as_many_jobs_run_as_cores_are_allowed():
    code = (
        "import os; os.sched_setaffinity(0, list(os.sched_getaffinity(0))[:1]);"
        "from mtcil.core.processes import jobs_at_once; print(jobs_at_once(0), jobs_at_once(5))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "1 5\n"
    places = [*(ROOT / "src").rglob("*.py"), *(ROOT / "pipeline").glob("*.py")]
    again = [path.name for path in places if "os.cpu_count" in path.read_text("utf-8")]
    assert again == []


def refused(tmp_path, **changes) -> list[str]:
    """What is said of the tiny study with some values changed ("a__b" is a.b)."""
    values = params(".")
    for place, value in changes.items():
        change(values, place.replace("__", "."), value)
    write_params(tmp_path, values)
    with pytest.raises(SettingsError) as error:
        read_study(tmp_path / "params.yaml")
    return str(error.value).split("\n  ")[:-1]


ONE_VALUE = {"channels": [4, 4], "kernels": [3, 3], "strides": [4, 4], "pools": [2, 1]}


def test_a_network_that_leaves_one_value_needs_two_clips_in_half_a_batch(tmp_path):
    places = {"networks__tiny": ONE_VALUE | {"dropout": 0.5}}
    lines = refused(tmp_path, **places, step_training__sgd__batch=3)
    assert len(lines) == 1 and "step_training.sgd.batch: must be 4 or more" in lines[0]
    lines = refused(tmp_path, **places, comparison__training__sgd__batch=2)
    assert len(lines) == 1 and "comparison.training.sgd.batch: must be 4 or more" in lines[0]
    write_params(tmp_path, params(".") | {"overrides": params(".")["overrides"]})
    read_study(tmp_path / "params.yaml")


SETTINGS = {
    "no base model": ({"base_models__words": {}}, "base_models.words: has no row"),
    "a sweep without a later step": (
        {"datasets__words__steps": [5], "base_models__words": {"multitask": {"heads": "5-2"}},
         "tunings": {}, "heads_timings": {}},
        "exemplar_sweeps.words: datasets.words.steps has only a base step. Remove words here.",
    ),
    "features that DVC does not find": (
        {"features__mine": {"sample_rate": 16000, "seconds": 1.0, "n_fft": 1024,
                            "hop_length": 512, "centred": True, "log_mel": 32},
         "datasets__words__features": "mine"},
        "datasets.words.features: mine is in overrides only. Add it to",
    ),
    "a key that DVC needs": (
        {"datasets__words": {k: v for k, v in params(".")["datasets"]["words"].items()
                             if k != "group"}},
        "datasets.words.group: is missing, and dvc.yaml names it. Write group: null.",
    ),
    "words that DVC does not find": (
        {"overrides__auxiliary_words": {"mine": {"clips_per_word": 10, "words": ["sun", "sea"]}},
         "datasets__words__auxiliary": "mine"},
        "datasets.words.auxiliary: mine is in overrides only. Add it to auxiliary_words of",
    ),
    "timings without a seed": (
        {"seeds": [], **{name: {} for name in (
            "exemplar_sweeps", "loss_ablations", "epoch_sweeps", "comparisons", "base_probes")}},
        "seeds",
    ),
    "an order drawn and fixed": (
        {"datasets__words__class_order": params(".")["datasets"]["words"]["classes"],
         "base_models__words__single__order_seed": 3},
        "base_models.words.single.order_seed: datasets.words.class_order fixes the order",
    ),
    "a row with an umlaut": ({"datasets__w\xf6rter": {}}, "hold only letters"),
    "a pattern without a group": ({"datasets__words__group": "^a"}, "one pair of parentheses"),
}  # fmt: skip


@pytest.mark.parametrize("case", SETTINGS)
def test_settings_that_would_fail_after_training_are_refused_before_it(tmp_path, case):
    changes, says = SETTINGS[case]
    assert any(says in line for line in refused(tmp_path, **changes))


def test_a_tuning_without_any_grid_is_refused(tmp_path):
    shared = yaml.safe_load((ROOT / "settings.yaml").read_text("utf-8"))
    shared["comparison"]["grids"] = {}
    (tmp_path / "settings.yaml").write_text(yaml.safe_dump(shared), "utf-8")
    tunings, blocks = (
        {"words": {"base": "single", "seeds": [100]}},
        {"training": {"frozen_blocks": 1}},
    )
    lines = refused(tmp_path, settings="settings.yaml", comparison=blocks, tunings=tunings)
    assert lines == [f"{tmp_path}/params.yaml: tunings.words: comparison.grids is empty. "
                     "Name a method there, or remove the row."]  # fmt: skip


def test_a_mistake_that_several_rows_show_is_said_once(tmp_path):
    lines = refused(tmp_path, base_probes__words__seeds=[7])
    assert len(lines) == 1 and "base_probes.words.seeds: must be some of 0, 1" in lines[0]


@pytest.fixture
def demo(tmp_path):
    """The demo's finished study, to be summarised again."""
    shutil.copytree(ROOT / "demo", tmp_path / "demo")
    shutil.copyfile(ROOT / "settings.yaml", tmp_path / "settings.yaml")
    return tmp_path / "demo"


def edit(demo, stage: str, keep) -> None:
    """Keep some rows of a stage's records."""
    for file in (demo / "metrics" / "records" / stage).glob("words*.csv"):
        table = pd.read_csv(file, dtype=str, keep_default_na=False)
        table[keep(table)].to_csv(file, index=False, lineterminator="\n")


def test_multitask_with_the_heads_of_the_single_task_is_summarised(demo):
    values = yaml.safe_load((demo / "params.yaml").read_text("utf-8"))
    values["base_models"]["words"]["multitask"]["heads"] = "4"
    values["comparisons"]["words"]["bases"] = ["single"]
    write_params(demo, values)
    for file in (demo / "metrics/records").rglob("*.csv"):
        file.write_text(file.read_text("utf-8").replace("4-3-2", "4"), "utf-8")
    edit(demo, "compare_methods", lambda table: table["base"] == "single")
    done = run_stage(demo, "summarise")
    assert done.returncode == 0, done.stderr
    assert "text.adds" in (demo / "metrics" / "claims.csv").read_text("utf-8")


def test_a_study_of_a_base_step_only_has_no_average(demo):
    values = yaml.safe_load((demo / "params.yaml").read_text("utf-8"))
    words = values["datasets"]["words"]
    words |= {"classes": words["classes"][:4], "steps": [4]}
    sections = ("exemplar_sweeps", "loss_ablations", "epoch_sweeps", "tunings", "comparisons")
    write_params(demo, values | {section: {} for section in sections})
    for file in (demo / "metrics/records/probe_base").glob("words*.csv"):
        table = pd.read_csv(file, dtype=str, keep_default_na=False)
        table = table[(table["step"] == "0") & (table["scope"] != "future")]
        table.to_csv(file, index=False, lineterminator="\n")
    edit(demo, "learn_steps", lambda table: table["step"] == "0")
    done = run_stage(demo, "summarise")
    assert (done.returncode, done.stderr) == (0, "")

    def no_number(text: str) -> None:
        raise AssertionError(f"{text} is not JSON")

    text = (demo / "metrics" / "headline.json").read_text("utf-8")
    headline = json.loads(text, parse_constant=no_number)
    assert headline["words"]["multitask_average"] is headline["words"]["multitask_gain"] is None
    for page in (demo / "metrics" / "tables").glob("*.md"):
        assert "nan" not in page.read_text("utf-8"), page.name


def test_measures_of_a_base_step_only_are_nan_without_a_warning():
    one = np.array([[90.0]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = average_incremental_accuracy([90.0]), forgetting(one), backward_transfer(one)
    assert np.isnan(found).all()
    assert with_ci(pd.Series({"mean": np.nan, "low": np.nan, "high": np.nan, "n": 5})) == "-"


def test_a_missing_file_is_said_to_be_missing(tmp_path):
    says = "there is no such file"
    with pytest.raises(UserError, match=rf"words\.csv: {says}\. Make it: dvc repro learn_steps@"):
        read_records(tmp_path / "learn_steps", "words")
    with pytest.raises(UserError, match=rf"features\.npy: {says}"):
        read_features(tmp_path)


def dataset(classes: tuple[str, ...], **changes) -> DatasetSettings:
    words = yaml.safe_load((ROOT / "demo/params.yaml").read_text("utf-8"))["datasets"]["words"]
    (updates,) = {read_study(ROOT / "demo/params.yaml").datasets["words"].updates}
    own = {"kind": "folders", "classes": classes, "steps": (len(classes),), "updates": updates}
    return DatasetSettings(**(words | own | {"exclude": ()} | changes))


@pytest.mark.parametrize(("kind", "unit"), [("random", "clips"), ("group", "speakers or recor")])
def test_a_class_too_small_for_a_split_is_named(kind, unit):
    table = pd.DataFrame({"class": ["cat"] * 4 + ["dog"] * 2, "group": list("abcdab")})
    split = SplitSettings(kind, 0.7, 0.2, 0.1)
    with pytest.raises(UserError, match=rf"split {kind}: class dog has 2 {unit}"):
        split_rows(table, dataset(("cat", "dog")), split, seed=0)


def test_names_of_macos_and_a_pattern_for_speakers_reach_the_table_of_clips(tmp_path):
    files = [
        (f"{label}/{who}_{k}.wav", sound(1.0))
        for label in ("Vo\u0308gel", "cat") for who in "ab" for k in range(6)
    ]  # fmt: skip
    write_tar(tmp_path / "a.tar", files)
    of = dataset(("V\xf6gel", "cat"), group="^([a-z])_", clips_per_class=10)
    extract(tmp_path / "a.tar", folders, "zoo", of, ONE_SECOND, tmp_path / "out")
    table = pd.read_csv(tmp_path / "out" / "clips.csv")
    assert set(table["class"]) == {"V\xf6gel", "cat"} and set(table["group"]) == {"a", "b"}
    decomposed = dataset(("Vo\u0308gel", "cat"), group="^([a-z])_", clips_per_class=10)
    assert decomposed == of
    with pytest.raises(UserError, match="finds nothing in the file name"):
        wrong = replace(of, group="^([0-9])")
        extract(tmp_path / "a.tar", folders, "zoo", wrong, ONE_SECOND, tmp_path / "out")


def test_tasks_of_a_large_base_step_are_drawn_without_listing_all_subsets():
    heads = Heads.parse("44-33-22-22-11", 44)  # 2 * 10^12 subsets of 22
    tasks = draw_tasks(heads, 44, np.random.default_rng(0))
    assert [len(set(task)) for task in tasks] == list(heads.sizes)
    assert len(set(tasks)) == 5 and all(task == tuple(sorted(task)) for task in tasks)
    assert tasks == draw_tasks(heads, 44, np.random.default_rng(0))
