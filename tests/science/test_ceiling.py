"""The table and the figure of what base trainings gain beside the ceiling: numbers by hand."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from mtcil.figures import ceiling as figure
from mtcil.reporting.inference import paired_difference
from mtcil.reporting.style import png_of
from mtcil.reporting.table_files import page_of, read_table, write_tables
from mtcil.settings.files import read_study
from mtcil.settings.study import BaseRow
from mtcil.tables import ceiling

ROWS = {
    "single": BaseRow("5"),
    "mixed": BaseRow("5", parts=("mixup",), length=2.0),
    "told_apart": BaseRow("5", parts=("transforms", "mixup", "auxiliary"), length=2.0),
    "shorter": BaseRow("5", parts=("mixup", "auxiliary")),
    "ceiling": BaseRow("5", control="ceiling"),
}
STUDY = replace(read_study(Path(__file__).parents[2] / "params.yaml"), base_models={"gsc": ROWS})
AVERAGES = {  # by seed; the last seed of the single task has no ceiling
    ("single", "none"): [60.0, 62.0, 64.0, 90.0],
    ("mixed", "mixup"): [66.0, 67.0, 71.0],
    ("ceiling", "ceiling"): [70.0, 70.0, 76.0],
}


def records(averages=AVERAGES):
    """Runs of a base step at 95 and two more, 5 above and below the average."""
    about = {"dataset": "gsc", "split": "group", "heads": "5", "passes": "separate"}
    about |= {"exemplars": 200, "method": "ccil"}
    return pd.DataFrame(
        [
            {**about, "base": base, "control": control, "seed": seed, "step": step,
             "classes_seen": (5, 10, 15)[step], "updates": 100 if step else 1000 + seed,
             "accuracy": accuracy}
            for (base, control), of in averages.items()
            for seed, average in enumerate(of)
            for step, accuracy in enumerate((95.0, average + 5, average - 5))
        ]
    )  # fmt: skip


def row(base, table, measure="average"):
    return table[table["measure"] == measure].set_index("base").loc[base]


def test_gains_and_shares_are_over_the_seeds_that_all_have():
    table = ceiling.table(STUDY, records())
    single, mixed, top = (row(base, table) for base in ("single", "mixed", "ceiling"))
    assert (single["n"], single["mean"]) == (3, 62.0) and pd.isna(single["gain_mean"])
    assert (mixed["gain_n"], mixed["gain_mean"]) == (3, 6.0)  # 6, 5, 7
    assert top["gain_mean"] == 10.0  # 10, 8, 12
    assert (mixed["share"], top["share"]) == (60.0, 100.0)
    half = paired_difference([6, 5, 7], [5, 4, 6])
    assert (mixed["half_mean"], mixed["half_low"], mixed["half_high"]) == (1, half.low, half.high)
    assert single["updates"] == 1001  # of seeds 0 to 2
    assert pd.isna(top["half_mean"])
    assert row("mixed", table, "10")["gain_mean"] == 6.0 and len(table) == 3 * 5  # and averages
    assert row("mixed", table, "05")["gain_mean"] == 0.0  # the base step
    header, lines = ceiling.markdown(table)
    assert all(len(line) == len(header) for line in lines)
    assert len(lines) == 3 and lines[1][6] == "mixup"
    cells = dict(zip(header, lines[1], strict=True))
    assert cells["share of the ceiling's gain"] == "60.0 %" and lines[0][-3] == ""
    minus_base = row("mixed", table, "average minus base")
    assert minus_base["gain_mean"] == 6.0 and minus_base["mean"] == 68.0 - 95.0
    assert cells["gain of average minus base"].startswith("+6.0 [")


def test_a_base_step_only_is_a_table_without_gains():
    base_step = records()[lambda runs: runs["step"] == 0]
    header, rows = ceiling.markdown(ceiling.table(STUDY, base_step))
    assert [row[header.index("average")] for row in rows] == ["-"] * 3


def test_a_training_is_compared_with_its_own_augmentations_for_the_same_length():
    more = {("told_apart", "transforms+mixup+auxiliary"): [67.0, 70.0, 71.0, 80.0]}
    more[("shorter", "mixup+auxiliary")] = [67.0, 70.0, 71.0]
    table = ceiling.table(STUDY, records(AVERAGES | more))
    wanted = paired_difference([67.0, 70.0, 71.0], [66.0, 67.0, 71.0])
    found = row("told_apart", table)
    assert (found["beyond_mean"], found["beyond_p_value"]) == (wanted.mean, wanted.p_value)
    assert row("shorter", table)[["beyond_mean"]].isna().all()  # `mixed` is longer
    assert row("mixed", table)[["beyond_mean"]].isna().all()
    assert found["clips"] == 1001 * (4 * 32 + 32)  # the clip and three versions, and words
    assert row("mixed", table)["clips"] == 1001 * 32


def test_each_method_has_its_own_single_task_and_ceiling():
    lower = records().assign(method="icarl")
    lower["accuracy"] -= 7 * (lower["step"] > 0)
    both = ceiling.table(STUDY, pd.concat([records(), lower]))
    both = both[both["measure"] == "average"].set_index(["method", "base"])
    for name in ("mean", "gain_mean"):
        shift = both.loc["ccil", name] - both.loc["icarl", name]
        assert shift.dropna().tolist() == ([7.0] * 3 if name == "mean" else [0.0] * 2)


@pytest.mark.parametrize("missing", [("single", "none"), ("ceiling", "ceiling")])
def test_without_a_ceiling_or_a_single_task_there_is_no_table(missing):
    left = {key: of for key, of in AVERAGES.items() if key != missing}
    assert ceiling.table(STUDY, records(left)).empty
    assert ceiling.table(STUDY, pd.DataFrame()).empty


def test_a_bar_for_each_training_and_lines_at_the_ceiling_and_half_of_it(tmp_path):
    table = ceiling.table(STUDY, records())
    write_tables(tmp_path, {"ceiling": table}, {"ceiling": page_of(ceiling, table)})
    drawn = figure.draw(read_table(tmp_path, "ceiling"))
    axis, steps = drawn.axes
    assert [label.get_text() for label in axis.get_yticklabels()] == ["mixed", "ceiling"]
    assert [bar.get_width() for bar in axis.patches] == [6.0, 10.0]
    assert {line.get_xdata()[0] for line in axis.get_lines() if len(line.get_xdata()) == 2} >= {
        0, 5.0, 10.0,
    }  # fmt: skip
    assert "n = 3" in axis.get_title() and axis.get_ylabel() and axis.get_xlabel()
    gains = {line.get_label(): list(line.lines[0].get_ydata()) for line in steps.containers}
    assert gains == {"mixed": [0.0, 6.0, 6.0], "ceiling": [0.0, 10.0, 10.0]}
    named = [text.get_text() for text in steps.get_legend().get_texts()]
    assert named == ["mixed", "ceiling"] and png_of(drawn)
