"""Table 2: what each loss term is worth, at each step and on average.

All rows share one base model per seed, so that differences are paired: to the row above, and to
the full method. The paper's averages stand beside ours where the study is the paper's.
"""

from collections.abc import Sequence

import pandas as pd
from matplotlib.figure import Figure

from mtcil.reporting import paper, style
from mtcil.reporting.columns import by_measure, in_order, named
from mtcil.reporting.inference import estimate, paired_by_seed
from mtcil.reporting.style import MARKERS, OTHERS, gap_text, new_figure, with_ci
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
        full = max(by_losses, key=lambda losses: losses.count("+"))
        above: dict[str, dict[int, float]] = {}
        for losses, measures in by_losses.items():
            first = part.iloc[0]
            about = {k: first[k] for k in (*KEYS, "heads", "exemplars")}
            for measure, values in measures.items():
                row = {**about, "losses": losses, "measure": measure}
                settings = study.datasets[str(first["dataset"])]
                if settings.kind == paper.GSC.kind and losses in paper.TABLE_2:
                    row["paper"] = _paper_number(str(losses), measure, settings.steps)
                row |= named("", estimate(list(values.values())))
                for prefix, other in (("above_", above), ("full_", by_losses[full])):
                    gap = paired_by_seed(values, other.get(measure, {}))
                    if gap and other is not measures:
                        row |= named(prefix, gap)
                rows.append(row)
            above = measures
    return pd.DataFrame(rows)


def _paper_number(losses: str, measure: str, steps: tuple[int, ...]) -> float | None:
    """The paper's number; of single steps only where the classes come as in the paper."""
    number = dict(zip(paper.TABLE_2_COLUMNS, paper.TABLE_2[losses], strict=True)).get(measure)
    return number if measure == "average" or steps == paper.GSC.steps else None


def markdown(table: pd.DataFrame) -> tuple[Sequence[str], list[list[str]]]:
    """A line per loss set: accuracy at each step, averages, differences of the average."""
    measures = in_order(table["measure"])
    header = [
        "dataset", "heads", "K", "losses", *measures, "average: to the row above",
        "average: to all four", "the paper's average",
    ]  # fmt: skip
    lines = []
    for (*_, losses), part in table.groupby([*KEYS, "losses"], sort=False):
        cells = {
            row["measure"]: with_ci(row["mean"], row["low"], row["high"], row["n"])
            for _, row in part.iterrows()
        }
        average = part[part["measure"] == "average"].iloc[0]
        about = [str(average[k]) for k in ("dataset", "heads", "exemplars")]
        gaps = [gap_text(average, prefix) for prefix in ("above_", "full_")]
        printed = average.get("paper")
        lines.append(
            [
                *about,
                str(losses),
                *(cells.get(m, "") for m in measures),
                *gaps,
                "" if pd.isna(printed) else f"{printed:.2f}",
            ]
        )
    return header, lines


def draw(table: pd.DataFrame) -> Figure:
    """A panel per row: average of each loss set with its 95 % CI, the paper's as grey marks."""
    panels = list(table[table["measure"] == "average"].groupby(KEYS, sort=False))
    figure, axes = new_figure(len(panels), height=3.2)
    for axis, (_, part) in zip(axes, panels, strict=True):
        for i, (_, line) in enumerate(part.iterrows()):
            low, high = line["mean"] - line["low"], line["high"] - line["mean"]
            axis.errorbar(
                line["mean"], i, xerr=[[low], [high]], fmt=MARKERS[0], color=OTHERS[0], capsize=3
            )
            printed = line.get("paper")
            if pd.notna(printed):
                label = "paper: 20 words, K = 200" if i == 0 else None
                axis.plot(
                    printed, i, marker="|", markersize=12, color=style.PAPER, label=label, ls=""
                )
        axis.set_yticks(range(len(part)), [t.replace("+KD", "\n+KD", 1) for t in part["losses"]])
        axis.set_ylim(-0.5, len(part) - 0.5)
        axis.invert_yaxis()
        first = part.iloc[0]
        about = f"{first['dataset']}, heads {first['heads']}, K = {first['exemplars']}"
        axis.set_title(f"{about}, n = {first['n']}")
        axis.set_xlabel("average accuracy, %\n(incremental steps; bar: 95 % CI)")
        axis.set_ylabel("loss terms")
    if axes[0].get_legend_handles_labels()[0]:
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper right")
    return figure
