"""Our numbers for a claim: found in the records of a dataset on one split, seed by seed."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from mtcil.claims.verdicts import Claim
from mtcil.metrics import average_incremental_accuracy
from mtcil.results import by_seed
from mtcil.settings import DatasetSettings
from mtcil.study import BaseRow, Study

METHOD = "ccil"  # the paper's incremental method
# Of the paper's data: kind, number of classes, steps, K (section 4.1).
GSC = ("speech_commands", 20, (5, 3, 3, 3, 3, 3), 200)
US8K = ("urbansound8k", 10, (4, 2, 2, 2), 100)


@dataclass(frozen=True)
class Measure:
    """Numbers by seed (of times: by round), and where they stand; empty: there are none."""

    numbers: dict[int, float]
    where: str

    def __sub__(self, other: "Measure") -> "Measure":
        """The difference, over the seeds that both have."""
        shared = sorted(set(self.numbers) & set(other.numbers))
        # Records hold four decimals; what lies below is noise of the arithmetic.
        gaps = {seed: round(self.numbers[seed] - other.numbers[seed], 9) for seed in shared}
        theirs = f"({other.where})" if " minus " in other.where else other.where
        return Measure(gaps, f"{self.where} minus {theirs}")


def nothing(what: str) -> Measure:
    """A measure that the study has no row for."""
    return Measure({}, f"no row: {what}")


def is_the_papers(data: DatasetSettings, split: str, budget: int) -> bool:
    """Whether these are the paper's data: its clips, classes, steps, K and split."""
    if split != "random" or data.folds is not None:
        return False
    protocol = (data.kind, len(data.classes), data.steps, budget)
    if protocol == GSC:
        return data.clips_per_class == 3200
    return protocol == US8K and data.clips_per_class >= 1000  # all: no class has more


@dataclass(frozen=True)
class Scope:
    """A dataset of the study on one split, with all records by stage."""

    study: Study
    records: Mapping[str, pd.DataFrame]
    dataset: str
    split: str

    @property
    def settings(self) -> DatasetSettings:
        return self.study.datasets[self.dataset]

    @property
    def single(self) -> str:
        """The heads setting of the single task."""
        return str(self.settings.steps[0])

    @property
    def multitask(self) -> str:
        """The heads setting that stands for multitask."""
        return self.settings.multitask

    @property
    def kind(self) -> str:
        return self.settings.kind

    def base_rows(self) -> dict[str, BaseRow]:
        """The base models of this dataset and split that go on with the paper's method."""
        rows = self.study.base_models.items()
        return {name: row for name, row in rows if self._is_here(name) and row.method == METHOD}

    def plain_rows(self) -> dict[str, str]:
        """{heads: row} of the base models trained as in the paper: no control, separate passes."""
        return self.rows_with(passes="separate", control=None)

    def rows_with(self, passes: str, control: str | None) -> dict[str, str]:
        """{heads: row} of base models; of several with the same heads, the first."""
        found: dict[str, str] = {}
        for name, row in self.base_rows().items():
            if row.passes == passes and row.control == control:
                found.setdefault(str(row.heads), name)
        return found

    def later_rows(self, section: str) -> dict[str, Any]:
        """Rows of a section such as `loss_ablations` of this dataset and split."""
        rows, bases = getattr(self.study, section).items(), self.base_rows()
        return {name: row for name, row in rows if row.base in bases and row.method == METHOD}

    def comparison_row(self, heads: str) -> str | None:
        """The row of `comparisons` on the plain base model of these heads; None: there is none."""
        base = self.plain_rows().get(heads)
        rows = self.study.comparisons.items()
        return next((name for name, row in rows if row.base == base), None)

    def average(self, stage: str, row: str, **only: Any) -> Measure:
        """Average incremental accuracy, percent, of the runs of a row; `only` picks some."""
        runs = self._runs(stage, row, only)
        values = {
            seed: average_incremental_accuracy(steps)
            for seed, steps in (by_seed(runs).items() if len(runs) else ())
        }
        return Measure(values, f"{_place(stage, row, only)} average")

    def at_step(self, stage: str, row: str, column: str, step: int, **only: Any) -> Measure:
        """A column of the records at one step; past the end, and for -1, at the last step."""
        runs = self._runs(stage, row, only)
        if runs.empty:
            return Measure({}, f"{_place(stage, row, only)} {column}")
        last = int(runs["step"].max())
        at = last if step == -1 else min(step, last)
        chosen = runs[runs["step"] == at]
        values = {int(s): float(v) for s, v in zip(chosen["seed"], chosen[column], strict=True)}
        return Measure(values, f"{_place(stage, row, only)} step={at} {column}")

    def times(self, row: str) -> pd.DataFrame:
        """(round, heads) seconds of an epoch, separate passes; a CPU's are the process's own."""
        runs = self._runs("time_heads", row, {"passes": "separate"})
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
            more.setdefault("comparable", is_the_papers(self.settings, self.split, budget))
        where = (self.dataset, self.split, name, source, text, test, ours.numbers, ours.where)
        return Claim(*where, **more)

    def _is_here(self, base: str) -> bool:
        row = self.study.base_models[base]
        return (row.dataset, row.split or self.study.split.kind) == (self.dataset, self.split)

    def _runs(self, stage: str, row: str, only: Mapping[str, Any]) -> pd.DataFrame:
        table = self.records.get(stage, pd.DataFrame())
        if table.empty:
            return table
        chosen = table["row"] == row
        for column, value in only.items():
            chosen &= table[column] == value
        return table[chosen]


def _place(stage: str, row: str, only: Mapping[str, Any]) -> str:
    return " ".join([f"{stage}/{row}", *(f"{k}={v}" for k, v in only.items())])
