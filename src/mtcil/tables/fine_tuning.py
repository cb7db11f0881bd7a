"""Fine-tuning (section 3.3): two steps, one cosine rate, or a small rate; and when to stop.

Every schedule runs with early stopping and with fixed numbers of epochs, from the same base models,
so that differences are paired: to two-step fine-tuning with early stopping, and to two-step
fine-tuning of the same epochs. An epoch is one pass over the training clips of a step's new
classes. Its updates are counted as if each class had `clips_per_class` clips: where a class has
fewer, it is more than one pass.
"""

from collections.abc import Sequence

import pandas as pd

from mtcil.reporting.columns import by_measure, row_of
from mtcil.reporting.style import SCHEDULES, base_text, gap_text, with_ci
from mtcil.settings.study import Study

STAGE, SECTION, RECORDS = "sweep_epochs", "epoch_sweeps", "records"
UPDATES = "updates of a step"
KEYS = ["dataset", "split", "base", "heads"]


def table(study: Study, records: pd.DataFrame) -> pd.DataFrame:
    """A row per schedule, end and measure: mean, CI, and paired differences to two steps.

    Measures are the classes seen, both averages, and old and new accuracy after the last step.
    """
    if records.empty:
        return records
    rows = []
    for key, part in records.groupby(KEYS, sort=False):
        variants = {
            (str(schedule), str(stopping)): by_measure(runs) | _last(runs)
            for (schedule, stopping), runs in part.groupby(["schedule", "stopping"], sort=False)
        }
        paper = variants.get(("two_step", "early"), {})
        for (schedule, stopping), measures in variants.items():
            row = dict(zip(KEYS, key, strict=True))
            row |= {"schedule": schedule, "stopping": stopping}
            others = paper if measures is not paper else {}
            same = variants.get(("two_step", stopping), {}) if schedule != "two_step" else {}
            rows += [
                row_of(
                    {**row, "measure": name},
                    values,
                    gain=others.get(name, {}),
                    same=same.get(name, {}),
                )
                for name, values in measures.items()
            ]
    return pd.DataFrame(rows)


def _last(runs: pd.DataFrame) -> dict[str, dict[int, float]]:
    """By seed: old and new accuracy after the last step, and the mean updates of a step."""
    last = runs[runs["step"] == runs["step"].max()].set_index("seed")
    updates = runs[runs["step"] > 0].groupby("seed")["updates"].mean()
    return {
        "old, last step": last["old_accuracy"].to_dict(),
        "new, last step": last["new_accuracy"].to_dict(),
        UPDATES: updates.to_dict(),
    }


def markdown(table: pd.DataFrame) -> tuple[Sequence[str], list[list[str]]]:
    """A line per schedule and end: average, its difference, old and new after the last step."""
    header = [
        "dataset", "split", "base model", "schedule", "epochs", UPDATES, "average",
        "against two steps, early stopping (p uncorrected)",
        "against two steps, same epochs (p uncorrected)", "old, last step", "new, last step",
    ]  # fmt: skip
    lines = []
    for key, part in table.groupby([*KEYS, "schedule", "stopping"], sort=False):
        dataset, split, *_, schedule, stopping = map(str, key)
        by_name = part.set_index("measure")
        average = by_name.loc["average"]
        lines.append(
            [
                dataset, split, base_text(average), SCHEDULES[schedule],
                "early stopping" if stopping == "early" else stopping,
                f"{by_name.loc[UPDATES, 'mean']:.0f}",
                with_ci(average),
                gap_text(average, "gain_"),
                gap_text(average, "same_"),
                *(with_ci(by_name.loc[m]) for m in ("old, last step", "new, last step")),
            ]
        )  # fmt: skip
    return header, lines
