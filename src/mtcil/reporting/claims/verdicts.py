"""By what rule a claim of the paper gets its verdict.

Ours is the mean over n seeds with its 95 % confidence interval, CI. A difference is taken seed by
seed, over the seeds that both sides have (of times: round by round), and has a p-value (paired t).

- **A difference with a direction**, e.g. multitask minus single task is above 0. CI wholly on the
  claimed side of 0: *reproduced* if the paper gives no size or its size lies in the CI, else
  *same direction*. CI includes 0: *not reproduced*. CI wholly on the other side: *contradicted*.
  Of ratios of times, 1 stands for 0; where no loss is claimed, -2, the margin below, does.
- **An equality**, e.g. no consistent gain; the margin is 2 points, ours. CI wholly within +-2:
  *reproduced*. CI includes 0 but is wider: *same direction* (it fits, and is not shown). CI
  excludes 0 and is not wholly within the margin: *contradicted*.
- **A level**, an accuracy or a time. On the paper's own data (its dataset, classes, clips, steps,
  K and random split): *reproduced* if the paper's number lies in our CI widened by 0.6 points on
  both sides, else *not reproduced*; 0.6 is the paper's own noise, by which its base accuracies
  differ though they should be equal. On any other data, and for seconds of another machine:
  *not comparable*, whether or not there is a matching number of ours.
- No records: *not run*. So are fewer than two seeds: there is no CI, and one seed decides nothing.

On data other than the paper's nothing is called reproduced by number, only by difference. The
paper's sizes of differences stand where the dataset is the paper's or a part of it; on other
datasets its claims are tested as words, without sizes. Source "ours": not the paper's claims but
controls of its explanation; the verdict says whether the explanation's prediction came true.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from mtcil.reporting.inference import Estimate

MARGIN = 2.0  # points within which accuracies count as equal; ours
LEVEL_NOISE = 0.6  # points; spread of the paper's base accuracies (Table 2)


class Verdict(StrEnum):
    """The six words of the ledger."""

    REPRODUCED = "reproduced"
    SAME_DIRECTION = "same direction"
    NOT_REPRODUCED = "not reproduced"
    CONTRADICTED = "contradicted"
    NOT_COMPARABLE = "not comparable"
    NOT_RUN = "not run"


@dataclass(frozen=True)
class Claim:
    """A number or a sentence of the paper, with our numbers.

    Attributes:
        name: short; unique within a dataset and split.
        test: the claim about `numbers`: above or below `null`, equal to it, or a level.
        numbers: {seed or round: ours}; empty without records.
        where: how to find `numbers` in the records.
        paper: the paper's number, if it gives one for such data.
        null: value that means no difference: 0, or 1 for ratios.
        comparable: only for a level: whether it was measured on the paper's data.
    """

    dataset: str
    split: str
    name: str
    source: str
    text: str
    test: Literal["above", "below", "equal", "level"]
    numbers: dict[int, float]
    where: str
    paper: float | None = None
    null: float = 0.0
    comparable: bool = True


def judge(claim: Claim, found: Estimate | None) -> Verdict:
    """Apply the rules above; `found` is the estimate of the claim's numbers, if any."""
    if claim.test == "level" and not claim.comparable:
        return Verdict.NOT_COMPARABLE
    if found is None or found.n < 2:
        return Verdict.NOT_RUN
    low, high = found.low - claim.null, found.high - claim.null
    size = None if claim.paper is None else claim.paper - claim.null
    if claim.test == "equal":
        return of_equality(low, high)
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
    return Verdict.SAME_DIRECTION if low <= 0 <= high else Verdict.CONTRADICTED


def of_level(low: float, high: float, paper: float) -> Verdict:
    """Verdict on a level measured on the paper's data; `low`, `high`: 95 % CI of our level."""
    inside = low - LEVEL_NOISE <= paper <= high + LEVEL_NOISE
    return Verdict.REPRODUCED if inside else Verdict.NOT_REPRODUCED
