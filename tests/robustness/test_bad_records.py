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
from tiny_study import change, params, run_stage, write_params

from mtcil.records.rows import TABLES, Run, step_rows
from mtcil.records.tables import file_of, known_runs, read_records, write_records
from mtcil.running.keys import digest
from mtcil.settings.files import read_study
from mtcil.settings.study import FromBases, Study

STEPS = (3, 1, 1)
SCOPES = {"seen": (0, 1, 2), "future": (1, 2), "base": (0,)}
PLAIN = {
    "method": "ccil", "losses": "CE_N+CE_O+KD_N+KD_O", "schedule": "two_step",
    "stopping": "early", "exemplars": 12,
}  # fmt: skip


def named(study: Study, row: FromBases | None = None) -> list[dict[str, str]]:
    """The leading columns of records of each base model that a row of a section starts from."""
    starts = study.all_starts("words") if row is None else study.starts("words", row)
    found = []
    for name, split, _ in starts:
        base = study.base_models["words"][name]
        about = {"dataset": "words", "split": split, "base": name, "heads": base.heads}
        found.append(about | {"passes": base.passes, "control": base.control or "none"})
    return found


def write_steps(records: Path, stage: str, bases: list[dict], variants: list[dict]) -> None:
    """A record of each base model, variant and seed, as a stage of steps writes it."""
    rows: dict[str, list] = {name: [] for name in TABLES}
    for base, variant, seed in product(bases, variants, (0, 1)):
        results = [
            SimpleNamespace(
                confusion=np.full((n, n), 1 + seed) + 5 * np.eye(n, dtype=np.int64),
                updates={"base": 2}, clips_passed=64, diverged=False, memory_bytes=1, state_bytes=0,
                validation_bytes=0, teacher_bytes=9,
            )
            for n in np.cumsum(STEPS)
        ]  # fmt: skip
        run = Run(**{**base, **PLAIN, **variant}, seed=seed)
        for name, more in step_rows(run, STEPS, results, digest(run)).items():
            rows[name] += more
    for name, table in rows.items():
        write_records(records / stage, bases[0]["dataset"], table, name)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A study as after all stages but summarise and those after it; its numbers mean nothing."""
    folder = tmp_path_factory.mktemp("finished")
    write_params(folder, params("."))
    study, records = read_study(folder / "params.yaml"), folder / "metrics" / "records"
    counts = ("train_clips", "test_clips", "validation_clips", "leaking_test_clips")
    rows = [
        base | {"seed": seed, "updates": 2} | dict.fromkeys(counts, 9) | {"key": "a key"}
        for base, seed in product(named(study), (0, 1))
    ]
    write_records(records / "train_base", "words", rows)
    write_steps(records, "learn_steps", named(study), [{}])
    sweep = study.exemplar_sweeps["words"]
    budgets = [{"exemplars": k} for k in sweep.exemplars]
    write_steps(records, "sweep_exemplars", named(study, sweep), budgets)
    ablation = study.loss_ablations["words"]
    losses = [{"losses": text} for text in ablation.losses]
    write_steps(records, "ablate_losses", named(study, ablation), losses)
    epochs = study.epoch_sweeps["words"]
    ends = ["early" if n is None else str(n) for n in epochs.epochs]
    variants = [{"schedule": s, "stopping": e} for s, e in product(epochs.schedules, ends)]
    write_steps(records, "sweep_epochs", named(study, epochs), variants)
    comparison = study.comparisons["words"]
    methods = [{"method": name, "stopping": "fixed"} for name in comparison.methods]
    write_steps(records, "compare_methods", named(study, comparison), methods)
    tuned = [base for base in named(study) if base["base"] == study.tunings["words"].base]
    points = [{"method": f"replay learning_rate={rate}", "stopping": "fixed"} for rate in (1, 2)]
    write_steps(records, "tune_methods", tuned, points)
    rows = [
        base
        | {"probe": probe, "seed": seed, "scope": scope, "step": step, "classes_seen": 3 + step}
        | {"accuracy": 50.0, "bytes": 9, "key": "a key"}
        for base in named(study, study.base_probes["words"])
        for probe, seed, scope in product(study.probes, (0, 1), SCOPES)
        for step in SCOPES[scope]
    ]
    write_records(records / "probe_base", "words", rows)
    about = {"dataset": "words", "device": "cpu", "clips": 9, "round": 0}
    rows = [
        about | {"heads": heads, "passes": passes, "seconds": 1.0, "cpu_seconds": 1.0}
        for heads, passes in product(study.heads_timings["words"].heads, ("separate", "shared"))
    ]
    write_records(records / "time_heads", "words", rows)
    (records / "extract_features").mkdir()
    facts = records / "extract_features" / "words.json"
    facts.write_text(json.dumps({"clips": {"yes": 9}}))
    old = folder / "metrics" / "tables" / "old.csv"  # of an earlier run: stays if one fails
    old.parent.mkdir()
    old.write_text("dataset,n\nwords,2\n")
    return folder


@pytest.fixture
def study(finished, tmp_path):
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    return tmp_path


@pytest.mark.slow
def test_undamaged_records_pass(study):
    for stage in ("summarise", "draw_figures", "write_report"):
        done = run_stage(study, stage)
        assert (done.returncode, done.stderr) == (0, "")
    assert not (study / "metrics" / "tables" / "old.csv").exists()


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


# What became of learn_steps' records, and what the message must say.
DAMAGE = {
    "is gone": (None, "words.csv: there is no such file. Make it: "),
    "is empty": (lambda content: b"", "No columns to parse from file"),
    "is binary": (lambda content: bytes(range(128, 256)) * 9, "can't decode byte 0x80"),
    "is UTF-16": (lambda content: content.decode().encode("utf-16"), "can't decode byte 0xff"),
    "is zeros": (lambda content: bytes(len(content)), "no column dataset, split"),
    "is half": (lambda content: content[: len(content) // 2 - 9], "cannot be read ("),
    "is cut in its last field": (lambda content: content[:-2], "not every run has each step once"),
    "is cut before its last field": (
        lambda content: content[: content.rindex(b",")], "an empty field in dataset, split, base",
    ),
    "lacks its last row": (lines(lambda rows: rows[:-1]), "not every run has each step once"),
    "lacks a row": (lines(lambda rows: rows[:2] + rows[3:]), "not every run has each step"),
    "lacks the first row": (lines(lambda rows: rows[:1] + rows[2:]), "not every run has each"),
    "holds another dataset": (set_to("dataset", "urban"), "runs of a dataset other than words"),
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
    "has a seed that is not a whole number": (set_to("seed", "0.5"), "cannot safely convert"),
    "has half an update": (set_to("updates", "0.5"), "cannot safely convert"),
    "has no count of updates": (set_to("updates", ""), "NA values"),
    "has a word for the clips passed": (set_to("clips_passed", "many"), "many"),
    "counts epochs": (
        columns(lambda table: table.rename(columns={"updates": "epochs"})), "no column updates",
    ),
    "has an empty seed": (set_to("seed", ""), "NA values"),
    "has an empty field": (set_to("heads", ""), "an empty field in dataset, split, base"),
    "has an accuracy of 101 %": (set_to("accuracy", "101"), "an accuracy is not between 0 and 100"),
    "has an accuracy that is NaN": (set_to("accuracy", ""), "an accuracy is not between 0 and 100"),
    "has an infinite accuracy": (set_to("accuracy", "inf"), "an accuracy is not between 0 and 100"),
}  # fmt: skip
FILES = (
    *("train_base/words", "learn_steps/words", "learn_steps/words.matrix"),
    *("learn_steps/words.confusion", "sweep_exemplars/words", "ablate_losses/words"),
    *("sweep_epochs/words", "sweep_epochs/words.confusion", "compare_methods/words"),
    *("probe_base/words", "time_heads/words", "tune_methods/words"),
)


@pytest.mark.parametrize("case", DAMAGE)
def test_a_damaged_table_of_records_is_refused_by_name(study, case):
    damage, says = DAMAGE[case]
    file = study / "metrics/records/learn_steps/words.csv"
    content = file.read_bytes()
    file.unlink()
    if damage:
        file.write_bytes(damage(content))
    message = refusal(study, "summarise")
    assert message.startswith("error: metrics/records/learn_steps/words.csv: the")
    assert says in message and message.endswith("dvc repro learn_steps@words.")
    assert len(message.splitlines()) == 1


@pytest.mark.parametrize("name", FILES)
def test_every_table_must_hold_its_columns(study, name):
    file = study / f"metrics/records/{name}.csv"
    last = file.read_text().splitlines()[0].split(",")[-1]
    file.write_bytes(columns(lambda table: table.drop(columns=last))(file.read_bytes()))
    message = refusal(study, "summarise")
    assert f"{name}.csv: the records cannot be read (no column {last})" in message


NEEDED = ("train_base/words", "learn_steps/words.matrix")  # by the summary of each base model


def without_rows(study, name):
    file = study / f"metrics/records/{name}.csv"
    file.write_bytes(lines(lambda rows: rows[:1])(file.read_bytes()))


@pytest.mark.slow
def test_tables_without_rows_are_left_out(study):
    for name in FILES:
        without_rows(study, name)
    for stage in ("summarise", "draw_figures", "write_report"):
        done = run_stage(study, stage)
        assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", NEEDED)
def test_base_models_that_lack_some_of_their_records_are_refused(study, name):
    without_rows(study, name)
    says = "error: Some records of single, words, split random, are missing. Make them again: "
    assert refusal(study, "summarise").startswith(says)


@pytest.mark.parametrize("counts", ["", "1 2;x", "9.5", "1 2;3"])
def test_counts_of_a_confusion_that_are_not_numbers_are_refused(study, counts):
    file = study / "metrics/records/learn_steps/words.confusion.csv"
    file.write_bytes(set_to("counts", counts)(file.read_bytes()))
    assert "confusion.csv: the records cannot be read (" in refusal(study, "summarise")


def test_a_process_that_reads_damaged_records_ends_with_one_line(study):
    file = study / "metrics/records/learn_steps/words.matrix.csv"
    file.write_bytes(file.read_bytes()[:300])
    says = "metrics/records/learn_steps/words.matrix.csv: the records cannot be read ("
    assert_refused(study, "summarise", says=says)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (None, "there is no such file"),
        ("", "cannot be read as JSON"),
        ('{"clips": ', "cannot be read as JSON"),
        ("[]", "must hold a mapping"),
    ],
)
def test_the_facts_of_a_dataset_are_needed(study, text, says):
    file = study / "metrics/records/extract_features/words.json"
    file.unlink()
    if text is not None:
        file.write_text(text)
    message = refusal(study, "summarise")
    assert "metrics/records/extract_features/words.json: " in message and says in message
    assert message.endswith("Make it again: dvc repro.")


def test_a_tuned_setting_that_the_method_lacks_is_refused(study):
    values = params(".")
    change(values, "comparison.tuned", {"icarl": {"learning_rate": 0.2, "warmth": 3}})
    write_params(study, values)
    features = study / "data" / "features" / "words"
    features.mkdir(parents=True)
    for name in ("features.npy", "clips.csv"):
        (features / name).write_bytes(b"read later")
    message = refusal(study, "compare_methods", "words")
    changed = "{'learning_rate': 0.2, 'warmth': 3}"
    assert f"settings.yaml: methods.icarl with {changed}.warmth: unknown key" in message


def test_a_dataset_called_like_a_missing_value_is_read_as_a_name(tmp_path):
    base = dict.fromkeys(("dataset", "split", "base", "heads", "passes", "control"), "NA")
    write_steps(tmp_path, "learn_steps", [base], [{"losses": "null"}])
    found = read_records(tmp_path / "learn_steps", "NA")
    assert set(found["dataset"]) == {"NA"} and set(found["losses"]) == {"null"}


def test_runs_in_a_damaged_table_are_not_finished(study):
    folder = study / "metrics" / "records" / "learn_steps"
    assert len(known_runs([folder], "words")) == 6  # three base models, two seeds
    file = file_of(folder, "words", "matrix")
    file.write_bytes(lines(lambda rows: rows[:-1])(file.read_bytes()))
    assert known_runs([folder], "words") == {}
