"""mtcil.records.measures, by hand, by the paper's own table, and against scikit-learn."""

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sk

from mtcil.records import measures as metrics
from mtcil.reporting import paper
from mtcil.reporting.inference import (
    detectable,
    estimate,
    holm,
    paired_difference,
    resampled_half_width,
)


def test_the_averages_of_table_2_follow_from_its_own_columns():
    """The base step is left out: with it, every average would be far off."""
    assert len(paper.TABLE_2) == 6 and paper.TABLE_2_COLUMNS[-1] == "average"
    gaps = {
        terms: metrics.average_incremental_accuracy(steps) - printed
        for terms, (*steps, printed) in paper.TABLE_2.items()
    }
    assert [terms for terms, gap in gaps.items() if abs(gap) > 0.011] == []
    with_base = [
        metrics.average_accuracy_with_base(steps) - printed
        for *steps, printed in paper.TABLE_2.values()
    ]
    assert min(with_base) > 3


def test_the_average_with_base_includes_the_base_step():
    assert metrics.average_accuracy_with_base([90.0, 60.0, 30.0]) == pytest.approx(60.0)
    assert metrics.average_incremental_accuracy([90.0, 60.0, 30.0]) == pytest.approx(45.0)


def random_labels(n_classes=6, n=300):
    rng = np.random.default_rng(0)
    true = rng.choice(n_classes, n, p=np.arange(1, n_classes + 1) / 21)
    return true, np.where(rng.random(n) < 0.7, true, rng.integers(0, n_classes, n))


def test_agrees_with_scikit_learn():
    true, predicted = random_labels()
    confusion = metrics.confusion_counts(true, predicted, 6)
    np.testing.assert_array_equal(confusion, sk.confusion_matrix(true, predicted))
    assert metrics.step_accuracy(confusion) == pytest.approx(
        100 * sk.accuracy_score(true, predicted)
    )
    assert metrics.class_accuracy(confusion) == pytest.approx(
        100 * sk.balanced_accuracy_score(true, predicted)
    )
    assert metrics.macro_f1(confusion) == pytest.approx(
        100 * sk.f1_score(true, predicted, average="macro")
    )


def test_group_accuracy_counts_only_the_groups_clips():
    confusion = np.array([[3, 1, 0], [0, 2, 2], [1, 0, 3]])
    assert metrics.group_accuracy(confusion, 0, 2) == pytest.approx(100 * 5 / 8)
    assert metrics.group_accuracy(confusion, 2, 3) == pytest.approx(75.0)
    assert np.isnan(metrics.group_accuracy(confusion, 0, 0))


def test_forgetting_and_backward_transfer_by_hand():
    nan = np.nan
    matrix = np.array([[90, nan, nan], [95, 80, nan], [60, 85, 70]])
    # Step 0: best earlier 95, now 60: 35. Step 1: best earlier 80, now 85: -5. Mean 15.
    assert metrics.forgetting(matrix) == pytest.approx(15.0)
    # 60 - 90 = -30 and 85 - 80 = 5: mean -12.5.
    assert metrics.backward_transfer(matrix) == pytest.approx(-12.5)


def test_estimate_by_hand():
    # 1, 2, 3: mean 2, std 1, t(0.975, 2) = 4.3027, half width 4.3027 / sqrt(3) = 2.4841.
    found = estimate([1.0, 2.0, 3.0])
    assert (found.n, found.mean, found.std) == (3, 2.0, 1.0)
    assert found.high - found.mean == pytest.approx(2.4841, abs=1e-4)
    assert found.mean - found.low == pytest.approx(2.4841, abs=1e-4)


def test_one_seed_has_no_interval():
    assert np.isnan(estimate([]).mean) and estimate([]).n == 0
    found = estimate([5.0])
    assert found.mean == 5.0 and np.isnan([found.std, found.low, found.high]).all()


def test_paired_difference_by_hand():
    # Differences 1, 2, 3: t = 2 / (1 / sqrt 3) = 3.4641 with 2 degrees: p = 0.07418.
    found = paired_difference([11.0, 22.0, 33.0], [10.0, 20.0, 30.0])
    assert found.mean == pytest.approx(2.0)
    assert found.p_value == pytest.approx(0.07418, abs=1e-5)
    # Without spread the t-test has no answer.
    assert paired_difference([1.0, 1.0], [1.0, 1.0]).p_value == 1.0
    assert paired_difference([2.0, 2.0], [1.0, 1.0]).p_value == 0.0


def test_paired_difference_refuses_unequal_numbers_of_seeds():
    with pytest.raises(ValueError, match="Keep the seeds that both have"):
        paired_difference([1.0], [1.0, 2.0])


def test_the_interval_corrected_for_resampling_by_hand():
    # std 1, n 4, test to train 0.25: sqrt(1/4 + 1/4) = 0.7071 times t(0.975, 3) = 3.1824.
    assert resampled_half_width(1.0, 4, 0.25) == pytest.approx(0.7071 * 3.1824, abs=1e-3)
    assert resampled_half_width(2.0, 4, 0.0) == pytest.approx(3.1824, abs=1e-3)  # as estimate's
    assert np.isnan(resampled_half_width(1.0, 1, 0.25))
    assert resampled_half_width(1.0, 2, 0.0) == pytest.approx(12.7062 * 0.5**0.5, abs=1e-4)


@pytest.mark.parametrize(
    ("std", "n", "difference"),
    [(1.01, 5, 1.7), (1.01, 10, 1.0), (1.01, 20, 0.7), (2.08, 10, 2.1), (5.42, 20, 3.6)],
)
def test_the_detectable_difference(std, n, difference):
    assert detectable(std, n) == pytest.approx(difference, abs=0.05)


def test_the_detectable_difference_is_found_in_four_of_five_experiments():
    rng, n = np.random.default_rng(0), 6
    shifted = detectable(1.0, n) + rng.standard_normal((20_000, n))
    error = shifted.std(axis=1, ddof=1) / n**0.5
    found = shifted.mean(axis=1) - 2.5706 * error > 0  # t(0.975, 5)
    assert found.mean() == pytest.approx(0.8, abs=0.01)
    assert np.isnan([detectable(0.0, 6), detectable(1.0, 1)]).all()


@pytest.mark.parametrize("n", [2, 5, 10])
def test_the_detectable_difference_has_the_stated_power_by_integration(n):
    # Over the spread s of the sample, chi^2(n - 1) / (n - 1): the mean is clear with probability
    # Phi(delta sqrt(n) - t s), t the critical value.
    quantiles = (np.arange(200_000) + 0.5) / 200_000
    spread = (stats.chi2.ppf(quantiles, n - 1) / (n - 1)) ** 0.5
    critical = stats.t.ppf(0.975, n - 1)
    power = stats.norm.cdf(detectable(1.0, n) * n**0.5 - critical * spread).mean()
    assert power == pytest.approx(0.8, abs=1e-4)


def test_holm_by_hand():
    # Sorted: 0.01 x 4, 0.02 x 3, 0.03 x 2 (equal to the one before), 0.9 x 1.
    assert holm([0.03, 0.01, 0.9, 0.02]) == pytest.approx([0.06, 0.04, 0.9, 0.06])
    # 0.02 x 2 = 0.04, then 0.021 x 1 must not fall below it; 0.6 x 2 is cut to 1.
    assert holm([0.021, 0.02]) == pytest.approx([0.04, 0.04])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == []


def test_holm_leaves_out_what_was_not_tested():
    assert holm([0.03, float("nan"), 0.01]) == pytest.approx(
        [0.03, float("nan"), 0.02], nan_ok=True
    )
