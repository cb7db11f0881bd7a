"""Records: tidy tables of what came out, written by stages and read by tables and figures."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mtcil.errors import UserError
from mtcil.files import write_text
from mtcil.metrics import (
    Confusion,
    accuracy_matrix,
    class_accuracy,
    group_accuracy,
    macro_f1,
    step_accuracy,
)

IDENTITY = (
    "dataset", "split", "heads", "passes", "control", "method", "losses", "schedule", "stopping",
    "exemplars", "seed",
)  # fmt: skip
VARIANT = IDENTITY[:-1]  # all but the seed
TEXT = dict.fromkeys(set(IDENTITY) - {"exemplars", "seed"}, str)


def write_table(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Write rows as CSV, whole or not at all; numbers with four decimals, so that bytes repeat."""
    text = pd.DataFrame(list(rows)).to_csv(index=False, float_format="%.4f", lineterminator="\n")
    write_text(path, text)


def write_markdown(path: Path, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Write a Markdown table, whole or not at all."""
    lines = ["| " + " | ".join(header) + " |", "| " + " | ".join("---" for _ in header) + " |"]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    write_text(path, "\n".join(lines) + "\n")


def read_records(folder: Path, name: str = "records") -> pd.DataFrame:
    """One table of records.

    Raises:
        UserError: it is missing or damaged.
    """
    file = folder / f"{name}.csv"
    try:
        return pd.read_csv(file, dtype=TEXT, na_filter=True)
    except (OSError, ValueError, UnicodeDecodeError) as error:
        raise UserError(
            f"{file}: the records cannot be read ({error}). Make them again: dvc repro."
        ) from error


def step_rows(
    identity: dict[str, Any], steps: Sequence[int], results: Sequence[Any]
) -> dict[str, list[dict[str, Any]]]:
    """The records of one run: a row per step, its accuracy matrix, its confusion counts.

    Args:
        identity: the columns that tell the run (`IDENTITY`).
        steps: classes per step.
        results: what came out of each step (`mtcil.trajectory.StepResult`).
    """
    ends = np.cumsum(steps)
    matrix = accuracy_matrix([result.confusion for result in results], steps)
    rows: dict[str, list[dict[str, Any]]] = {"records": [], "matrix": [], "confusion": []}
    for step, result in enumerate(results):
        n_seen = int(ends[step])
        n_old = n_seen - steps[step]
        about = {**identity, "step": step, "classes_seen": n_seen}
        measures = measures_of(result.confusion, n_old)
        costs = {
            "epochs": sum(result.epochs.values()),
            "phases": " ".join(f"{name}:{n}" for name, n in result.epochs.items()),
            "memory_bytes": result.memory_bytes,
            "state_bytes": result.state_bytes,
            "validation_bytes": result.validation_bytes,
            "teacher_bytes": result.teacher_bytes,
        }
        rows["records"].append({**about, **measures, **costs})
        rows["matrix"] += [
            {**about, "of_step": u, "accuracy": matrix[step, u]} for u in range(step + 1)
        ]
        rows["confusion"].append({**about, "counts": confusion_text(result.confusion)})
    return rows


def measures_of(confusion: Confusion, n_old: int) -> dict[str, float]:
    """The measures of one step, in percent; old-class accuracy is nan in the base step."""
    return {
        "accuracy": step_accuracy(confusion),
        "class_accuracy": class_accuracy(confusion),
        "macro_f1": macro_f1(confusion),
        "old_accuracy": group_accuracy(confusion, 0, n_old),
        "new_accuracy": group_accuracy(confusion, n_old, len(confusion)),
    }


def read_stage(
    records_dir: Path, stage: str, rows: Iterable[str], name: str = "records"
) -> pd.DataFrame:
    """The records of all given rows of a stage in one table; leftovers of other rows are not read.

    The last column, `row`, names the row. Empty if there are no rows.
    """
    tables = [read_records(records_dir / stage / row, name).assign(row=row) for row in rows]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def confusion_text(confusion: NDArray[np.int64]) -> str:
    """Counts as text: rows apart by `;`, counts by a space."""
    return ";".join(" ".join(str(count) for count in row) for row in confusion)


def confusion_from_text(text: str) -> NDArray[np.int64]:
    """The counts that `confusion_text` was given."""
    return np.array([[int(count) for count in row.split()] for row in text.split(";")])


def by_seed(runs: pd.DataFrame) -> dict[int, list[float]]:
    """Step accuracies of each seed of one variant, in percent, in the order of the steps."""
    ordered = runs.sort_values(["seed", "step"])
    return {int(seed): run["accuracy"].tolist() for seed, run in ordered.groupby("seed")}


def headline_runs(records: pd.DataFrame, dataset: str, heads: str) -> pd.DataFrame:
    """The runs of one heads setting: of its first row, where several rows have these heads."""
    if records.empty:
        return records
    runs = records[(records["dataset"] == dataset) & (records["heads"] == heads)]
    return runs[runs["row"] == runs["row"].iloc[0]] if len(runs) else runs
