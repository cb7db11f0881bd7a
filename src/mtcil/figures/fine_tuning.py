"""What section 3.3 says of fine-tuning: two steps, one cosine rate, a small rate; and when to end.

Every schedule with early stopping and with fixed numbers of epochs, from the same base models,
so that differences to two-step fine-tuning with early stopping are paired.
"""

from collections.abc import Sequence

import pandas as pd
from matplotlib.figure import Figure

from mtcil.reporting.columns import by_measure, named
from mtcil.reporting.inference import estimate, paired_by_seed
from mtcil.reporting.style import MARKERS, OTHERS, SINGLE, gap_text, new_figure, with_ci
from mtcil.settings.study import Study

STAGE, SECTION, RECORDS = "sweep_epochs", "epoch_sweeps", "records"
NAMES = {
    "two_step": "two steps",
    "cosine": "all layers, cosine from the large rate",
    "small": "all layers, small rate",
}
UPDATES = "updates of a step"
KEYS = ["dataset", "split", "base", "heads"]


def table(study: Study, records: pd.DataFrame) -> pd.DataFrame:
    """A row per schedule, end and measure: mean, CI, and the paired difference to the paper's way.

    Measures are the classes seen, both averages, and old and new accuracy after the last step.
    """
    if records.empty:
        return records
    rows = []
    for about, part in records.groupby(KEYS, sort=False):
        variants = {
            (str(schedule), str(stopping)): by_measure(runs) | _last(runs)
            for (schedule, stopping), runs in part.groupby(["schedule", "stopping"], sort=False)
        }
        paper = variants.get(("two_step", "early"), {})
        for (schedule, stopping), measures in variants.items():
            for measure, values in measures.items():
                row = dict(zip(KEYS, about, strict=True))
                row |= {"schedule": schedule, "stopping": stopping, "measure": measure}
                row |= named("", estimate(list(values.values())))
                gain = paired_by_seed(values, paper.get(measure, {}))
                if gain and measures is not paper:
                    row |= named("gain_", gain)
                rows.append(row)
    return pd.DataFrame(rows)


def _last(runs: pd.DataFrame) -> dict[str, dict[int, float]]:
    """Old and new accuracy of each seed after the last step, and the mean updates of a step."""
    last = runs[runs["step"] == runs["step"].max()].set_index("seed")
    updates = runs[runs["step"] > 0].dropna(subset="updates").groupby("seed")["updates"].mean()
    return {
        "old, last step": last["old_accuracy"].to_dict(),
        "new, last step": last["new_accuracy"].to_dict(),
        **({UPDATES: updates.astype(float).to_dict()} if len(updates) else {}),
    }


def markdown(table: pd.DataFrame) -> tuple[Sequence[str], list[list[str]]]:
    """A line per schedule and end: the average, its difference, old and new after the last step."""
    header = [
        "dataset", "heads", "schedule", "epochs", UPDATES, "average",
        "against two steps, early stopping", "old, last step", "new, last step",
    ]  # fmt: skip
    lines = []
    for about, part in table.groupby([*KEYS, "schedule", "stopping"], sort=False):
        dataset, _, _, heads, schedule, stopping = map(str, about)
        by_name = part.set_index("measure")
        average = by_name.loc["average"]
        lines.append(
            [
                dataset, heads, NAMES[schedule],
                "early stopping" if stopping == "early" else stopping,
                f"{by_name.loc[UPDATES, 'mean']:.0f}" if UPDATES in by_name.index else "",
                _text(average),
                gap_text(average, "gain_"),
                *(_text(by_name.loc[m]) for m in ("old, last step", "new, last step")),
            ]
        )  # fmt: skip
    return header, lines


def _text(row: pd.Series) -> str:
    return with_ci(row["mean"], row["low"], row["high"], int(row["n"]))


def draw(table: pd.DataFrame) -> Figure:
    """A panel per sweep: average incremental accuracy against the end, a line per schedule."""
    panels = list(table[table["measure"] == "average"].groupby(KEYS, sort=False))
    figure, axes = new_figure(len(panels), height=3.8)
    for axis, ((dataset, _, _, heads), part) in zip(axes, panels, strict=True):
        ends = list(dict.fromkeys(part["stopping"]))
        colours = (SINGLE, *OTHERS)
        for k, (schedule, line) in enumerate(part.groupby("schedule", sort=False)):
            at = [ends.index(stopping) + 0.08 * (k - 1) for stopping in line["stopping"]]
            bars = [line["mean"] - line["low"], line["high"] - line["mean"]]
            axis.errorbar(
                at, line["mean"], yerr=bars, color=colours[k], marker=MARKERS[k], capsize=3,
                label=NAMES[str(schedule)],
            )  # fmt: skip
        axis.set_xticks(range(len(ends)), ["early\nstopping" if e == "early" else e for e in ends])
        axis.set_xlabel("epochs of an incremental step (bars: 95 % CI)")
        axis.set_ylabel("average accuracy, %")
        axis.set_title(f"{dataset}, heads {heads}, n = {int(part['n'].min())} seeds")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center")
    return figure
