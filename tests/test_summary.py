"""mtcil.summary, mtcil.curves, mtcil.results and figures.steps: numbers by hand."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from mtcil.curves import confusion_rows, exemplar_curve, step_curve
from mtcil.errors import UserError
from mtcil.figures import steps
from mtcil.results import headline_runs, read_records, read_stage, write_markdown, write_table
from mtcil.study import read_study
from mtcil.summary import headline, summarise_rows

STUDY = read_study(Path(__file__).parents[1] / "params.yaml")
ABOUT = {
    "dataset": "gsc", "split": "random", "passes": "separate", "control": "none",
    "method": "ccil", "losses": "CE_N", "schedule": "two_step", "stopping": "early",
    "exemplars": 200,
}  # fmt: skip


def runs(row, heads, accuracies):
    """{seed: step accuracies} as records."""
    return pd.DataFrame(
        [
            {
                **ABOUT, "heads": heads, "seed": seed, "step": step,
                "classes_seen": 5 + 3 * step, "accuracy": accuracy, "memory_bytes": 10,
                "validation_bytes": 20, "teacher_bytes": 30, "row": row,
            }
            for seed, steps in accuracies.items()
            for step, accuracy in enumerate(steps)
        ]
    )  # fmt: skip


RECORDS = pd.concat(
    [
        runs("gsc_5", "5", {0: [90, 60, 40], 1: [92, 70, 50]}),
        runs("gsc_5-4-3-2", "5-4-3-2", {0: [90, 66, 46], 1: [92, 72, 50], 7: [1, 1, 1]}),
    ]
)


def matrix(row):
    values = {(0, 0): 90, (1, 0): 50, (1, 1): 70, (2, 0): 30, (2, 1): 40, (2, 2): 60}
    return pd.DataFrame(
        [
            {"row": row, "seed": seed, "step": t, "of_step": u, "accuracy": a}
            for seed in (0, 1)
            for (t, u), a in values.items()
        ]
    )


def test_the_summary_of_a_row_by_hand():
    counts = {"train_clips": 70, "test_clips": 20, "validation_clips": 10}
    bases = pd.DataFrame([{"row": "gsc_5", **counts, "leaking_test_clips": n} for n in (5, 6)])
    accuracies = {0: [90, 60, 40], 1: [92, 70, 50]}
    found = summarise_rows(runs("gsc_5", "5", accuracies), matrix("gsc_5"), bases)
    row = found["gsc_5"]
    assert row["average_incremental_accuracy"]["mean"] == 55.0  # of 50 and 60
    assert row["average_incremental_accuracy"]["n"] == 2
    assert row["average_accuracy_with_base"]["mean"] == pytest.approx(
        (190 / 3 + 212 / 3) / 2, abs=1e-4
    )
    assert row["last_accuracy"]["mean"] == 45.0
    assert row["forgetting"]["mean"] == 45.0  # (90 - 30 + 70 - 40) / 2
    assert row["backward_transfer"]["mean"] == -45.0
    assert row["split"] == {**counts, "leaking_test_clips": 5.5}
    assert row["last_step"] == {"memory_bytes": 10, "validation_bytes": 20, "teacher_bytes": 30}


def test_the_headline_compares_only_seeds_that_both_have():
    found = headline(replace(STUDY, headline="single"), RECORDS)["gsc"]
    assert found["single_average"] == found["headline_average"] == 55.0
    assert found["multitask_gain"] == pytest.approx(3.5)  # (56 - 50 + 61 - 60) / 2
    assert found["seeds"] == 2


def test_the_table_of_steps_by_hand():
    table = steps.table(STUDY, RECORDS)
    multi = table[(table["row"] == "gsc_5-4-3-2") & (table["measure"] == "average")].iloc[0]
    assert multi["gain_mean"] == pytest.approx(3.5) and multi["gain_n"] == 2 and multi["n"] == 3
    single = table[(table["row"] == "gsc_5") & (table["measure"] == "08")].iloc[0]
    assert single["mean"] == 65.0 and pd.isna(single["gain_mean"])


def test_the_headline_can_name_heads_and_the_words():
    assert STUDY.headline_heads("gsc") == "5-4-3-2"
    assert replace(STUDY, headline="single").headline_heads("us8k") == "4"
    assert replace(STUDY, headline=5).headline_heads("gsc") == "5"


def test_a_curve_is_the_mean_over_seeds_and_never_without_columns():
    curve = step_curve(headline_runs(RECORDS, "gsc", "5"))
    assert [(r["classes_seen"], r["accuracy"]) for r in curve] == [(5, 91), (8, 65), (11, 45)]
    assert step_curve(headline_runs(RECORDS, "gsc", "4"))[0]["n"] == 0


def test_the_curve_over_k_by_hand():
    few = runs("gsc_5", "5", {0: [90, 60, 40], 1: [92, 70, 50]}).assign(exemplars=20)
    many = runs("gsc_5", "5", {0: [90, 80, 60]})
    curve = exemplar_curve(pd.concat([many, few]))
    assert curve == [
        {"exemplars": 20, "accuracy": 55.0, "n": 2},
        {"exemplars": 200, "accuracy": 70.0, "n": 1},
    ]
    assert exemplar_curve(headline_runs(pd.DataFrame(), "gsc", "5"))[0]["n"] == 0


def test_confusion_rows_hold_each_clip_of_the_last_step_once():
    counts = pd.DataFrame({"step": [0, 1], "counts": ["9", "2 1;0 3"]})
    rows = confusion_rows(counts)
    assert len(rows) == 6
    assert rows.count({"actual": "00", "predicted": "01"}) == 1


def test_only_the_rows_that_are_named_are_read(tmp_path):
    columns = "dataset split heads passes control seed epochs train_clips test_clips"
    record = dict.fromkeys([*columns.split(), "validation_clips", "leaking_test_clips"], 5)
    for row in ("wanted", "leftover"):
        write_table(tmp_path / "train_base" / row / "records.csv", [record])
    found = read_stage(tmp_path, "train_base", {"wanted": SimpleNamespace(dataset="5")})
    assert found["row"].tolist() == ["wanted"] and found["heads"].tolist() == ["5"]
    assert read_stage(tmp_path, "train_base", {}).empty
    with pytest.raises(UserError, match="records of 5, but the row is of gsc now"):
        read_stage(tmp_path, "train_base", {"wanted": SimpleNamespace(dataset="gsc")})


def test_missing_records_are_refused_with_the_file_and_what_to_do(tmp_path):
    with pytest.raises(UserError, match=r"none.records.csv: .*dvc repro"):
        read_records(tmp_path / "none")


def test_tables_are_written_with_the_same_bytes_every_time(tmp_path):
    write_table(tmp_path / "t.csv", [{"a": 1 / 3, "b": 2, "c": "x"}])
    assert (tmp_path / "t.csv").read_bytes() == b"a,b,c\n0.3333,2,x\n"
    write_markdown(tmp_path / "t.md", ["a", "b"], [["1", "2"]])
    assert (tmp_path / "t.md").read_text() == "| a | b |\n| --- | --- |\n| 1 | 2 |\n"
