"""The numbers of a study: one estimate per row and measure, and a short headline."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from mtcil.core.errors import UserError
from mtcil.records.measures import (
    average_accuracy_with_base,
    average_incremental_accuracy,
    backward_transfer,
    forgetting,
)
from mtcil.records.tables import SPLIT_COUNTS, by_seed, headline_runs
from mtcil.reporting.columns import only_training_differs
from mtcil.reporting.inference import (
    Correlation,
    Estimate,
    correlation,
    estimate,
    paired_by_seed,
    within_row,
    within_seed,
)
from mtcil.reporting.style import KINDS_OF_BYTES
from mtcil.settings.study import CEILING, MULTITASK, SINGLE, Study

KEYS = ["dataset", "split", "base"]
FROM_STEPS: dict[str, Callable[[list[float]], float]] = {
    "average_incremental_accuracy": average_incremental_accuracy,
    "average_accuracy_with_base": average_accuracy_with_base,
    "base_accuracy": lambda steps: steps[0],
    "last_accuracy": lambda steps: steps[-1],
}
FROM_MATRIX: dict[str, Callable[[np.ndarray], float]] = {
    "forgetting": forgetting,
    "backward_transfer": backward_transfer,
}


def summarise_bases(
    records: pd.DataFrame, matrices: pd.DataFrame, bases: pd.DataFrame
) -> dict[str, Any]:
    """By dataset, split and base model: mean, std, n and 95 % CI over seeds of each measure.

    Also: bytes kept for the last step (first seed), and split statistics (mean over seeds).

    Raises:
        UserError: if a base model with runs lacks its accuracy matrices or its own record.
    """
    summary: dict[str, Any] = {}
    matrices_of = dict(iter(matrices.groupby(KEYS))) if len(matrices) else {}
    bases_of = dict(iter(bases.groupby(KEYS))) if len(bases) else {}
    for key, runs in records.groupby(KEYS, sort=False) if len(records) else ():
        dataset, split, base = map(str, key)
        if key not in matrices_of or key not in bases_of:
            raise UserError(
                f"Some records of {base}, {dataset}, split {split}, are missing. Make them "
                f"again: dvc repro --force train_base@{dataset} learn_steps@{dataset}."
            )
        steps = list(by_seed(runs).values())
        measures = {name: plain(estimate([f(s) for s in steps])) for name, f in FROM_STEPS.items()}
        squares = [_square(matrix) for _, matrix in matrices_of[key].groupby("seed")]
        if len(squares[0]) > 1:
            measures |= {
                name: plain(estimate([f(square) for square in squares]))
                for name, f in FROM_MATRIX.items()
            }
        last = runs[runs["step"] == runs["step"].max()].iloc[0]
        bytes_kept = {name: int(last[name]) for name in KINDS_OF_BYTES}
        counts = {name: round(float(bases_of[key][name].mean()), 1) for name in SPLIT_COUNTS}
        of_split = summary.setdefault(dataset, {}).setdefault(split, {})
        of_split[base] = {**measures, "last_step": bytes_kept, "split": counts}
    return summary


def _square(rows: pd.DataFrame) -> np.ndarray:
    """A[t, u] of one run from its records; nan above the diagonal."""
    return rows.pivot_table(index="step", columns="of_step", values="accuracy").to_numpy()


def headline(study: Study, records: pd.DataFrame) -> dict[str, Any]:
    """The few numbers that `dvc metrics show` lists, per dataset.

    Single task, multitask, their paired difference, and the base model that `headline` names.
    """
    found: dict[str, Any] = {}
    bases = {"single": SINGLE, "multitask": MULTITASK, "headline": study.headline}
    for dataset in study.datasets:
        averages = {
            name: {
                seed: average_incremental_accuracy(steps)
                for seed, steps in by_seed(headline_runs(records, dataset, base)).items()
            }
            for name, base in bases.items()
        }
        found[dataset] = {
            f"{name}_average": _rounded(float(np.mean(list(values.values()))))
            for name, values in averages.items()
            if values
        }
        single, multitask = averages["single"], averages["multitask"]
        gain = paired_by_seed(multitask, single)
        if gain and only_training_differs(study, dataset):
            found[dataset] |= {
                "multitask_gain": _rounded(gain.mean),
                "multitask_gain_low": _rounded(gain.low),
                "multitask_gain_high": _rounded(gain.high),
                "seeds": gain.n,
            }
    return found


def _rounded(number: float) -> float | None:
    """For JSON; None where there is no number, e.g. the average of a base step only."""
    return round(number, 2) if np.isfinite(number) else None


def probe_correlation(
    probes: pd.DataFrame, records: pd.DataFrame
) -> dict[str, dict[str, dict[str, Any]]]:
    """Do bases with better probe accuracy on future classes also learn them better?

    By dataset, split and probe: the correlation of accuracy among future classes with average
    incremental accuracy of `learn_steps`, over base models and seeds. Class order and split, which
    differ between seeds, affect both; `within_seed` subtracts each seed's mean first, and
    `within_seed_and_base` then each base model's, so that one training alone is looked at. A
    ceiling, which has seen those classes, is left out.
    """
    correlations: dict[str, dict[str, dict[str, Any]]] = {}
    if probes.empty or records.empty:
        return correlations
    records = records[records["control"] != CEILING]
    averages = {
        (" ".join(key), seed): average_incremental_accuracy(steps)
        for key, runs in records.groupby(KEYS, sort=False)
        for seed, steps in by_seed(runs).items()
    }
    future = probes[probes["scope"] == "future"]
    columns = ["dataset", "split", "probe"]
    for (dataset, split, probe), part in future.groupby(columns, sort=False):
        by_run = {
            (" ".join(key), seed): steps[-1]
            for key, runs in part.groupby(KEYS, sort=False)
            for seed, steps in by_seed(runs).items()
        }
        both = {run: average for run, average in averages.items() if run in by_run}
        by_run = {run: by_run[run] for run in both}
        of_seed = within_seed(by_run), within_seed(both)
        correlations.setdefault(str(dataset), {}).setdefault(str(split), {})[str(probe)] = {
            **_plain_correlation(correlation(by_run, both)),
            "within_seed": _plain_correlation(correlation(*of_seed)),
            "within_seed_and_base": _plain_correlation(correlation(*map(within_row, of_seed))),
        }
    return correlations


def _plain_correlation(found: Correlation) -> dict[str, float | int | None]:
    numbers = {"pearson": found.pearson, "spearman": found.spearman}
    rounded = {k: round(v, 4) if np.isfinite(v) else None for k, v in numbers.items()}
    return {"n": found.n, **rounded}


def plain(found: Estimate) -> dict[str, float | int | None]:
    """Rounded numbers for JSON; None if not finite, e.g. the CI of one seed."""
    numbers = {"mean": found.mean, "std": found.std, "ci_low": found.low, "ci_high": found.high}
    rounded = {k: round(v, 4) if np.isfinite(v) else None for k, v in numbers.items()}
    return {"n": found.n, **rounded}
