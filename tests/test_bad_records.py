"""Records that are missing or damaged: who reads them says which file, and writes nothing."""

import io
import json
import shutil
from itertools import product
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from refused import assert_refused, refusal
from tiny_study import params, run_stage, write_params

from mtcil.results import read_records, step_rows, write_table
from mtcil.study import Study, read_study

BASE = ("dataset", "split", "heads", "passes", "control")


def base_of(study: Study, row: str) -> dict[str, str]:
    base = study.base_models[row]
    values = base.dataset, "random", str(base.heads), base.passes, base.control or "none"
    return dict(zip(BASE, values, strict=True))


def write_steps(records: Path, stage: str, row: str, base: dict, variants: list[dict]) -> None:
    """A record of each variant and seed, 3-1-1 classes, as a stage of steps writes it."""
    rows: dict[str, list] = {"records": [], "matrix": [], "confusion": []}
    for variant, seed in product(variants, (0, 1)):
        results = [
            SimpleNamespace(
                confusion=np.full((n, n), 1 + seed) + 5 * np.eye(n, dtype=np.int64),
                epochs={"base": 2}, memory_bytes=1, state_bytes=0, validation_bytes=0,
                teacher_bytes=9,
            )
            for n in (3, 4, 5)
        ]  # fmt: skip
        plain = {"method": "ccil", "losses": "CE_N+CE_O+KD_N+KD_O", "schedule": "two_step"}
        about = base | plain | {"stopping": "early", "exemplars": 12} | variant | {"seed": seed}
        for name, more in step_rows(about, (3, 1, 1), results).items():
            rows[name] += more
    for name, table in rows.items():
        write_table(records / stage / row / f"{name}.csv", table)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A study as after all stages but summarise and draw_figures; its numbers mean nothing."""
    folder = tmp_path_factory.mktemp("finished")
    write_params(folder, params("."))
    study, records = read_study(folder / "params.yaml"), folder / "metrics" / "records"
    for row in study.base_models:
        base = base_of(study, row)
        counts = ("train_clips", "test_clips", "validation_clips", "leaking_test_clips")
        write_table(
            records / "train_base" / row / "records.csv",
            [base | {"seed": seed, "epochs": 2} | dict.fromkeys(counts, 9) for seed in (0, 1)],
        )
        write_steps(records, "learn_steps", row, base, [{}])
    for row, sweep in study.exemplar_sweeps.items():
        budgets = [{"exemplars": k} for k in sweep.exemplars]
        write_steps(records, "sweep_exemplars", row, base_of(study, sweep.base), budgets)
    for row, ablation in study.loss_ablations.items():
        losses = [{"losses": text} for text in ablation.losses]
        write_steps(records, "ablate_losses", row, base_of(study, ablation.base), losses)
    for row, sweep in study.epoch_sweeps.items():
        ends = ["early" if n is None else str(n) for n in sweep.epochs]
        variants = [{"schedule": s, "stopping": e} for s, e in product(sweep.schedules, ends)]
        write_steps(records, "sweep_epochs", row, base_of(study, sweep.base), variants)
    for row, comparison in study.comparisons.items():
        methods = [{"method": name, "stopping": "fixed"} for name in study.comparison.methods]
        write_steps(records, "compare_methods", row, base_of(study, comparison.base), methods)
    for row, probed in study.base_probes.items():
        scopes = {"seen": (0, 1, 2), "future": (1, 2), "base": (0,)}
        about = [
            {"probe": probe, "seed": seed, "scope": scope, "step": step, "classes_seen": 3 + step}
            for probe, seed, scope in product(study.probes, (0, 1), scopes)
            for step in scopes[scope]
        ]
        rows = [base_of(study, probed.base) | a | {"accuracy": 50.0, "bytes": 9} for a in about]
        write_table(records / "probe_base" / row / "records.csv", rows)
    for row, timing in study.heads_timings.items():
        about = {"dataset": "words", "device": "cpu", "clips": 9, "round": 0}
        times = {"seconds": 1.0, "cpu_seconds": 1.0}
        rows = [
            about | {"heads": heads, "passes": passes} | times
            for heads, passes in product(timing.heads, ("separate", "shared"))
        ]
        write_table(records / "time_heads" / row / "records.csv", rows)
    (records / "datasets").mkdir()
    (records / "datasets" / "words.json").write_text(json.dumps({"clips": {"yes": 9}}))
    return folder


@pytest.fixture
def study(finished, tmp_path):
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    return tmp_path


@pytest.mark.slow
def test_undamaged_records_pass(study):
    for stage in ("summarise", "draw_figures"):
        done = run_stage(study, stage)
        assert (done.returncode, done.stderr) == (0, "")


def lines(change):
    """A change of a table's text by its lines, the first of which is the header."""

    def changed(content: bytes) -> bytes:
        return "".join(change(content.decode().splitlines(keepends=True))).encode()

    return changed


def columns(change):
    """A change of a table as pandas reads it."""

    def changed(content: bytes) -> bytes:
        table = pd.read_csv(io.BytesIO(content), dtype=str, keep_default_na=False)
        return change(table).to_csv(index=False, lineterminator="\n").encode()

    return changed


def set_to(name: str, value: str):
    return columns(lambda table: table.assign(**{name: [value, *table[name][1:]]}))


# What became of learn_steps' records of words_3, and what the message must say.
DAMAGE = {
    "is gone": (None, "No such file"),
    "is empty": (lambda content: b"", "No columns to parse from file"),
    "is a header alone": (lines(lambda rows: rows[:1]), "no rows"),
    "is binary": (lambda content: bytes(range(128, 256)) * 9, "can't decode byte 0x80"),
    "is UTF-16": (lambda content: content.decode().encode("utf-16"), "can't decode byte 0xff"),
    "is zeros": (lambda content: bytes(len(content)), "no column dataset, split"),
    "is half": (lambda content: content[: len(content) // 2 - 9], "cannot be read ("),
    "is cut in its last number": (lambda content: content[:-2], "NA values"),
    "lacks its last row": (lines(lambda rows: rows[:-1]), "not every run has each step once"),
    "lacks a row": (lines(lambda rows: rows[:2] + rows[3:]), "not every run has each step"),
    "lacks the first row": (lines(lambda rows: rows[:1] + rows[2:]), "not every run has each"),
    "has a row twice": (lines(lambda rows: [*rows, rows[-1]]), "not every run has each step"),
    "has a conflict": (lines(lambda rows: ["<<<<<<< HEAD\n", *rows]), "cannot be read ("),
    "has a conflict below": (lines(lambda rows: [*rows, ">>>>>>> x\n"]), "NA values"),
    "lacks columns": (
        columns(lambda table: table.drop(columns=["accuracy", "seed"])), "no column seed, accuracy",
    ),
    "is of a version before `control`": (
        columns(lambda table: table.rename(columns={"control": "how"})), "no column control",
    ),
    "has words for numbers": (set_to("accuracy", "good"), "could not convert string to float"),
    "has a seed that is no whole number": (set_to("seed", "0.5"), "cannot safely convert"),
    "has an empty seed": (set_to("seed", ""), "NA values"),
    "has an empty field": (set_to("heads", ""), "an empty field in dataset, split, heads"),
    "has an accuracy of 101 %": (set_to("accuracy", "101"), "an accuracy is not 0 to 100"),
    "has an accuracy that is NaN": (set_to("accuracy", ""), "an accuracy is not 0 to 100"),
    "has an infinite accuracy": (set_to("accuracy", "inf"), "an accuracy is not 0 to 100"),
}  # fmt: skip
TABLES = (
    *("train_base/words_3/records", "learn_steps/words_3-2/records", "learn_steps/words_3/matrix"),
    *("learn_steps/words_3/confusion", "sweep_exemplars/words_3-2/records"),
    *("ablate_losses/words_3-2/records", "sweep_epochs/words_3-2/records"),
    *("compare_methods/words_3-2/records", "probe_base/words_3/records"),
    "time_heads/words/records",
)


@pytest.mark.parametrize("case", DAMAGE)
def test_a_damaged_table_of_records_is_refused_by_name(study, case):
    damage, says = DAMAGE[case]
    file = study / "metrics/records/learn_steps/words_3/records.csv"
    content = file.read_bytes()
    file.unlink()
    if damage:
        file.write_bytes(damage(content))
    message = refusal(study, "summarise")
    assert message.startswith("error: metrics/records/learn_steps/words_3/records.csv: the records")
    assert says in message and "dvc repro" in message and len(message.splitlines()) == 1


@pytest.mark.parametrize("name", TABLES)
def test_every_table_must_hold_its_columns(study, name):
    file = study / f"metrics/records/{name}.csv"
    last = file.read_text().splitlines()[0].split(",")[-1]
    file.write_bytes(columns(lambda table: table.drop(columns=last))(file.read_bytes()))
    assert f"{name}.csv: the records cannot be read (no column {last})" in refusal(
        study, "summarise"
    )


@pytest.mark.parametrize("counts", ["", "1 2;x", "9.5", "1 2;3"])
def test_counts_of_a_confusion_that_are_no_numbers_are_refused(study, counts):
    file = study / "metrics/records/learn_steps/words_3/confusion.csv"
    file.write_bytes(set_to("counts", counts)(file.read_bytes()))
    assert "confusion.csv: the records cannot be read (" in refusal(study, "summarise")


@pytest.mark.parametrize("stage", ["summarise", "draw_figures"])
def test_a_process_that_reads_damaged_records_ends_with_one_line(study, stage):
    file = study / "metrics/records/learn_steps/words_3/matrix.csv"
    file.write_bytes(file.read_bytes()[:300])
    says = "metrics/records/learn_steps/words_3/matrix.csv: the records cannot be read ("
    if stage == "draw_figures":  # which does not read it
        file.rename(file.with_name("confusion.csv"))
        says = says.replace("matrix", "confusion")
    assert_refused(study, stage, says=says)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (None, "No such file"),
        ("", "cannot be read as JSON"),
        ('{"clips": ', "cannot be read as JSON"),
        ("[]", "must hold a mapping"),
    ],
)
def test_the_facts_of_a_dataset_are_needed(study, text, says):
    file = study / "metrics/records/datasets/words.json"
    file.unlink()
    if text is not None:
        file.write_text(text)
    message = refusal(study, "summarise")
    assert "metrics/records/datasets/words.json: " in message and says in message
    assert message.endswith("Make it again: dvc repro.")


CHOICES = {
    "is gone": (None, "No such file"),
    "is empty": ("", "cannot be read as JSON"),
    "is half": ('{"ccil": {"kd', "cannot be read as JSON"),
    "is a list": ("[]", "must hold a mapping, got list []"),
    "holds no settings": ('{"ccil": 3}', "must hold the settings of each method"),
}


@pytest.mark.parametrize("case", CHOICES)
def test_what_tuning_chose_is_needed_to_compare_methods(study, case):
    text, says = CHOICES[case]
    file = study / "metrics/records/tune_methods/words/chosen.json"
    file.parent.mkdir(parents=True)
    if text is not None:
        file.write_text(text)
    message = refusal(study, "compare_methods", "words_3-2")
    assert "metrics/records/tune_methods/words/chosen.json: " in message and says in message
    assert message.endswith("Make it again: dvc repro --force tune_methods@words.")


def test_a_choice_of_a_setting_that_the_method_lacks_is_refused(study, tmp_path):
    file = study / "metrics/records/tune_methods/words/chosen.json"
    file.parent.mkdir(parents=True)
    file.write_text('{"icarl": {"warmth": 3}}')
    features = study / "data" / "features" / "words"
    features.mkdir(parents=True)
    for name in ("features.npy", "clips.csv"):
        (features / name).write_bytes(b"read later")
    models = study / "models" / "words_3-2"
    models.mkdir(parents=True)
    message = refusal(study, "compare_methods", "words_3-2")
    assert "methods.icarl with {'warmth': 3} has no key warmth" in message


def test_a_dataset_called_like_a_missing_value_is_read_as_a_name(tmp_path):
    base = dict.fromkeys(BASE, "NA")
    write_steps(tmp_path, "learn_steps", "row", base, [{"losses": "null"}])
    found = read_records(tmp_path / "learn_steps" / "row")
    assert set(found["dataset"]) == {"NA"} and set(found["losses"]) == {"null"}
