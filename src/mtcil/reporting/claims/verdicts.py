"""The rules by which a claim of the paper gets its verdict.

Ours is the mean over n seeds with its 95 % confidence interval (CI). A difference is paired by
seed (times: by round) and has a p-value: a t-test against the bound of the claim (0, if none is
named). The margin is 2 points, ours.

- **A difference with a direction**, e.g. multitask minus single task is above 0. CI above 0:
  *reproduced* if the paper gives no size or its size is in the CI, else *same direction*. CI
  includes 0: *not reproduced*. CI below 0: *contradicted*. For ratios of times the bound is 1
  instead of 0. Where the claim is that nothing is lost, the bound is -2, the margin.
- **No gain**, e.g. tasks of equal size do not help: one-sided. Upper end of the CI at most 2:
  *reproduced*. Lower end above 2: *contradicted*. Lower end above 0, upper end above 2: *not
  reproduced*. Lower end at most 0, upper end above 2: *same direction*; a gain above the margin is
  not excluded.
- **An equality.** CI within -2 and 2: *reproduced*. CI wholly below -2 or above 2: *contradicted*.
  CI includes 0 but is wider: *same direction*. CI excludes 0 and overlaps the margin: *not
  reproduced*.
- **A level**, an accuracy or a time. On the paper's own data (its dataset, classes, clips, steps,
  K and random split): *reproduced* if the paper's number is in our CI widened by 0.6 points on
  both sides, else *not reproduced*. 0.6 is the paper's own noise: its base accuracies differ by
  that much although they should be equal. On other data, and for seconds on another machine:
  *not comparable*.
- No records: *not run*. Fewer than five seeds (times: two rounds): *too few seeds*.

A result that supports several sentences of the paper is listed once, with all its sources. On other
data than the paper's, nothing is called reproduced by its number, only by the difference. The
paper's sizes of differences are used if the dataset is the paper's or a part of it; on other
datasets its claims are tested without sizes. Source "ours": not a claim of the paper but a control
of its explanation; the verdict says whether the explanation's prediction is true.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from mtcil.reporting.inference import Estimate

MARGIN = 2.0  # points within which accuracies count as equal; ours
FEWEST_SEEDS, FEWEST_ROUNDS = 5, 2  # for a verdict; ours
LEVEL_NOISE = 0.6  # points; spread of the paper's base accuracies (Table 2)


class Verdict(StrEnum):
    """The words of the ledger."""

    REPRODUCED = "reproduced"
    SAME_DIRECTION = "same direction"
    NOT_REPRODUCED = "not reproduced"
    CONTRADICTED = "contradicted"
    NOT_COMPARABLE = "not comparable"
    NOT_RUN = "not run"
    TOO_FEW = "too few seeds"


@dataclass(frozen=True)
class Claim:
    """A number or a sentence of the paper, with our numbers.

    Attributes:
        name: short; unique within a dataset and split.
        test: the claim about `numbers`: above or below `null`, not above it, equal to it, or a
            level.
        numbers: {seed or round: ours}; empty without records.
        where: how to find `numbers` in the records.
        paper: the paper's number, if it gives one for such data.
        null: value that means no difference: 0, or 1 for ratios.
        comparable: only for a level: whether it was measured on the paper's data.
        by_round: whether `numbers` are times of rounds, not results of seeds.
    """

    dataset: str
    split: str
    name: str
    source: str
    text: str
    test: Literal["above", "below", "no gain", "equal", "level"]
    numbers: dict[int, float]
    where: str
    paper: float | None = None
    null: float = 0.0
    comparable: bool = True
    by_round: bool = False


def judge(claim: Claim, found: Estimate | None) -> Verdict:
    """Apply the rules above; `found` is the estimate of the claim's numbers, if any."""
    if found is None:
        return Verdict.NOT_RUN
    if claim.test == "level" and not claim.comparable:
        return Verdict.NOT_COMPARABLE
    if found.n < (FEWEST_ROUNDS if claim.by_round else FEWEST_SEEDS):
        return Verdict.TOO_FEW
    low, high = found.low - claim.null, found.high - claim.null
    size = None if claim.paper is None else claim.paper - claim.null
    if claim.test == "equal":
        return of_equality(low, high)
    if claim.test == "no gain":
        return of_no_gain(low, high)
    if claim.test == "level":
        if size is None:
            raise ValueError(f"{claim.name}: a level needs the paper's number. Give `paper`.")
        return of_level(low, high, size)
    if claim.test == "below":
        low, high, size = -high, -low, None if size is None else -size
    return of_difference(low, high, size)


def of_difference(low: float, high: float, size: float | None) -> Verdict:
    """Verdict on a difference claimed to be above 0.

    Args:
        low, high: 95 % confidence interval of our difference.
        size: the paper's difference, if it gives one.
    """
    if high < 0:
        return Verdict.CONTRADICTED
    if low <= 0:
        return Verdict.NOT_REPRODUCED
    return Verdict.REPRODUCED if size is None or low <= size <= high else Verdict.SAME_DIRECTION


def of_equality(low: float, high: float) -> Verdict:
    """Verdict on a difference claimed to be 0; `low`, `high`: 95 % CI of our difference."""
    if low >= -MARGIN and high <= MARGIN:
        return Verdict.REPRODUCED
    if high < -MARGIN or low > MARGIN:
        return Verdict.CONTRADICTED
    return Verdict.SAME_DIRECTION if low <= 0 <= high else Verdict.NOT_REPRODUCED


def of_no_gain(low: float, high: float) -> Verdict:
    """Verdict on a difference claimed not to be above 0; `low`, `high`: its 95 % CI."""
    if high <= MARGIN:
        return Verdict.REPRODUCED
    if low > MARGIN:
        return Verdict.CONTRADICTED
    return Verdict.NOT_REPRODUCED if low > 0 else Verdict.SAME_DIRECTION


def of_level(low: float, high: float, paper: float) -> Verdict:
    """Verdict on a level measured on the paper's data; `low`, `high`: 95 % CI of our level."""
    inside = low - LEVEL_NOISE <= paper <= high + LEVEL_NOISE
    return Verdict.REPRODUCED if inside else Verdict.NOT_REPRODUCED
