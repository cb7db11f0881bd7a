"""mtcil.reporting.class_names, and the tables that it serves: places in a class order by name."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mtcil.core.errors import UserError
from mtcil.core.randomness import numpy_generator
from mtcil.learning.split import split_rows
from mtcil.records.rows import confusion_from_text
from mtcil.records.tables import read_records
from mtcil.reporting.class_names import class_order, counts_by_name
from mtcil.reporting.inference import detectable, holm, resampled_half_width
from mtcil.settings.files import read_study
from mtcil.tables import classes, confusion, gain

ROOT = Path(__file__).resolve().parents[2]
STUDY = read_study(ROOT / "params.yaml")
ABC = ("a", "b", "c")


def study_of(order=None, **base):
    """The root's study with three classes, learnt in a fixed order or in one drawn per seed."""
    gsc = dataclasses.replace(STUDY.datasets["gsc"], classes=ABC, steps=(2, 1), class_order=order)
    single = dataclasses.replace(STUDY.base_models["gsc"]["single"], **base)
    bases = {**STUDY.base_models["gsc"], "single": single}
    return dataclasses.replace(STUDY, datasets={"gsc": gsc}, base_models={"gsc": bases})


def runs(counts, base="single", steps=(1,)):
    """Confusion records: `counts` by seed."""
    about = {"dataset": "gsc", "split": "random", "base": base, "heads": "2"}
    return pd.DataFrame(
        [
            {**about, "seed": seed, "step": step, "counts": text}
            for seed, text in enumerate(counts)
            for step in steps
        ]
    )


def test_by_hand():
    # Learnt in the order c, a: of c 5 are right and 2 are taken for a, of b none for c.
    study = study_of(order=("c", "a", "b"))
    (counts,) = counts_by_name(study, runs(["5 2 0;0 7 1;0 3 4"])).values()
    assert counts.tolist() == [[5, 2, 0], [0, 7, 1], [0, 3, 4]]  # a fixed order is shown as it is
    drawn = study_of()
    order = class_order(drawn, "gsc", "single", 0)
    (counts,) = counts_by_name(drawn, runs(["5 2 0;0 7 1;0 3 4"])).values()
    assert counts[ABC.index(order[0]), ABC.index(order[1])] == 2
    assert counts[ABC.index(order[2]), ABC.index(order[1])] == 3
    assert counts[ABC.index(order[1]), ABC.index(order[1])] == 7


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("order_seed", [None, 5])
def test_the_order_is_the_one_that_a_run_learns_in(seed, order_seed):
    study = study_of(order_seed=order_seed)
    clips = pd.DataFrame({"class": [*ABC] * 10, "group": [str(i) for i in range(30)]})
    dataset, split = study.datasets["gsc"], study.split_of("random")
    learnt, _, _ = split_rows(clips, dataset, split, seed, order_seed)
    assert class_order(study, "gsc", "single", seed) == learnt


def test_the_order_of_the_committed_records_fits_the_clips_of_each_class():
    # Of a split by clip the test part has a fifth of each class: few of "on" and "off".
    folder = ROOT / "studies" / "ten_words"
    study, records = read_study(folder / "params.yaml"), folder / "metrics" / "records"
    facts = json.loads((records / "extract_features" / "gsc.json").read_text("utf-8"))
    found = read_records(records / "learn_steps", "gsc", "confusion")
    found = found[(found["split"] == "random") & (found["base"] == "multitask")]
    expected = [max(1, round(0.2 * facts["clips"][name])) for name in study.datasets["gsc"].classes]
    by_seed = counts_by_name(study, found)
    assert len(by_seed) == 10
    assert all(counts.sum(axis=1).tolist() == expected for counts in by_seed.values())


def test_records_of_other_classes_are_refused():
    with pytest.raises(UserError, match=r"count 2 classes, but params\.yaml names 3\. .*learn_ste"):
        counts_by_name(study_of(), runs(["1 0;0 1"]))


def test_the_confusion_of_all_seeds_keeps_every_clip_of_the_last_step():
    texts = ["5 2 0;0 7 1;0 3 4", "1 0 0;0 1 0;2 0 1"]
    table = confusion.table(study_of(), runs(texts, steps=(0, 1)))
    total = sum(confusion_from_text(text).sum() for text in texts)
    assert table["clips"].sum() == total == 27
    right = table[table["true_class"] == table["predicted_class"]]["clips"].sum()
    assert right == sum(np.trace(confusion_from_text(text)) for text in texts)
    assert set(table["true_class"]) == set(ABC) and set(table["n"]) == {2}


def test_the_confusion_table_names_the_commonest_mistakes():
    table = confusion.table(study_of(order=ABC), runs(["6 3 1;0 5 0;0 0 0"]))
    _, lines = confusion.markdown(table.astype({"clips": int}))
    assert lines[0][4:] == ["a", "10", "60.0%", "b 30.0%, c 10.0%"]
    assert lines[1][4:] == ["b", "5", "100.0%", ""]


def test_accuracy_of_a_class_is_paired_by_seed():
    single = runs(["1 1 0;0 2 0;0 0 2", "2 0 0;0 2 0;0 0 2"])
    multitask = runs(["2 0 0;0 2 0;0 1 1", "2 0 0;0 2 0;0 1 1"], base="multitask")
    table = classes.table(study_of(order=ABC), pd.concat([single, multitask]))
    found = table[table["base"] == "multitask"].set_index("class")
    assert found["gain_mean"].tolist() == [25, 0, -50]
    _, lines = classes.markdown(table)
    assert lines[0] == [
        "gsc", "random", "a", "75.0 (50.0 and 100.0, n 2)", "100.0 (100.0 and 100.0, n 2)",
        "+25.0 (+0.0 and +50.0, n 2), p 0.500",
    ]  # fmt: skip


def test_the_gain_at_each_step_is_over_the_seeds_that_both_have():
    def of(base, accuracies):
        about = {"dataset": "gsc", "split": "random", "exemplars": 9, "heads": "2", "base": base}
        return pd.DataFrame(
            [
                {**about, "seed": seed, "step": step, "classes_seen": 2 + step, "accuracy": value}
                for seed, steps in accuracies.items()
                for step, value in enumerate(steps)
            ]
        )

    single = of("single", {0: [90, 60], 1: [80, 50], 2: [0, 0]})
    table = gain.table(STUDY, pd.concat([single, of("multitask", {0: [91, 63], 1: [79, 57]})]))
    by_name = table.set_index("measure")
    assert by_name.loc[["02", "03", "average"], "gain_mean"].tolist() == [0, 5, 5]
    assert by_name.loc["03", "single_mean"] == 55 and by_name.loc["03", "mean"] == 60
    lost = by_name.loc["average minus base"]  # -28 and -22 against -30 and -30
    assert (lost["single_mean"], lost["mean"], lost["gain_mean"]) == (-30, -25, 5)
    half = resampled_half_width(lost["gain_std"], 2, 0.2 / 0.7)
    assert lost["gain_wide_high"] == pytest.approx(5 + half)
    assert lost["gain_detectable"] == pytest.approx(detectable(lost["gain_std"], 2))
    assert table["gain_p_holm"].tolist() == holm(table["gain_p_value"].tolist())
    assert set(table["gain_n"]) == {2} == set(table["single_n"])
    assert gain.table(STUDY, single).empty


def test_drawing_the_order_needs_no_other_generator():
    order = class_order(study_of(), "gsc", "single", 3)
    draws = numpy_generator(3, "class order").permutation(3)
    assert order == tuple(ABC[i] for i in draws)
