"""Our numbers for a claim, by seed, from the records of a dataset on one split."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from mtcil.records.measures import average_incremental_accuracy
from mtcil.records.tables import by_seed
from mtcil.reporting import paper
from mtcil.reporting.claims.verdicts import Claim
from mtcil.settings.sections import DatasetSettings, SplitShares
from mtcil.settings.study import CEILING, MULTITASK, BaseRow, Study

METHOD = "ccil"  # the paper's incremental method


@dataclass(frozen=True)
class Measure:
    """Finite numbers by seed (times: by round), and their place in the records; may be empty."""

    numbers: dict[int, float]
    where: str

    def __sub__(self, other: "Measure") -> "Measure":
        """The difference, over the seeds that both have."""
        shared = sorted(set(self.numbers) & set(other.numbers))
        # Records have four decimals; anything smaller is rounding noise.
        gaps = {seed: round(self.numbers[seed] - other.numbers[seed], 9) for seed in shared}
        theirs = f"({other.where})" if " minus " in other.where else other.where
        return Measure(gaps, f"{self.where} minus {theirs}")


def _finite(values: Mapping[int, float]) -> dict[int, float]:
    """A base step only has no average, and no old classes."""
    return {seed: value for seed, value in values.items() if np.isfinite(value)}


def nothing(what: str) -> Measure:
    """A measure that the study has no row for."""
    return Measure({}, f"no row: {what}")


def is_the_papers(data: DatasetSettings, split: str, shares: SplitShares, budget: int) -> bool:
    """Whether the data are the paper's: its clips, classes, steps, K and split."""
    divided = (shares.train, shares.test, shares.validation)
    if split != "random" or divided != paper.SHARES or data.folds is not None:
        return False
    protocol = (data.kind, frozenset(data.classes), data.steps, budget)
    if protocol == paper.GSC:
        return data.clips_per_class == paper.GSC_CLIPS_PER_CLASS
    return protocol == paper.US8K and data.clips_per_class >= 1000  # all clips: no class has more


def _is_the_papers(row: BaseRow) -> bool:
    is_plain = not row.parts and row.length == 1 and row.control != CEILING
    return is_plain and row.order_seed is None


@dataclass(frozen=True)
class Scope:
    """A dataset of the study on one split, with all records by stage and tables by name."""

    study: Study
    records: Mapping[str, pd.DataFrame]
    dataset: str
    split: str
    tables: Mapping[str, pd.DataFrame]

    @property
    def settings(self) -> DatasetSettings:
        return self.study.datasets[self.dataset]

    @property
    def single(self) -> str:
        """The heads setting of the single task."""
        return str(self.settings.steps[0])

    @property
    def multitask(self) -> str:
        """The heads setting of the multitask base model; "none" where it is the single task's."""
        row = self.study.base_models.get(self.dataset, {}).get(MULTITASK)
        return "none" if row is None or row.heads == self.single else row.heads

    @property
    def kind(self) -> str:
        return self.settings.kind

    def base_rows(self) -> dict[str, BaseRow]:
        """The base models of this dataset and split that are used with the paper's method.

        Not those with a class order of their own (see the table `orders`), with parts, or ceilings.
        """
        rows = self.study.base_models.get(self.dataset, {})
        return {
            name: row
            for name, row in rows.items()
            if self.split in row.splits and row.method == METHOD and _is_the_papers(row)
        }

    def plain_bases(self) -> dict[str, str]:
        """{heads: base} of base models trained as in the paper: no control, separate passes."""
        return self.bases_with(passes="separate", control=None)

    def bases_with(self, passes: str, control: str | None) -> dict[str, str]:
        """{heads: base} of base models; the first of those with the same heads."""
        bases: dict[str, str] = {}
        for name, row in self.base_rows().items():
            if row.passes == passes and row.control == control:
                bases.setdefault(row.heads, name)
        return bases

    def bases_in(self, section: str) -> list[str]:
        """Base models of this dataset and split that a section such as `loss_ablations` names."""
        row = getattr(self.study, section).get(self.dataset)
        if row is None or self.split not in row.splits or getattr(row, "method", METHOD) != METHOD:
            return []
        rows = self.base_rows()
        return [base for base in row.bases or rows if base in rows]

    def compared(self, heads: str) -> str | None:
        """The plain base model with these heads, if methods are compared from it."""
        base = self.plain_bases().get(heads)
        return base if base in self.bases_in("comparisons") else None

    def average(self, stage: str, base: str, **only: Any) -> Measure:
        """Average incremental accuracy, percent, of the runs from a base; `only` selects some."""
        runs = self._runs(stage, {"base": base, **only})
        values = {
            seed: average_incremental_accuracy(steps)
            for seed, steps in (by_seed(runs).items() if len(runs) else ())
        }
        return Measure(_finite(values), f"{self._place(stage, {'base': base, **only})} average")

    def at_step(self, stage: str, base: str, column: str, step: int, **only: Any) -> Measure:
        """A column of the records at one step; -1, or a step past the end, is the last step."""
        where = self._place(stage, {"base": base, **only})
        runs = self._runs(stage, {"base": base, **only})
        if runs.empty:
            return Measure({}, f"{where} {column}")
        last = int(runs["step"].max())
        at = last if step == -1 else min(step, last)
        chosen = runs[runs["step"] == at]
        values = {int(s): float(v) for s, v in zip(chosen["seed"], chosen[column], strict=True)}
        return Measure(_finite(values), f"{where} step={at} {column}")

    def times(self) -> pd.DataFrame:
        """(round, heads) seconds of an epoch, separate passes; CPU time on a CPU."""
        runs = self._runs("time_heads", {"passes": "separate"})
        if runs.empty:
            return pd.DataFrame()
        clock = "cpu_seconds" if runs["device"].iloc[0] == "cpu" else "seconds"
        return runs.pivot_table(index="round", columns="heads", values=clock)

    def claim(
        self, name: str, source: str, text: str, test: Any, ours: Measure, **more: Any
    ) -> Claim:
        """A claim about this dataset and split; a level is comparable on the paper's data."""
        if test == "level":
            budget = self.study.budget(self.dataset)
            data = (self.settings, self.split, self.study.split, budget)
            more.setdefault("comparable", is_the_papers(*data))
        where = (self.dataset, self.split, name, source, text, test, ours.numbers, ours.where)
        return Claim(*where, **more)

    def _runs(self, stage: str, only: Mapping[str, Any]) -> pd.DataFrame:
        table = self.records.get(stage, pd.DataFrame())
        if table.empty:
            return table
        chosen = table["dataset"] == self.dataset
        if "split" in table:
            chosen &= table["split"] == self.split
        for column, value in only.items():
            chosen &= table[column] == value
        return table[chosen]

    def _place(self, stage: str, only: Mapping[str, Any]) -> str:
        """Place of runs in the records: file, and columns with their values."""
        columns = {"split": self.split, **only}
        return " ".join([f"{stage}/{self.dataset}", *(f"{k}={v}" for k, v in columns.items())])
