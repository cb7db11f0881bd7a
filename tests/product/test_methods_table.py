"""The tables of methods and their pictures: small records by hand."""

from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mtcil.core.lookup import find
from mtcil.reporting.comparison import KEPT as BYTES
from mtcil.reporting.inference import detectable
from mtcil.reporting.labels import name_points
from mtcil.reporting.style import new_figure
from mtcil.settings.files import read_study
from mtcil.tables import methods, methods_memory, methods_old_new

STUDY = read_study(Path(__file__).parents[2] / "params.yaml")
# Averages by seed. Seed 3 was run only for ccil on the single task's base, so it does not count.
SINGLE = {"ccil": (60, 62, 64, 99), "icarl": (61, 64, 67), "joint": (80, 81, 82)}
MULTITASK = {"ccil": (61, 64, 67), "icarl": (65, 69, 73), "joint": (80, 82, 84)}
KEPT = {"ccil": 800, "icarl": 824, "joint": 9000}  # bytes, of which 24 are not exemplars
HALF_3 = 2.4841  # of the CI of three values with a standard deviation of 1


def p_of(t):
    """Two-sided p-value of Student's t with two degrees of freedom."""
    return 1 - t / (t * t + 2) ** 0.5


def run(base, heads, method, seed, average):
    """Base step at 90, two more 5 above and 5 below the average."""
    about = {
        "base": base, "dataset": "gsc", "split": "random", "heads": heads, "passes": "separate",
        "control": "none", "exemplars": 200, "method": method, "seed": seed,
    }  # fmt: skip
    state = 24 if method == "icarl" else 0
    old, new = (np.nan, average - 20, average - 10), (90, average + 1, average + 5)
    return [
        {
            **about, "step": step, "accuracy": accuracy, "old_accuracy": old[step],
            "new_accuracy": new[step], "state_bytes": state,
            "memory_bytes": (KEPT[method] - state) * step // 2, "validation_bytes": 50 * step,
            "updates": 100 + step, "clips_passed": 6400 * step, "diverged": 0,
        }
        for step, accuracy in enumerate((90, average + 5, average - 5))
    ]  # fmt: skip


RECORDS = pd.DataFrame(
    [
        line
        for base, heads, by_method in (
            ("single", "5", SINGLE),
            ("multitask", "5-4-3-2", MULTITASK),
        )
        for method, averages in by_method.items()
        for seed, average in enumerate(averages)
        for line in run(base, heads, method, seed, average)
    ]
)
TABLE = methods.table(STUDY, RECORDS)


def drawn(name, table):
    return find("figures", name).draw(table)


def cell(heads, method, measure="average"):
    part = TABLE[(TABLE["heads"] == heads) & (TABLE["method"] == method)]
    return part.set_index("measure").loc[measure]


@pytest.mark.parametrize(
    ("measure", "mean"),
    [
        ("average", 64),
        ("average with base", (90 + 2 * 64) / 3),
        ("last step", 59),
        ("old", 49),  # 15 below
        ("new", 67),  # 3 above
        ("updates", 203),  # 101 and 102; the base step is not a method's
        ("clips", 19200),
        ("bytes", 924),  # after the last step: 800 of clips, 24 of means, 100 of validation clips
    ],
)
def test_measures_of_a_method_by_hand(measure, mean):
    row = cell("5", "icarl", measure)
    assert (row["mean"], row["n"]) == (pytest.approx(mean), 3)


def test_the_difference_to_the_papers_method_is_paired_within_a_base():
    row = cell("5", "icarl")  # 1, 2, 3
    assert (row["ccil_mean"], row["ccil_n"]) == (2, 3)
    assert row["ccil_low"] == pytest.approx(2 - HALF_3, abs=1e-3)
    assert row["ccil_p_value"] == pytest.approx(p_of(2 * 3**0.5))
    assert cell("5-4-3-2", "icarl")["ccil_mean"] == 5  # 4, 5, 6
    assert pd.isna(cell("5", "ccil")["ccil_mean"])


def test_all_methods_are_over_the_seeds_that_all_of_them_have():
    assert cell("5", "ccil")["mean"] == 62 and set(TABLE["n"]) == {3}


def test_the_gain_is_multitask_minus_the_same_methods_single_task():
    assert cell("5-4-3-2", "icarl")["gain_mean"] == 5  # 4, 5, 6
    assert cell("5-4-3-2", "ccil")["gain_mean"] == 2  # 1, 2, 3: the seeds that both have
    assert cell("5-4-3-2", "ccil")["gain_n"] == 3
    assert TABLE.loc[TABLE["heads"] == "5", "gain_mean"].isna().all()


def test_the_gap_to_joint_is_of_the_same_base():
    assert cell("5", "icarl")["joint_mean"] == -17  # -19, -17, -15
    assert cell("5-4-3-2", "ccil")["joint_mean"] == -18  # -19, -18, -17
    assert pd.isna(cell("5", "joint")["joint_mean"])


def test_a_control_with_the_same_heads_is_not_the_single_task():
    one = RECORDS[RECORDS["heads"] == "5"]
    longer = one.assign(base="longer", control="longer", accuracy=one["accuracy"] + 1)
    table = methods.table(STUDY, pd.concat([longer, one]))
    gains = table[table["measure"] == "average"].groupby("base")["gain_mean"]
    assert gains.mean()["longer"] == pytest.approx(1) and pd.isna(gains.mean()["single"])


def test_base_models_with_other_class_orders_are_not_compared():
    rows = dict(STUDY.base_models["gsc"])
    rows["multitask"] = replace(rows["multitask"], order_seed=0)
    other = replace(STUDY, base_models={**STUDY.base_models, "gsc": rows})
    table = methods.table(other, RECORDS)
    assert "gain_mean" not in table
    assert table["ccil_mean"].notna().sum() == TABLE["ccil_mean"].notna().sum() > 0


def test_holm_corrects_each_kind_of_difference_over_the_table():
    # Gains: 4, 5, 6 of icarl; 1, 2, 3 of ccil; 0, 1, 2 of joint.
    holm = {method: cell("5-4-3-2", method)["gain_p_holm"] for method in MULTITASK}
    assert holm["icarl"] == pytest.approx(3 * p_of(5 * 3**0.5))
    assert holm["ccil"] == pytest.approx(2 * p_of(2 * 3**0.5))
    assert holm["joint"] == pytest.approx(p_of(3**0.5))
    # To ccil there are four: both of joint are clearer, so the rest are times 2 and times 1.
    assert cell("5-4-3-2", "icarl")["ccil_p_holm"] == pytest.approx(2 * p_of(5 * 3**0.5))
    assert cell("5", "icarl")["ccil_p_holm"] == pytest.approx(p_of(2 * 3**0.5))


def test_only_averages_have_differences():
    others = TABLE[TABLE["measure"] != "average"]
    assert others.filter(regex="^(ccil|gain|joint)_").isna().all(axis=None)


def test_the_page_ranks_by_the_single_task_and_marks_bounds():
    header, lines = methods.markdown(TABLE)
    cells = [dict(zip(header, line, strict=True)) for line in lines]
    names = ["joint (upper bound)", "icarl", "ccil"]  # 81, 64, 62
    assert [(c["rank"], c["method"]) for c in cells] == list(
        zip(["", "1", "2"], names, strict=True)
    )
    last = cells[1]
    assert (
        last["single task"] == "64.0 ± 7.5 (n 3)"
        and last["base models"] == "single (5), multitask (5-4-3-2)"
    )
    assert last["other base"] == "69.0 ± 9.9 (n 3)"
    gain = "+5.0 [+2.5, +7.5], p 0.039"
    assert last["other base minus single task (p by Holm)"] == gain
    assert last["single task: to ccil (p by Holm)"] == "+2.0 [-0.5, +4.5], p 0.074"
    assert (last["old / new, single task"], last["kept, kB"]) == ("49.0 / 67.0", "0.9")
    assert (last["updates"], last["clips passed forward"]) == ("203", "19,200")
    power = last["detectable gain of the other base (80 % power)"]
    assert power == f"{detectable(1.0, 3):.1f}"


def test_runs_that_diverged_are_counted_beside_their_mean():
    last = RECORDS["method"].eq("icarl") & RECORDS["heads"].eq("5") & RECORDS["step"].eq(2)
    records = RECORDS.assign(diverged=(last & RECORDS["seed"].isin([0, 2])).astype(int))
    header, lines = methods.markdown(methods.table(STUDY, records))
    cells = {line[header.index("method")]: dict(zip(header, line, strict=True)) for line in lines}
    assert cells["icarl"]["single task"] == "64.0 ± 7.5 (n 3), 2 diverged"
    assert cells["icarl"]["other base"] == "69.0 ± 9.9 (n 3)"
    assert cells["ccil"]["single task"] == "62.0 ± 5.0 (n 3)"


def test_a_study_of_a_single_task_has_a_report_and_figures():
    for name in ("methods", "methods_memory", "methods_old_new"):
        table = find("tables", name).table(STUDY, RECORDS[RECORDS["heads"] == "5"])
        header, lines = find("tables", name).markdown(table)
        assert [len(line) for line in lines] == [len(header)] * 3
        assert drawn(name, table).axes


def test_multitask_without_a_single_task_is_not_shown_as_one():
    table = methods.table(STUDY, RECORDS[RECORDS["base"] == "multitask"])
    header, lines = methods.markdown(table)
    cells = [dict(zip(header, line, strict=True)) for line in lines]
    assert [c["method"] for c in cells] == ["joint (upper bound)", "icarl", "ccil"]
    assert cells[1]["other base"] == "69.0 ± 9.9 (n 3)" and cells[1]["kept, kB"] == "0.9"
    assert {c["single task"] + c["old / new, single task"] for c in cells} == {""}
    figure = drawn("methods", table)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["multitask"]


def test_base_models_with_equal_heads_are_told_apart():
    more = [
        RECORDS[RECORDS["heads"] == "5"].assign(base=base, control="gain") for base in ("a", "b")
    ]
    records = pd.concat([RECORDS[RECORDS["heads"] == "5"], *more]).assign(teacher_bytes=0)
    figure = drawn("methods", methods.table(STUDY, records))
    assert len(figure.axes) == 1 and "single (5), a (5), b (5)" in figure.axes[0].get_title()
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["single", "a", "b"]
    for name in ("methods", "methods_memory", "methods_old_new", "cost"):
        header, lines = find("tables", name).markdown(find("tables", name).table(STUDY, records))
        column = next(i for i, title in enumerate(header) if title.startswith("base model"))
        assert len({line[column] for line in lines}) == (2 if name == "methods" else 3)


def test_bytes_of_each_kind_and_all():
    table = methods_memory.table(STUDY, RECORDS).set_index(["heads", "method"])
    kinds = [*BYTES, "bytes", "mean"]
    assert table.loc[("5", "icarl"), kinds].tolist() == [800, 24, 100, 924, 64]
    assert table.loc[("5-4-3-2", "joint"), kinds].tolist() == [9000, 0, 100, 9100, 82]


def test_old_against_new_by_hand():
    header, lines = methods_old_new.markdown(methods_old_new.table(STUDY, RECORDS))
    cells = [dict(zip(header, line, strict=True)) for line in lines]
    assert [c["method"] for c in cells[:3]] == ["joint (upper bound)", "icarl", "ccil"]
    assert cells[1]["old"] == "49.0 ± 7.5 (n 3)" and cells[1]["new minus old"] == "+18.0"


def test_pictures_place_methods_where_their_numbers_are():
    axis = drawn("methods", TABLE).axes[0]
    labels = [text.get_text() for text in axis.get_yticklabels()]
    assert labels == ["icarl", "ccil"] and axis.yaxis_inverted()  # joint is a line
    assert {line.get_xdata()[0] for line in axis.lines if line.get_linestyle() == "--"} == {81, 82}
    memory = drawn("methods_memory", methods_memory.table(STUDY, RECORDS)).axes[0]
    places = {"ccil": (0.9, 62), "icarl": (0.924, 64), "joint": (9.1, 81)}
    listed, *numbers = (text.get_text() for text in memory.texts)
    named = dict(line.split() for line in listed.splitlines())
    assert list(named) == numbers == ["1", "2", "3"] and set(named.values()) == set(places)
    assert marks(memory) >= set(places.values())
    both = drawn("methods_old_new", methods_old_new.table(STUDY, RECORDS)).axes[0]
    assert (49, 67) in marks(both)


def marks(axis):
    """Where single marks are drawn."""
    return {(*line.get_xdata(), *line.get_ydata()) for line in axis.lines}


def test_names_lie_over_no_other_and_stay_near_their_points_and_inside():
    figure, (axis,) = new_figure(1, height=4.0, width=5.0)
    points = [(0.3, 0.5), (0.32, 0.5), (0.34, 0.52), (0.9, 0.1)]
    axis.set(xlim=(0, 1), ylim=(0, 1))
    figure.draw_without_rendering()
    name_points(axis, points, ["twelve chars", "also so long", "third", "at the edge"])
    boxes = [text.get_window_extent() for text in axis.texts]
    assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))
    frame = axis.get_window_extent()
    for box, point in zip(boxes, points, strict=True):
        assert frame.x0 <= box.x0 and box.x1 <= frame.x1
        assert frame.y0 <= box.y0 and box.y1 <= frame.y1
        x, y = axis.transData.transform(point)
        across = max(box.x0 - x, x - box.x1, 0)
        assert np.hypot(across, max(box.y0 - y, y - box.y1, 0)) < frame.width / 4
