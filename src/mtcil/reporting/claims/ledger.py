"""All claims of a study with their verdicts: as a table, and as a page for people."""

from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd

from mtcil.reporting.claims import bases, others, training, verdicts
from mtcil.reporting.claims.scope import Scope
from mtcil.reporting.claims.verdicts import Claim, Verdict, judge
from mtcil.reporting.inference import Estimate, estimate, paired_difference
from mtcil.settings.study import Study

SECTIONS = {  # stage: the section of its rows
    "learn_steps": "base_models",
    "time_heads": "heads_timings",
    "ablate_losses": "loss_ablations",
    "sweep_epochs": "epoch_sweeps",
    "sweep_exemplars": "exemplar_sweeps",
    "compare_methods": "comparisons",
}
PAPERS_SPLIT = "random"  # by clip
PARTS: tuple[tuple[str, Callable[[Scope], list[Claim]]], ...] = (  # in the paper's order
    ("base_models", bases.abstract),
    ("comparisons", others.text),
    ("heads_timings", training.table_1),
    ("loss_ablations", training.table_2),
    ("epoch_sweeps", training.figure_2),
    ("base_models", bases.figure_4),
    ("exemplar_sweeps", bases.figure_5),
    ("base_models", bases.controls),
)


def claims_of(study: Study, records: Mapping[str, pd.DataFrame]) -> list[Claim]:
    """Every claim, for each dataset on each split that it has rows for.

    Args:
        records: by stage, as `mtcil.records.tables.read_stage` gives them; see `SECTIONS`.
    """
    return [
        claim
        for dataset in study.datasets
        for section, claims in PARTS
        for split in splits_of(study, dataset, section)
        for claim in claims(Scope(study, records, dataset, split))
    ]


def splits_of(study: Study, dataset: str, section: str) -> list[str]:
    """The splits of a dataset's rows in a section; the paper's where it has none."""
    found = getattr(study, section).get(dataset)
    rows = list(found.values()) if section == "base_models" and found else [found]
    kinds = [kind for row in rows for kind in getattr(row, "splits", ())]
    return list(dict.fromkeys(kinds)) or [PAPERS_SPLIT]


def table(study: Study, records: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """The ledger: a row per claim."""
    return pd.DataFrame([row_of(claim) for claim in claims_of(study, records)])


def row_of(claim: Claim) -> dict[str, Any]:
    """A claim with our estimate and the verdict."""
    found = found_for(claim)
    ours = found or Estimate(0, *[float("nan")] * 4)
    return {
        "id": f"{claim.dataset}.{claim.split}.{claim.name}",
        "source": claim.source, "claim": claim.text, "dataset": claim.dataset,
        "split": claim.split, "paper": claim.paper, "ours": ours.mean, "n": ours.n,
        "low": ours.low, "high": ours.high, "p_value": ours.p_value,
        "verdict": str(judge(claim, found)), "where": claim.where,
    }  # fmt: skip


def found_for(claim: Claim) -> Estimate | None:
    """Mean and CI of the claim's numbers; the p-value is of no difference, none of a level."""
    values = list(claim.numbers.values())
    if not values:
        return None
    found = estimate(values)
    if claim.test == "level" or found.n < 2:
        return found
    tested = paired_difference(values, [claim.null] * len(values))
    return Estimate(found.n, found.mean, found.std, found.low, found.high, tested.p_value)


def markdown(ledger: pd.DataFrame) -> str:
    """The rules, how often each verdict fell, and a table per dataset and split."""
    about, rules = (verdicts.__doc__ or "\n\n").split("\n\n", 1)
    parts = ["# The paper's claims", f"{about}\n\n{rules.strip()}", "## Verdicts", _tally(ledger)]
    for (dataset, split), rows in ledger.groupby(["dataset", "split"], sort=False):
        apart = rows["verdict"] == Verdict.NOT_COMPARABLE
        parts += [f"## {dataset}, split {split}", _lines(rows[~apart])]
        if apart.any():
            parts += ["Numbers that these data cannot be held against:", _lines(rows[apart])]
    return "\n\n".join(parts) + "\n"


def _tally(ledger: pd.DataFrame) -> str:
    groups = ledger.groupby(["dataset", "split"], sort=False)["verdict"]
    rows = [
        [str(dataset), str(split), *(str(int((found == word).sum())) for word in Verdict)]
        for (dataset, split), found in groups
    ]
    return _table(["dataset", "split", *Verdict], rows)


def _lines(ledger: pd.DataFrame) -> str:
    header = ["source", "claim", "paper", "ours [95 % CI]", "n", "p", "verdict", "where"]
    rows = [
        [
            row["source"], row["claim"], _number(row["paper"]), _interval(row), str(row["n"]),
            _p_value(row["p_value"]), row["verdict"], f"`{row['where']}`",
        ]
        for row in ledger.to_dict("records")
    ]  # fmt: skip
    return _table(header, rows)


def _number(value: Any) -> str:
    return "" if pd.isna(value) else f"{value:.2f}"


def _p_value(value: float) -> str:
    if pd.isna(value):
        return ""
    return f"{value:.3f}" if value >= 0.001 else "< 0.001"


def _interval(row: Mapping[Any, Any]) -> str:
    ends = "" if pd.isna(row["low"]) else f" [{row['low']:.2f}, {row['high']:.2f}]"
    return _number(row["ours"]) + ends


def _table(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
