"""Table 2: the contribution of each loss term, at each step and on average.

All rows share one base model per seed, so that differences to the row above and to the full
method are paired. On the paper's dataset, its averages are shown with ours.
"""

from collections.abc import Sequence

import pandas as pd

from mtcil.reporting import paper
from mtcil.reporting.columns import by_measure, in_order, row_of
from mtcil.reporting.style import base_text, gap_text, with_ci
from mtcil.settings.sections import DatasetSettings
from mtcil.settings.study import Study

STAGE, SECTION, RECORDS = "ablate_losses", "loss_ablations", "records"
KEYS = ["dataset", "split", "base"]


def table(study: Study, records: pd.DataFrame) -> pd.DataFrame:
    """A row per loss set and measure (classes seen, averages): mean, CI, paired differences."""
    if records.empty:
        return records
    rows = []
    for _, part in records.groupby(KEYS, sort=False):
        by_losses = {
            losses: by_measure(runs) for losses, runs in part.groupby("losses", sort=False)
        }
        all_terms = max(by_losses, key=lambda losses: losses.count("+"))
        first, above = part.iloc[0], dict[str, dict[int, float]]()
        settings = study.datasets[str(first["dataset"])]
        for losses, measures in by_losses.items():
            columns = {k: first[k] for k in (*KEYS, "heads", "exemplars")} | {"losses": losses}
            full = by_losses[all_terms] if losses != all_terms else {}
            rows += [
                row_of(
                    {**columns, "measure": name, **_printed(str(losses), name, settings)},
                    values, above=above.get(name, {}), full=full.get(name, {}),
                )
                for name, values in measures.items()
            ]  # fmt: skip
            above = measures
    return pd.DataFrame(rows)


def _printed(losses: str, measure: str, settings: DatasetSettings) -> dict[str, float | None]:
    """The paper's number; for single steps only if the steps are the paper's."""
    if settings.kind != paper.GSC.kind or losses not in paper.TABLE_2:
        return {}
    number = dict(zip(paper.TABLE_2_COLUMNS, paper.TABLE_2[losses], strict=True)).get(measure)
    known = measure == "average" or settings.steps == paper.GSC.steps
    return {"paper": number if known else None}


def markdown(table: pd.DataFrame) -> tuple[Sequence[str], list[list[str]]]:
    """A line per loss set: accuracy at each step, averages, differences of the average."""
    measures = in_order(table["measure"])
    header = [
        "dataset", "split", "base model", "K", "losses", *measures,
        "average: to the row above (p uncorrected)", "average: to the most terms (p uncorrected)",
        "the paper's average",
    ]  # fmt: skip
    lines = []
    for (*_, losses), part in table.groupby([*KEYS, "losses"], sort=False):
        cells = {row["measure"]: with_ci(row) for _, row in part.iterrows()}
        average = part[part["measure"] == "average"].iloc[0]
        base, budget = base_text(average), str(average["exemplars"])
        gaps = [gap_text(average, prefix) for prefix in ("above_", "full_")]
        printed = average.get("paper")
        lines.append(
            [
                *(str(average[k]) for k in ("dataset", "split")),
                base,
                budget,
                str(losses),
                *(cells.get(m, "") for m in measures),
                *gaps,
                "" if pd.isna(printed) else f"{printed:.2f}",
            ]
        )
    return header, lines
