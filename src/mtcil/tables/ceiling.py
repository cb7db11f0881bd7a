"""Gain of each base training, compared with the ceiling's.

The ceiling is a backbone that has seen the classes of all steps, its head cut to the base classes.
It shows how much there may be to gain; it is not a proven bound. Gains are over the single task,
paired by seed, in points of the average without the base step; their p is corrected over the table
(Holm). A share is the gain divided by the ceiling's. "Minus half" is the gain less half of the
ceiling's gain of the same seed, uncorrected: above 0, a training closes more than half. All is over
the seeds that a base model shares with both. Some parts pass the clips of an update several times:
`transforms` once for each version.
"""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from mtcil.records.measures import average_incremental_accuracy
from mtcil.records.tables import by_seed
from mtcil.reporting.columns import named, order_seeds, row_of, with_power
from mtcil.reporting.inference import paired_difference
from mtcil.reporting.style import gap_text, mean_text, power_cells, with_ci
from mtcil.settings.study import CEILING, SINGLE, Study

STAGE, SECTION, RECORDS = "learn_steps", "base_models", "records"
PLACE = ["dataset", "split", "exemplars", "method"]
ABOUT = ["base", "heads", "passes", "control"]


def table(study: Study, records: pd.DataFrame) -> pd.DataFrame:
    """A row per dataset, split, K, method and base model; needs a ceiling and a single task."""
    rows = []
    records = records[[order is None for order in order_seeds(study, records)]]
    for place, part in records.groupby(PLACE, sort=False) if len(records) else ():
        averages = {
            key: {s: average_incremental_accuracy(steps) for s, steps in by_seed(runs).items()}
            for key, runs in part.groupby(ABOUT, sort=False)
        }
        single = next((of for key, of in averages.items() if key[0] == SINGLE), {})
        ceiling = next((of for key, of in averages.items() if key[3] == CEILING), {})
        updates = part[part["step"] == 0].set_index(["base", "seed"])["updates"]
        for key, values in averages.items():
            seeds = sorted(set(values) & set(single) & set(ceiling))
            if not seeds:
                continue
            about = dict(zip(PLACE + ABOUT, (*place, *key), strict=True))
            about["updates"] = float(updates[key[0]].loc[seeds].mean())
            rows.append(
                _row(about, *[{s: of[s] for s in seeds} for of in (values, single, ceiling)])
            )
    return with_power(pd.DataFrame(rows), "gain_", study.split)


def _row(
    about: dict[str, Any],
    values: dict[int, float],
    single: dict[int, float],
    ceiling: dict[int, float],
) -> dict[str, Any]:
    if about["base"] == SINGLE:
        return row_of(about, values)
    row = row_of(about, values, gain=single)
    gains = [values[s] - single[s] for s in values]
    open_ = [ceiling[s] - single[s] for s in values]
    mean_open = sum(open_) / len(open_)
    row["share"] = 100 * row["gain_mean"] / mean_open if mean_open else float("nan")
    if about["control"] == CEILING:
        return row
    return row | named("half_", paired_difference(gains, [of / 2 for of in open_]))


def markdown(table: pd.DataFrame) -> tuple[Sequence[str], list[list[str]]]:
    """A line per dataset, split, K, method and base model."""
    header = [
        "dataset", "split", "K", "method", "base", "heads", "parts or control", "updates",
        "average", "gain over the single task (p by Holm)", "corrected CI",
        "detectable (80 % power)",
        "share of the ceiling's gain", "minus half of the ceiling's gain",
    ]  # fmt: skip
    lines = []
    for _, row in table.iterrows():
        share = row.get("share")
        lines.append(
            [
                *(str(row[k]) for k in (*PLACE, "base", "heads", "control")),
                f"{row['updates']:.0f}",
                with_ci(row["mean"], row["low"], row["high"], row["n"]),
                gap_text(row, "gain_", "p_holm"), *power_cells(row, "gain_"),
                "" if pd.isna(share) else f"{mean_text(share)} %", gap_text(row, "half_"),
            ]
        )  # fmt: skip
    return header, lines
