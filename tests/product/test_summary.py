"""Summary, plots, records and the table of steps: numbers by hand."""

from dataclasses import replace
from itertools import product
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from conftest import blobs
from tiny_study import files_in, params, run_stage, write_params
from untrained import network_of

from mtcil.core.errors import UserError
from mtcil.core.files import write_text
from mtcil.figures import confusion_places as places_figure
from mtcil.figures import exemplars as exemplars_figure
from mtcil.figures import gain as gain_figure
from mtcil.figures import steps as steps_figure
from mtcil.learning.probing import Probe
from mtcil.learning.split import SplitData
from mtcil.probes import ncm
from mtcil.records.rows import TABLES, BaseName, Run, step_rows
from mtcil.records.tables import (
    columns_of,
    file_of,
    headline_runs,
    known_runs,
    read_records,
    read_stage,
    write_markdown,
    write_records,
    write_table,
)
from mtcil.reporting.columns import in_order
from mtcil.reporting.dvc_plots import confusion_rows, exemplar_curve, step_curve
from mtcil.reporting.style import PAPER, SINGLE, label_of, looks_of
from mtcil.reporting.summary import headline, summarise_bases
from mtcil.running import probe
from mtcil.settings.files import read_study
from mtcil.tables import confusion_places, epochs, exemplars, fine_tuning, gain, losses, steps

STUDY = read_study(Path(__file__).parents[2] / "params.yaml")
MULTITASK = ("multitask", "5-4-3-2")
ABOUT = {
    "dataset": "gsc", "split": "random", "passes": "separate", "control": "none",
    "method": "ccil", "losses": "CE_N", "schedule": "two_step", "stopping": "early",
    "exemplars": 200,
}  # fmt: skip
STEP_STAGES = (
    *("learn_steps", "sweep_exemplars", "ablate_losses", "sweep_epochs", "compare_methods"),
    "tune_methods",
)
STAGES_AND_TABLES = (
    *product(STEP_STAGES, TABLES),
    *product(("train_base", "probe_base", "time_heads"), ["records"]),
)


def runs(base, heads, accuracies):
    """{seed: step accuracies} as records."""
    return pd.DataFrame(
        [
            {
                **ABOUT, "heads": heads, "seed": seed, "step": step,
                "classes_seen": 5 + 3 * step, "accuracy": accuracy, "memory_bytes": 10,
                "state_bytes": 5, "validation_bytes": 20, "teacher_bytes": 30, "base": base,
            }
            for seed, steps in accuracies.items()
            for step, accuracy in enumerate(steps)
        ]
    )  # fmt: skip


ONE_HEAD = runs("single", "5", {0: [90, 60, 40], 1: [92, 70, 50]})
RECORDS = pd.concat(
    [
        ONE_HEAD,
        runs("multitask", "5-4-3-2", {0: [90, 66, 46], 1: [92, 72, 50], 7: [1, 1, 1]}),
        runs("single_longer", "5", {0: [5, 5, 5], 1: [5, 5, 5]}).assign(control="longer"),
    ]
)


def matrix(base):
    values = {(0, 0): 90, (1, 0): 50, (1, 1): 70, (2, 0): 30, (2, 1): 40, (2, 2): 60}
    return pd.DataFrame(
        [
            {
                "dataset": "gsc", "split": "random", "base": base, "seed": seed, "step": t,
                "of_step": u, "accuracy": a,
            }
            for seed in (0, 1)
            for (t, u), a in values.items()
        ]
    )  # fmt: skip


def test_the_summary_of_a_base_model_by_hand():
    counts = {"train_clips": 70, "test_clips": 20, "validation_clips": 10}
    about = {"dataset": "gsc", "split": "random", "base": "single", **counts}
    bases = pd.DataFrame([{**about, "leaking_test_clips": n} for n in (5, 6)])
    by_group = [table.assign(split="group") for table in (ONE_HEAD, matrix("single"), bases)]
    by_group[0]["accuracy"] = 7
    tables = zip((ONE_HEAD, matrix("single"), bases), by_group, strict=True)
    found = summarise_bases(*(pd.concat(both) for both in tables))
    base = found["gsc"]["random"]["single"]
    assert base["average_incremental_accuracy"]["mean"] == 55.0  # of 50 and 60
    assert base["average_incremental_accuracy"]["n"] == 2
    assert base["average_accuracy_with_base"]["mean"] == pytest.approx(
        (190 / 3 + 212 / 3) / 2, abs=1e-4
    )
    assert base["last_accuracy"]["mean"] == 45.0
    assert base["forgetting"]["mean"] == 45.0  # (90 - 30 + 70 - 40) / 2
    assert base["backward_transfer"]["mean"] == -45.0
    assert base["split"] == {**counts, "leaking_test_clips": 5.5}
    assert base["last_step"] == {
        "memory_bytes": 10, "state_bytes": 5, "validation_bytes": 20, "teacher_bytes": 30,
    }  # fmt: skip
    assert found["gsc"]["group"]["single"]["last_accuracy"]["mean"] == 7.0


def test_a_summary_of_nothing_is_empty():
    assert summarise_bases(*[pd.DataFrame()] * 3) == {}


def test_the_headline_compares_only_seeds_that_both_have():
    found = headline(replace(STUDY, headline="single"), RECORDS)["gsc"]
    assert found["single_average"] == found["headline_average"] == 55.0
    assert found["multitask_gain"] == pytest.approx(3.5)  # (56 - 50 + 61 - 60) / 2
    assert found["seeds"] == 2


def test_the_headline_names_a_base_model():
    found = headline(replace(STUDY, headline="single_longer"), RECORDS)
    assert found["gsc"]["headline_average"] == 5.0 and found["gsc"]["single_average"] == 55.0
    assert found["us8k"] == {}  # no records of it


def test_the_headline_is_of_the_first_split():
    by_group = ONE_HEAD.assign(split="group", accuracy=1)
    found = headline_runs(pd.concat([ONE_HEAD, by_group]), "gsc", "single")
    assert set(found["split"]) == {"random"} and len(found) == len(ONE_HEAD)


def test_the_headline_pairs_runs_of_one_split():
    """Single task on both splits, group first; multitask on both, random first."""
    group = [runs(b, h, {0: [9, 7, 5], 1: [9, 7, 5]}) for b, h in (("single", "5"), MULTITASK)]
    single, multitask = (table.assign(split="group") for table in group)
    table = pd.concat([single, RECORDS, multitask])
    found = headline(STUDY, table)["gsc"]
    assert (found["single_average"], found["multitask_average"]) == (6.0, 6.0)
    assert found["multitask_gain"] == 0.0
    only_random = headline(STUDY, pd.concat([single, RECORDS[RECORDS["base"] == "multitask"]]))
    assert "multitask_gain" not in only_random["gsc"]


@pytest.mark.parametrize("differs", [{"method": "icarl"}, {"order_seed": 3}])
def test_multitask_of_another_method_or_order_gains_nothing(differs):
    rows = STUDY.base_models["gsc"]
    rows = rows | {"multitask": replace(rows["multitask"], **differs)}
    study = replace(STUDY, base_models={"gsc": rows})
    assert len(gain.table(STUDY, RECORDS)) and not len(gain.table(study, RECORDS))
    assert "multitask_gain" not in headline(study, RECORDS)["gsc"]


def test_the_table_of_steps_by_hand():
    table = steps.table(STUDY, RECORDS)
    multi = table[(table["base"] == "multitask") & (table["measure"] == "average")].iloc[0]
    assert multi["gain_mean"] == pytest.approx(3.5) and multi["gain_n"] == 2 and multi["n"] == 3
    single = table[(table["base"] == "single") & (table["measure"] == "08")].iloc[0]
    assert single["mean"] == 65.0 and pd.isna(single["gain_mean"])


def test_base_models_of_any_heads_and_number_are_drawn():
    """More than there are colours and marks; and heads that are neither equal nor all different."""
    heads = ["5-4-4-3", *(f"5-{n}" for n in range(2, 12))]
    tables = [runs(text, text, {0: [90, 60, 40], 1: [92, 70, 50]}) for text in heads]
    figure = steps_figure.draw(steps.table(STUDY, pd.concat([ONE_HEAD, *tables])))
    labels = {line.get_label() for axis in figure.axes for line in axis.lines}
    assert labels == {"5, single task", *heads}


def test_base_models_of_the_same_heads_are_told_apart_by_name():
    mine = [runs(base, "5-4-3-2", {0: [90, 66, 46]}) for base in ("mine", "yours")]
    figure = steps_figure.draw(steps.table(STUDY, pd.concat([ONE_HEAD, *mine])))
    labels = {line.get_label() for axis in figure.axes for line in axis.lines}
    assert labels == {"5, single task", "5-4-3-2 (mine)", "5-4-3-2 (yours)"}


def test_a_base_model_of_one_head_has_no_smaller_tasks():
    table = steps.table(STUDY, pd.concat([ONE_HEAD, runs("mine", "5", {0: [9, 6, 4]})]))
    assert steps_figure.panels_of(table[table["base"] == "mine"]) == steps_figure.PANELS[2:]


def test_the_gain_of_one_seed_is_inside_its_picture():
    far = runs("multitask", "5-4-3-2", {0: [90, 99, 99]})
    figure = gain_figure.draw(gain.table(STUDY, pd.concat([ONE_HEAD, far])))
    low, high = figure.axes[1].get_ylim()
    assert low <= -59 and high >= 59  # 99 - 40


def test_a_base_model_with_parts_has_its_name_and_the_same_look_in_every_panel():
    line = ONE_HEAD.assign(base="general", control="mixup+gain")
    assert label_of(line) == "general" and label_of(ONE_HEAD) == "5, single task"
    looks = looks_of(pd.concat([line, ONE_HEAD, line.assign(base="top", control="ceiling")]))
    assert [looks[name][0] for name in ("single", "top")] == [SINGLE, PAPER]
    assert len(set(looks.values())) == 3


def test_places_are_counted_for_each_base_model_even_if_heads_are_equal():
    runs = [replace(run_of(), base=base) for base in ("single", "multitask", "other")]
    rows = [row for run in runs for row in rows_of(run, "key", (3, 1))["confusion"]]
    study = replace(STUDY, headline="other")
    table = confusion_places.table(study, pd.DataFrame(rows))
    assert table["base"].unique().tolist() == ["single", "multitask", "other"]
    assert (table.groupby("base")["clips"].sum() == 4 * 4 + 4 * 5).all()
    assert len(places_figure.draw(table).axes) == 2 * 3  # with colour bars


def test_a_curve_is_the_mean_over_seeds_and_never_without_columns():
    table = steps.table(STUDY, RECORDS)
    curve = step_curve(table, "gsc", "single")
    assert [(r["classes_seen"], r["accuracy"]) for r in curve] == [(5, 91), (8, 65), (11, 45)]
    assert step_curve(table, "gsc", "h5-4")[0]["n"] == 0


def test_the_curve_over_k_by_hand():
    few = ONE_HEAD.assign(exemplars=20)
    many = runs("single", "5", {0: [90, 80, 60]})
    curve = exemplar_curve(exemplars.table(STUDY, pd.concat([many, few])), "gsc", "single")
    assert curve == [
        {"exemplars": 20, "accuracy": 55.0, "n": 2},
        {"exemplars": 200, "accuracy": 70.0, "n": 1},
    ]
    assert exemplar_curve(pd.DataFrame(), "gsc", "single")[0]["n"] == 0


def test_lines_of_several_splits_and_base_models_can_be_told_apart():
    table = pd.concat([RECORDS, RECORDS.assign(split="group")])
    table["old_accuracy"] = table["new_accuracy"] = table["updates"] = table["accuracy"]
    for of in (losses, fine_tuning, exemplars):
        header, rows = of.markdown(of.table(STUDY, table))
        at = [header.index(name) for name in ("split", "base model")]
        assert len({tuple(row[i] for i in at) for row in rows}) == len(rows) == 6
    figure = exemplars_figure.draw(exemplars.table(STUDY, table))
    titles = [axis.get_title() for axis in figure.axes[:2]]
    assert ["split random" in titles[0], "split group" in titles[1]] == [True, True]
    labels = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert labels == ["single (5)", "multitask (5-4-3-2)", "single_longer (5)"]


def test_schedules_are_compared_at_equal_length_as_well_by_hand():
    made = [
        runs("multitask", "5-4", {0: [90, *later], 1: [90, *later]}).assign(
            schedule=schedule, stopping=end
        )
        for schedule, end, later in (
            ("two_step", "early", (60, 60)),
            ("two_step", "15", (70, 74)),
            ("small", "15", (66, 70)),
        )
    ]
    steps = pd.concat(made).assign(old_accuracy=50.0, new_accuracy=50.0, updates=9)
    table = fine_tuning.table(STUDY, steps)
    found = table[table["measure"] == "average"].set_index(["schedule", "stopping"])
    assert found["gain_mean"].fillna(0).tolist() == [0, 12, 8]
    assert found["same_mean"].fillna(0).tolist() == [0, 0, -4]


def test_the_papers_figure_2_stands_beside_its_own_dataset_only():
    about = {"split": "random", "base": "multitask", "heads": "5-4", "schedule": "two_step"}
    counts = ";".join(["1 1 1 1"] * 4)
    runs = [
        {**about, "dataset": name, "stopping": end, "seed": 0, "step": 1, "counts": counts}
        for name in ("gsc", "us8k")
        for end in ("15", "early")
    ]
    _, rows = epochs.markdown(epochs.table(STUDY, pd.DataFrame(runs)))
    assert [row[-1] for row in rows] == ["91 / 24", "", "", ""]


def test_exemplars_of_base_models_with_other_class_orders_are_not_compared():
    both = pd.concat([ONE_HEAD, runs("multitask", "5-4-3-2", {0: [90, 66, 46], 1: [92, 72, 50]})])
    both = both.assign(exemplars=20)
    assert exemplars.table(STUDY, both)["gain_mean"].notna().sum() == 1
    rows = dict(STUDY.base_models["gsc"])
    rows["multitask"] = replace(rows["multitask"], order_seed=0)
    other = replace(STUDY, base_models={**STUDY.base_models, "gsc": rows})
    assert "gain_mean" not in exemplars.table(other, both)


def test_columns_are_ordered_by_number():
    measures = pd.Series(["average with base", "100", "05", "average", "99", "average minus base"])
    averages = ["average", "average minus base", "average with base"]
    assert in_order(measures) == ["05", "99", "100", *averages]


def test_exemplars_without_the_single_task_are_a_table_and_a_picture_without_gains():
    multitask = runs("multitask", "5-4-3-2", {0: [90, 66, 46], 1: [92, 72, 50]})
    table = exemplars.table(STUDY, pd.concat([multitask.assign(exemplars=k) for k in (20, 200)]))
    assert table["mean"].tolist() == [58.5, 58.5] and "gain_mean" not in table
    _, lines = exemplars.markdown(table)
    assert len(lines) == 1 and "gain" not in " ".join(lines[0])
    above, below = exemplars_figure.draw(table).axes
    assert above.lines[0].get_ydata().tolist() == [58.5, 58.5]
    assert [line.get_ydata() for line in below.lines] == [[0, 0]]  # no difference to draw


def test_confusion_rows_hold_each_clip_of_the_last_step_once():
    about = {"dataset": "gsc", "split": "random", "base": "single"}
    classes = {"true_class": ["up", "up", "go", "go"], "predicted_class": ["up", "go", "up", "go"]}
    table = pd.DataFrame({**about, **classes, "clips": [2, 1, 0, 3]}, index=range(4))
    rows = confusion_rows(table, "gsc", "single")
    assert len(rows) == 6
    assert rows.count({"actual": "up", "predicted": "go"}) == 1
    assert confusion_rows(pd.DataFrame(), "gsc", "single") == [{"actual": "", "predicted": ""}]


def run_of(base="single", seed=0, dataset="gsc"):
    about = {**ABOUT, "dataset": dataset, "base": base, "heads": "5", "seed": seed}
    return Run(**about)


def rows_of(run, key, sizes=(3, 1)):
    """What `step_rows` gives for a run of two steps."""
    results = [
        SimpleNamespace(
            confusion=np.full((n, n), 1) + 5 * np.eye(n, dtype=np.int64), updates={"base": 2},
            clips_passed=64, diverged=False,
            memory_bytes=1, state_bytes=0, validation_bytes=0, teacher_bytes=9,
        )
        for n in np.cumsum(sizes)
    ]  # fmt: skip
    return step_rows(run, sizes, results, key)


def test_step_records_carry_the_key_of_their_run_in_the_last_column(tmp_path):
    one, other = rows_of(run_of(), "key1"), rows_of(run_of(seed=1), "key2")
    for table in TABLES:
        assert {list(row)[-1] for row in one[table]} == {"key"}
        assert {row["key"] for row in one[table]} == {"key1"}
        assert list(one[table][0]) == list(columns_of("learn_steps", table))
        write_records(tmp_path / "learn_steps", "gsc", one[table] + other[table], table)
    known = known_runs([tmp_path / "learn_steps"], "gsc")
    assert sorted(known) == ["key1", "key2"]
    assert all(row["seed"] == 1 for table in TABLES for row in known["key2"][table])


def test_step_records_add_up_the_updates_of_all_phases():
    result = SimpleNamespace(
        confusion=np.eye(3, dtype=np.int64), updates={"head_first": 3, "then_all": 5},
        clips_passed=8 * 64, diverged=False,
            memory_bytes=1, state_bytes=0, validation_bytes=0, teacher_bytes=9,
    )  # fmt: skip
    (row,) = step_rows(run_of(), (3,), [result], "key")["records"]
    assert (row["updates"], row["phases"]) == (8, "head_first:3 then_all:5")
    assert row["clips_passed"] == 512


def test_probe_records_carry_the_key_of_their_probe(tmp_path, monkeypatch):
    clips = blobs(6, 4, 0)
    data = SplitData(tuple("abcd"), {}, clips, clips, clips)
    monkeypatch.setattr(probe, "read_model", lambda *_: (network_of(2), 3))
    monkeypatch.setattr(probe, "load_split", lambda *_: data)
    base = SimpleNamespace(
        name=BaseName("gsc", "random", "single", "2", "separate", "none"), key="of the base model",
        seed=3, order_seed=3, device="cpu", file=None, network=None, split=None,
        dataset=SimpleNamespace(steps=(2, 2)),
        folders=SimpleNamespace(features=None, checkpoints=tmp_path),
    )  # fmt: skip
    probes = {"key1": Probe("ncm", ncm.Config()), "key2": Probe("ncm", ncm.Config())}
    _, found = probe.probe_one_base(probe.ProbeJob(base, probes))
    assert all(row["key"] == key for key, rows in found.items() for row in rows)
    rows = probe.probe_all([probe.ProbeJob(base, probes)], STUDY.machine, found)
    write_records(tmp_path / "probe_base", "gsc", [row for row in rows if row["key"] == "key1"])
    assert set(read_records(tmp_path / "probe_base", "gsc")["key"]) == {"key1"}
    assert list(probe.known_probes(tmp_path / "probe_base", "gsc")) == ["key1"]


def test_every_record_of_something_learnt_ends_with_its_key():
    without = [
        (stage, table)
        for stage, table in STAGES_AND_TABLES
        if list(columns_of(stage, table))[-1] != "key"
    ]
    assert without == [("time_heads", "records")]  # measured again each time


def test_records_without_rows_have_a_header_and_are_read_as_an_empty_table(tmp_path):
    for stage, table in STAGES_AND_TABLES:
        columns = list(columns_of(stage, table))
        write_records(tmp_path / stage, "gsc", [], table)
        text = file_of(tmp_path / stage, "gsc", table).read_text()
        assert text == ",".join(columns) + "\n", (stage, table)
        found = read_records(tmp_path / stage, "gsc", table)
        assert found.empty and found.columns.tolist() == columns, (stage, table)


def test_a_dataset_without_rows_beside_one_with_rows_changes_nothing(tmp_path):
    write_records(tmp_path / "learn_steps", "us8k", [])
    write_records(tmp_path / "learn_steps", "gsc", rows_of(run_of(), "key1")["records"])
    alone = read_stage(tmp_path, "learn_steps", ["gsc"])
    both = read_stage(tmp_path, "learn_steps", ["us8k", "gsc"])
    pd.testing.assert_frame_equal(both, alone)


def test_a_study_that_only_tunes_has_no_other_table(tmp_path):
    values = params(".") | {"seeds": []}
    sections = ("exemplar_sweeps", "loss_ablations", "epoch_sweeps", "comparisons", "base_probes")
    values |= {section: {} for section in (*sections, "heads_timings")}
    write_params(tmp_path, values)
    records = tmp_path / "metrics" / "records"
    for stage, table in STAGES_AND_TABLES:
        if stage in ("train_base", "learn_steps"):
            write_records(records / stage, "words", [], table)
    tried = [replace(run_of(dataset="words"), method=f"replay learning_rate={r}") for r in "12"]
    rows = [row for run in tried for row in rows_of(run, "a key")["records"]]
    write_records(records / "tune_methods", "words", rows)
    write_text(records / "extract_features" / "words.json", "{}")
    for stage in ("summarise", "draw_figures", "write_report"):
        done = run_stage(tmp_path, stage)
        assert done.returncode == 0, done.stderr
    assert sorted(files_in(tmp_path / "metrics" / "tables")) == ["tuning.csv", "tuning.md"]
    assert "replay learning_rate" in (tmp_path / "report.html").read_text("utf-8")


def test_only_the_datasets_that_are_named_are_read(tmp_path):
    for dataset in ("wanted", "leftover"):
        rows = rows_of(run_of(dataset=dataset), "a key")["records"]
        write_records(tmp_path / "learn_steps", dataset, rows)
    found = read_stage(tmp_path, "learn_steps", ["wanted"])
    assert set(found["dataset"]) == {"wanted"} and set(found["heads"]) == {"5"}
    assert read_stage(tmp_path, "learn_steps", []).empty
    leftover = tmp_path / "learn_steps" / "leftover.csv"
    leftover.rename(leftover.with_name("gsc.csv"))
    with pytest.raises(UserError, match=r"gsc\.csv: .*runs of a dataset other than gsc"):
        read_stage(tmp_path, "learn_steps", ["gsc"])


def test_tables_are_written_with_the_same_bytes_every_time(tmp_path):
    write_table(tmp_path / "t.csv", [{"a": 1 / 3, "b": 2, "c": "x"}])
    assert (tmp_path / "t.csv").read_bytes() == b"a,b,c\n0.3333,2,x\n"
    write_markdown(tmp_path / "t.md", ["a", "b"], [["1", "2"]])
    assert (tmp_path / "t.md").read_text() == "| a | b |\n| --- | --- |\n| 1 | 2 |\n"
