"""Table 2: what each loss term is worth, at each step and on average.

All rows share one base model per seed, so that differences are paired: to the row above, and to
the full method. The paper's averages stand beside ours where the study is the paper's.
"""

from collections.abc import Sequence

import pandas as pd
from matplotlib.figure import Figure

from mtcil.figures import _style as style
from mtcil.figures._measures import by_measure, in_order, named
from mtcil.figures._style import MARKERS, OTHERS, gap_text, new_figure, with_ci
from mtcil.significance import estimate, paired_by_seed
from mtcil.study import Study

STAGE, SECTION, RECORDS = "ablate_losses", "loss_ablations", "records"
# Table 2: GSC, K = 200; the last number is the average without the base step.
PAPER_MEASURES = ("05", "08", "11", "14", "17", "20", "average")
PAPER = {
    "CE_N": (96.97, 60.23, 43.79, 35.73, 29.46, 26.22, 39.09),
    "CE_N+KD_N": (97.08, 60.75, 43.34, 37.43, 36.20, 34.85, 42.52),
    "CE_N+CE_O": (97.25, 88.77, 79.07, 72.88, 72.82, 57.27, 74.16),
    "CE_N+CE_O+KD_N": (96.78, 84.65, 78.27, 77.91, 73.60, 72.55, 77.39),
    "CE_N+CE_O+KD_O": (97.12, 85.72, 80.64, 78.99, 74.30, 71.93, 78.32),
    "CE_N+CE_O+KD_N+KD_O": (97.35, 87.92, 81.47, 77.66, 73.80, 73.27, 78.82),
}
PAPER_KIND = "speech_commands"


def table(study: Study, records: pd.DataFrame) -> pd.DataFrame:
    """A row per loss set and measure (classes seen, averages): mean, CI, paired differences."""
    if records.empty:
        return records
    rows = []
    for name, part in records.groupby("row", sort=False):
        by_losses = {
            losses: by_measure(runs) for losses, runs in part.groupby("losses", sort=False)
        }
        full = max(by_losses, key=lambda losses: losses.count("+"))
        above: dict[str, dict[int, float]] = {}
        for losses, measures in by_losses.items():
            first = part.iloc[0]
            about = {k: first[k] for k in ("dataset", "split", "heads", "exemplars")}
            for measure, values in measures.items():
                row = {"row": name, **about, "losses": losses, "measure": measure}
                settings = study.datasets[str(first["dataset"])]
                if settings.kind == PAPER_KIND and losses in PAPER:
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
    number = dict(zip(PAPER_MEASURES, PAPER[losses], strict=True)).get(measure)
    return number if measure == "average" or steps == (5, 3, 3, 3, 3, 3) else None


def markdown(table: pd.DataFrame) -> tuple[Sequence[str], list[list[str]]]:
    """A line per loss set: accuracy at each step, averages, differences of the average."""
    measures = in_order(table["measure"])
    header = [
        "dataset", "heads", "K", "losses", *measures, "average: to the row above",
        "average: to all four", "the paper's average",
    ]  # fmt: skip
    lines = []
    for (_, losses), part in table.groupby(["row", "losses"], sort=False):
        cells = {
            row["measure"]: with_ci(row["mean"], row["low"], row["high"], row["n"])
            for _, row in part.iterrows()
        }
        average = part[part["measure"] == "average"].iloc[0]
        about = [str(average[k]) for k in ("dataset", "heads", "exemplars")]
        gaps = [gap_text(average, prefix) for prefix in ("above_", "full_")]
        paper = average.get("paper")
        lines.append(
            [
                *about,
                str(losses),
                *(cells.get(m, "") for m in measures),
                *gaps,
                "" if pd.isna(paper) else f"{paper:.2f}",
            ]
        )
    return header, lines


def draw(table: pd.DataFrame) -> Figure:
    """A panel per row: average of each loss set with its 95 % CI, the paper's as grey marks."""
    panels = list(table[table["measure"] == "average"].groupby("row", sort=False))
    figure, axes = new_figure(len(panels), height=3.2)
    for axis, (_, part) in zip(axes, panels, strict=True):
        for i, (_, line) in enumerate(part.iterrows()):
            low, high = line["mean"] - line["low"], line["high"] - line["mean"]
            axis.errorbar(
                line["mean"], i, xerr=[[low], [high]], fmt=MARKERS[0], color=OTHERS[0], capsize=3
            )
            paper = line.get("paper")
            if pd.notna(paper):
                label = "paper: 20 words, K = 200" if i == 0 else None
                axis.plot(
                    paper, i, marker="|", markersize=12, color=style.PAPER, label=label, ls=""
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
