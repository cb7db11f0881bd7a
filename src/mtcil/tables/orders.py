"""Spread of accuracy between class orders, and between trainings of one class order.

Rows of `base_models` with an `order_seed` learn the classes in its order, whatever the seed of a
run; the seed draws the split and all else. So each order is learnt by the same trainings. The
standard deviations are those of a random-effects analysis of variance with both factors crossed:
between orders, between trainings (seeds), and the rest, which only both together decide. The mean
and its 95 % CI are over orders: they hold for other class orders, learnt by these trainings.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from mtcil.reporting.columns import by_measure, in_order, minus_base, named, order_seeds
from mtcil.reporting.inference import crossed_spread, estimate
from mtcil.reporting.style import mean_text, with_ci
from mtcil.settings.study import Study

STAGE, SECTION, RECORDS = "learn_steps", "base_models", "records"
PLACE = ["dataset", "split", "exemplars", "method", "passes", "control"]
SPREADS = ("between_orders", "between_trainings", "rest")


def table(study: Study, records: pd.DataFrame) -> pd.DataFrame:
    """A row per kind of base model and measure, and the differences to a single task."""
    ordered = records.assign(order=order_seeds(study, records)).dropna(subset="order")
    rows = []
    for place, part in ordered.groupby(PLACE, sort=False) if len(ordered) else ():
        grids = {heads: _grids(runs) for heads, runs in part.groupby("heads", sort=False)}
        for heads, of in grids.items():
            single = grids.get(heads.split("-")[0], {})
            about = dict(zip(PLACE, place, strict=True)) | {"heads": heads}
            for measure, values in of.items():
                rows += _row({**about, "measure": measure}, values)
                if "-" in heads and measure in single:
                    gain = {**about, "heads": f"{heads} minus {heads.split('-')[0]}"}
                    rows += _row({**gain, "measure": measure}, values - single[measure])
    return pd.DataFrame(rows)


def _grids(runs: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """{measure: accuracy by order and seed}."""
    by_order = {
        order: by_measure(of) | minus_base(of) for order, of in runs.groupby("order", sort=True)
    }
    measures = next(iter(by_order.values()))
    return {
        measure: pd.DataFrame({order: of[measure] for order, of in by_order.items()}).T
        for measure in measures
    }


def _row(about: dict[str, object], values: pd.DataFrame) -> list[dict[str, object]]:
    """The row of one measure, over the orders and seeds that are complete; none of fewer than two.

    Args:
        values: a row per order, a column per seed; nan where there is no run.
    """
    whole = values.dropna(axis=0, how="all").dropna(axis=1, how="any")
    if min(whole.shape) < 2:
        return []
    cells = whole.to_numpy(dtype=np.float64)
    spreads = dict(zip(SPREADS, crossed_spread(cells), strict=True))
    of_orders = named("", estimate(cells.mean(axis=1).tolist()))
    return [{**about, "trainings": cells.shape[1], **of_orders, **spreads}]


def markdown(table: pd.DataFrame) -> tuple[Sequence[str], list[list[str]]]:
    """A line per kind of base model and measure."""
    header = [
        "dataset", "split", "heads", "passes", "control", "method", "K", "classes seen",
        "trainings of each order",
        "mean over orders", "SD between orders", "SD between trainings", "SD of the rest",
    ]  # fmt: skip
    lines = []
    for key, part in table.groupby([*PLACE, "heads"], sort=False):
        dataset, split, budget, method, passes, control, heads = map(str, key)
        rows = part.set_index("measure")
        for measure in in_order(part["measure"]):
            row = rows.loc[measure]
            lines.append(
                [
                    dataset, split, heads, passes, control, method, budget, measure.lstrip("0"),
                    f"{row['trainings']:.0f}",
                    with_ci(row),
                    *(mean_text(row[name]) for name in SPREADS),
                ]
            )  # fmt: skip
    return header, lines
