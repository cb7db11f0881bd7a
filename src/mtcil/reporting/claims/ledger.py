"""All claims of a study with their verdicts: as a table, and as a page to read."""

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


def claims_of(
    study: Study, records: Mapping[str, pd.DataFrame], tables: Mapping[str, pd.DataFrame]
) -> list[Claim]:
    """Every claim, for each dataset and each split with rows.

    Args:
        records: by stage, from `mtcil.records.tables.read_stage`; see `SECTIONS`.
        tables: the study's tables of results by name, except for empty ones.
    """
    return [
        claim
        for dataset in study.datasets
        for section, claims in PARTS
        for split in splits_of(study, dataset, section)
        for claim in claims(Scope(study, records, dataset, split, tables))
    ]


def splits_of(study: Study, dataset: str, section: str) -> list[str]:
    """The splits of a dataset's rows in a section; the paper's split if it has no rows."""
    entry = getattr(study, section).get(dataset)
    rows = list(entry.values()) if section == "base_models" and entry else [entry]
    kinds = [kind for row in rows for kind in getattr(row, "splits", ())]
    return list(dict.fromkeys(kinds)) or [PAPERS_SPLIT]


def table(
    study: Study, records: Mapping[str, pd.DataFrame], tables: Mapping[str, pd.DataFrame]
) -> pd.DataFrame:
    """The ledger: a row per claim; arguments as for `claims_of`."""
    return pd.DataFrame([row_of(claim) for claim in claims_of(study, records, tables)])


def row_of(claim: Claim) -> dict[str, Any]:
    """A claim with our estimate and the verdict."""
    our_estimate = found_for(claim)
    ours = our_estimate or Estimate(0, *[float("nan")] * 4)
    return {
        "id": f"{claim.dataset}.{claim.split}.{claim.name}",
        "source": claim.source, "claim": claim.text, "dataset": claim.dataset,
        "split": claim.split, "paper": claim.paper, "ours": ours.mean, "n": ours.n,
        "low": ours.low, "high": ours.high, "p_value": ours.p_value,
        "verdict": str(judge(claim, our_estimate)), "where": claim.where,
    }  # fmt: skip


def found_for(claim: Claim) -> Estimate | None:
    """Mean and CI of the claim's numbers; p-value for "no difference", not for a level."""
    values = list(claim.numbers.values())
    if not values:
        return None
    ours = estimate(values)
    if claim.test == "level" or ours.n < 2:
        return ours
    tested = paired_difference(values, [claim.null] * len(values))
    return Estimate(ours.n, ours.mean, ours.std, ours.low, ours.high, tested.p_value)


def markdown(ledger: pd.DataFrame) -> str:
    """The rules, the number of each verdict, and a table per dataset and split."""
    about, rules = (verdicts.__doc__ or "\n\n").split("\n\n", 1)
    parts = ["# The paper's claims", f"{about}\n\n{rules.strip()}", "## Verdicts", _tally(ledger)]
    for (dataset, split), rows in ledger.groupby(["dataset", "split"], sort=False):
        not_run, apart = (rows["verdict"] == v for v in (Verdict.NOT_RUN, Verdict.NOT_COMPARABLE))
        tested = ~not_run & ~apart
        parts.append(f"## {dataset}, split {split}")
        if tested.any():
            parts.append(_lines(rows[tested]))
        if apart.any():
            parts += ["Numbers that these data cannot be held against:", _lines(rows[apart])]
        if not_run.any():
            parts += ["Not run; in brackets, the records or rows that each needs:"]
            parts += [_names(rows[not_run])]
    return "\n\n".join(parts) + "\n"


def _tally(ledger: pd.DataFrame) -> str:
    groups = ledger.groupby(["dataset", "split"], sort=False)["verdict"]
    rows = [
        [str(dataset), str(split), *(str(int((found == word).sum())) for word in Verdict)]
        for (dataset, split), found in groups
    ]
    return _table(["dataset", "split", *Verdict], rows)


def _lines(ledger: pd.DataFrame) -> str:
    lines = [cells_of(row) for row in ledger.to_dict("records")]
    rows = [
        [*line.values(), f"`{where}`"] for line, where in zip(lines, ledger["where"], strict=True)
    ]
    return _table([*lines[0], "where"] if lines else [], rows)


def _names(ledger: pd.DataFrame) -> str:
    lines = []
    for row in ledger.to_dict("records"):
        paper = "" if pd.isna(row["paper"]) else f", in the paper {_number(row['paper'])}"
        lines.append(f"- {row['source']}: {row['claim']}{paper} (`{row['where']}`)")
    return "\n".join(lines)


def cells_of(row: Mapping[Any, Any]) -> dict[str, str]:
    """A row of the ledger as people read it; without where its numbers are."""
    return {
        "source": row["source"], "claim": row["claim"], "paper": _number(row["paper"]),
        "ours [95 % CI]": _interval(row), "n": str(row["n"]),
        "p, uncorrected": _p_value(row["p_value"]),
        "verdict": row["verdict"],
    }  # fmt: skip


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
