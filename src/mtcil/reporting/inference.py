"""Means over seeds with confidence intervals, and paired comparisons."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.optimize import brentq

CONFIDENCE, POWER = 0.95, 0.8


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds.

    Attributes:
        mean, std: over the seeds; std divides by n - 1, nan for a single seed.
        low, high: 95 % confidence interval of the mean (Student t); nan for a single seed.
        p_value: two-sided test that the mean is 0; only for paired differences, else nan.
    """

    n: int
    mean: float
    std: float
    low: float
    high: float
    p_value: float = float("nan")


def estimate(values: Sequence[float]) -> Estimate:
    """Mean, standard deviation and 95 % confidence interval over seeds; nan of no seed."""
    x = np.asarray(values, dtype=np.float64)
    n, mean = len(x), float(x.mean()) if len(x) else float("nan")
    if n < 2:
        return Estimate(n, mean, *[float("nan")] * 3)
    std = float(x.std(ddof=1))
    half = float(stats.t.ppf(0.5 + CONFIDENCE / 2, n - 1)) * std / n**0.5
    return Estimate(n, mean, std, mean - half, mean + half)


def both_of_two(low: Any, high: Any) -> tuple[Any, Any]:
    """The two values, the smaller first, whose 95 % confidence interval has these ends.

    Args:
        low, high: numbers, or arrays of them.
    """
    middle, half = (low + high) / 2, (high - low) / 2
    apart = half / float(stats.t.ppf(0.5 + CONFIDENCE / 2, 1))
    return middle - apart, middle + apart


def paired_difference(ours: Sequence[float], theirs: Sequence[float]) -> Estimate:
    """Ours minus theirs, seed by seed, with the p-value of a paired t-test.

    Raises:
        ValueError: if the numbers of values differ.
    """
    if len(ours) != len(theirs):
        raise ValueError(
            f"A paired comparison needs one value of each per seed; got {len(ours)} and "
            f"{len(theirs)}. Keep the seeds that both have."
        )
    differences = np.asarray(ours, dtype=np.float64) - np.asarray(theirs, dtype=np.float64)
    gap = estimate(differences.tolist())
    if gap.n < 2:
        return gap
    if gap.std == 0:
        p_value = 1.0 if gap.mean == 0 else 0.0
    else:
        p_value = float(stats.ttest_1samp(differences, 0.0).pvalue)
    return Estimate(gap.n, gap.mean, gap.std, gap.low, gap.high, p_value)


def paired_by_seed(ours: Mapping[int, float], theirs: Mapping[int, float]) -> Estimate | None:
    """`paired_difference` over the seeds that both have; None if they share none."""
    seeds = sorted(set(ours) & set(theirs))
    if not seeds:
        return None
    return paired_difference([ours[s] for s in seeds], [theirs[s] for s in seeds])


def resampled_half_width(std: float, n: int, test_to_train: float) -> float:
    """Half the 95 % CI of a paired difference over seeds that divide one pool of clips again.

    Training sets of such seeds overlap, so the variance of the mean is std^2 (1 / n + n_test /
    n_train), not std^2 / n (Nadeau and Bengio 2003).

    Args:
        test_to_train: clips of the test split for each clip of the training split.
    """
    if n < 2:
        return float("nan")
    error: float = std * (1 / n + test_to_train) ** 0.5
    return float(stats.t.ppf(0.5 + CONFIDENCE / 2, n - 1)) * error


def detectable(std: float, n: int) -> float:
    """Smallest true difference that a paired t-test (two-sided, 5 %) finds with 80 % power.

    Finding it means that the CI is wholly on the true side of 0.

    Args:
        std: of the n differences.
    """
    if n < 2 or not std > 0:
        return float("nan")
    critical = float(stats.t.ppf(0.5 + CONFIDENCE / 2, n - 1))

    def lacking(standard_errors: float) -> float:
        return POWER - float(stats.nct.sf(critical, n - 1, standard_errors))

    return float(brentq(lacking, 0, 10 * critical)) * std / n**0.5


def crossed_spread(cells: NDArray[np.float64]) -> tuple[float, float, float]:
    """Standard deviations between rows, between columns, and of what neither explains.

    Those of a two-way analysis of variance with random effects, one value per cell: with mean
    squares R of the r rows, C of the c columns and E of the rest, their variances are (R - E) / c,
    (C - E) / r and E. A negative one counts as 0.

    Args:
        cells: (r, c), at least 2 x 2.
    """
    n_rows, n_columns = cells.shape
    of_rows, of_columns = cells.mean(axis=1), cells.mean(axis=0)
    left = cells - of_rows[:, None] - of_columns + cells.mean()
    rest = float((left**2).sum()) / ((n_rows - 1) * (n_columns - 1))
    rows = float(of_rows.var(ddof=1)) - rest / n_columns
    columns = float(of_columns.var(ddof=1)) - rest / n_rows
    return max(rows, 0.0) ** 0.5, max(columns, 0.0) ** 0.5, rest**0.5


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p-values for multiple tests (Holm 1979); the order is kept.

    The smallest of m is multiplied by m, the next by m - 1 and so on; each is at least the
    previous one and at most 1. A nan (no test) stays nan and does not count in m.
    """
    p = np.asarray(p_values, dtype=np.float64)
    corrected = np.full(len(p), np.nan)
    order = [int(i) for i in np.argsort(p, kind="stable") if not np.isnan(p[i])]
    largest = 0.0
    for rank, i in enumerate(order):
        largest = max(largest, (len(order) - rank) * float(p[i]))
        corrected[i] = min(largest, 1.0)
    return corrected.tolist()


@dataclass(frozen=True)
class Correlation:
    """Correlation of two measures of the same n runs.

    Attributes:
        pearson, spearman: -1 .. 1; nan for fewer than three runs, or if a measure is constant.
    """

    n: int
    pearson: float
    spearman: float


def correlation(
    probe_by_run: Mapping[Any, float], average_by_run: Mapping[Any, float]
) -> Correlation:
    """Correlation over the runs that both have."""
    runs = [run for run in probe_by_run if run in average_by_run]
    x = np.array([probe_by_run[run] for run in runs])
    y = np.array([average_by_run[run] for run in runs])
    if len(runs) < 3 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return Correlation(len(runs), float("nan"), float("nan"))
    pearson, spearman = stats.pearsonr(x, y).statistic, stats.spearmanr(x, y).statistic
    return Correlation(len(runs), float(pearson), float(spearman))


def within_seed(by_run: Mapping[tuple[str, int], float]) -> dict[tuple[str, int], float]:
    """Subtract each seed's mean over rows from {(row, seed): value}, to remove its effect."""
    return _without_means(by_run, 1)


def within_row(by_run: Mapping[tuple[str, int], float]) -> dict[tuple[str, int], float]:
    """Subtract each row's mean over seeds."""
    return _without_means(by_run, 0)


def _without_means(
    by_run: Mapping[tuple[str, int], float], place: int
) -> dict[tuple[str, int], float]:
    values: dict[str | int, list[float]] = {}
    for run, value in by_run.items():
        values.setdefault(run[place], []).append(value)
    return {run: value - float(np.mean(values[run[place]])) for run, value in by_run.items()}
