"""Class orders apart from trainings: the table `orders` and its variances, numbers by hand."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mtcil.reporting.claims.scope import Scope
from mtcil.reporting.inference import crossed_spread
from mtcil.reporting.table_files import page_of, read_table, write_tables
from mtcil.settings.files import read_study
from mtcil.settings.study import BaseRow
from mtcil.tables import orders, steps

ROOT = Path(__file__).parents[2]
CELLS = [[1.0, 3.0], [5.0, 9.0]]  # (order, seed)
# Means of rows 2, 7, of columns 3, 6; every residual +-0.5, so E = 1, R - E = 25 - 1, C - E = 8.
SPREADS = pytest.approx((12**0.5, 2.0, 1.0))
BOTH = {
    "single_order3": "5", "single_order4": "5",
    "multitask_order3": "5-4-3-2", "multitask_order4": "5-4-3-2",
}  # fmt: skip


def test_spreads_are_those_of_a_crossed_analysis_of_variance():
    assert crossed_spread(np.array(CELLS)) == SPREADS
    rows, columns, rest = crossed_spread(np.array(CELLS).T)
    assert (columns, rows, rest) == SPREADS


def test_rows_and_columns_may_differ_in_number():
    """Effects -1.5, 1.5 of rows, -4, 0, 4 of columns; E = 1.5, R / 3 = 4.5, C / 2 = 16."""
    rest = np.array([[0.5, -1.0, 0.5], [-0.5, 1.0, -0.5]])
    cells = np.array([[-1.5], [1.5]]) + np.array([-4.0, 0.0, 4.0]) + rest
    wanted = (4.5 - 1.5 / 3) ** 0.5, (16 - 1.5 / 2) ** 0.5, 1.5**0.5
    assert crossed_spread(cells) == pytest.approx(wanted)


def test_a_negative_variance_counts_as_zero():
    assert crossed_spread(np.array([[0.0, 1.0], [1.0, 0.0]])) == pytest.approx((0.0, 0.0, 1.0))


def test_spreads_of_drawn_effects_are_found_again():
    rng = np.random.default_rng(0)
    drawn = rng.normal(0, 3, (400, 1)) + rng.normal(0, 2, (1, 400)) + rng.normal(0, 1, (400, 400))
    assert crossed_spread(drawn) == pytest.approx((3.0, 2.0, 1.0), rel=0.1)


def study_of(heads_by_base):
    rows = {
        base: BaseRow(heads, order_seed=int(base[-1]) if "order" in base else None)
        for base, heads in heads_by_base.items()
    }
    return replace(read_study(ROOT / "params.yaml"), base_models={"gsc": rows})


def runs(base, heads, by_seed):
    """A base step at 90 and one more step at the given accuracy."""
    about = {"dataset": "gsc", "split": "group", "base": base, "heads": heads, "exemplars": 200}
    about |= {"passes": "separate", "control": "none", "method": "ccil", "losses": "CE_N"}
    about |= {"schedule": "two_step", "stopping": "early"}
    return [
        {**about, "seed": seed, "step": step, "classes_seen": 5 + 3 * step, "accuracy": value}
        for seed, accuracy in by_seed.items()
        for step, value in enumerate((90.0, accuracy))
    ]


def records_of(gain=10.0):
    found = [*runs("single", "5", {0: 50.0})]
    for k, order in enumerate((3, 4)):
        accuracies = dict(enumerate(CELLS[k]))
        found += runs(f"single_order{order}", "5", accuracies | ({7: 99.0} if k else {}))
        found += runs(f"multitask_order{order}", "5-4-3-2", {s: v + gain for s, v in
                                                             accuracies.items()})  # fmt: skip
    return pd.DataFrame(found)


def test_orders_are_compared_over_the_trainings_that_all_have(tmp_path):
    made = orders.table(study_of(BOTH | {"single": "5"}), records_of())
    write_tables(tmp_path, {"orders": made}, {"orders": page_of(orders, made)})
    table = read_table(tmp_path, "orders")
    row = table[table["measure"] == "average"].set_index("heads").loc["5"]
    assert (row["n"], row["trainings"], row["mean"]) == (2, 2, 4.5)  # seed 7 has one order only
    assert tuple(row[list(orders.SPREADS)]) == pytest.approx(SPREADS.expected, abs=1e-4)
    header, lines = orders.markdown(table)
    assert all(len(line) == len(header) for line in lines)
    about = ["gsc", "group", "5", "separate", "none", "ccil", "200", "average", "2"]
    assert [*about, "4.5 (2.0 and 7.0, n 2)", "3.5", "2.0", "1.0"] in lines


def test_multitask_minus_single_is_paired_by_order_and_training():
    table = orders.table(study_of(BOTH), records_of(gain=10.0)).set_index(["heads", "measure"])
    gain = table.loc[("5-4-3-2 minus 5", "average")]
    assert (gain["mean"], gain["low"], gain["high"]) == (10, 10, 10)
    assert tuple(gain[list(orders.SPREADS)]) == (0, 0, 0)
    assert table.loc[("5-4-3-2 minus 5", "average minus base"), "mean"] == 10


def test_rows_of_other_methods_and_orders_that_only_one_has_do_no_harm():
    usual = orders.table(study_of(BOTH), records_of())
    more = [*runs("multitask_order5", "5-4-3-2", {0: 1.0, 1: 2.0})]
    other = pd.DataFrame(runs("icarl_order3", "5", {0: 80.0, 1: 81.0})).assign(method="icarl")
    study = study_of(BOTH | {"multitask_order5": "5-4-3-2", "icarl_order3": "5"})
    found = orders.table(study, pd.concat([records_of(), pd.DataFrame(more), other]))

    def gains(table):
        return table[table["heads"] == "5-4-3-2 minus 5"].reset_index(drop=True)

    pd.testing.assert_frame_equal(gains(found), gains(usual))
    assert set(found["method"]) == {"ccil"}  # one order of iCaRL is no spread


@pytest.mark.parametrize("bases", [{"single": "5"}, {"single_order3": "5"}, {}])
def test_one_order_is_no_table(bases):
    assert orders.table(study_of(bases), records_of()).empty


def test_other_tables_and_claims_leave_rows_with_an_order_of_their_own_out():
    study, records = study_of(BOTH | {"single": "5"}), records_of()
    assert set(steps.table(study, records)["base"]) == {"single"}
    scope = Scope(study, {}, "gsc", "random", {})
    assert scope.plain_bases() == {"5": "single"}
