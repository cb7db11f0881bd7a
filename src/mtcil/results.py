"""Records: tidy tables of what came out, written by stages and read by tables and figures."""

from collections.abc import Iterable, Mapping, Sequence
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
from mtcil.settings import need

IDENTITY = (
    "dataset", "split", "heads", "passes", "control", "method", "losses", "schedule", "stopping",
    "exemplars", "seed",
)  # fmt: skip
VARIANT = IDENTITY[:-1]  # all but the seed
MAX_CLIPS = 10_000_000  # of a test set; more are no count but damage
# What a table of records must hold, and of which type. Of a stage of incremental steps:
_STEP = dict.fromkeys(IDENTITY, "str") | dict.fromkeys(
    ("exemplars", "seed", "step", "classes_seen"), "int64"
)
_MEASURES = ("accuracy", "class_accuracy", "macro_f1", "old_accuracy", "new_accuracy")
_COSTS = ("epochs", "memory_bytes", "state_bytes", "validation_bytes", "teacher_bytes")
_STEP_TABLES = {
    "records": _STEP
    | dict.fromkeys(_MEASURES, "float64")
    | dict.fromkeys(_COSTS, "int64")
    | {"phases": "str"},
    "matrix": _STEP | {"of_step": "int64", "accuracy": "float64"},
    "confusion": _STEP | {"counts": "str"},
}
_BASE = dict.fromkeys(("dataset", "split", "heads", "passes", "control"), "str")
_CLIPS = ("train_clips", "test_clips", "validation_clips", "leaking_test_clips")
# Of the other stages:
_TABLES = {
    "train_base": _BASE | dict.fromkeys(("seed", "epochs", *_CLIPS), "int64"),
    "probe_base": _BASE
    | {"probe": "str", "scope": "str", "accuracy": "float64"}
    | dict.fromkeys(("seed", "step", "classes_seen", "bytes"), "int64"),
    "time_heads": dict.fromkeys(("dataset", "device", "heads", "passes"), "str")
    | dict.fromkeys(("clips", "round"), "int64")
    | dict.fromkeys(("seconds", "cpu_seconds"), "float64"),
}


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

    Args:
        folder: of a row, in the folder of its stage.

    Raises:
        UserError: it is missing or damaged: not all columns, not of their types, no rows, or
            a run that lacks a step.
    """
    file = folder / f"{name}.csv"
    types = _TABLES.get(folder.parent.name, _STEP_TABLES[name])
    try:
        with np.errstate(invalid="raise"):  # a number too large for its column
            table = pd.read_csv(file, dtype=types, keep_default_na=False, na_values=[""])
        _check_table(table, types)
    except (OSError, ValueError, ArithmeticError) as error:
        text = f"{' '.join(str(error).split()):.300}"
        raise UserError(
            f"{file}: the records cannot be read ({text}). Make them again: dvc repro."
        ) from error
    return table


def _check_table(table: pd.DataFrame, types: dict[str, str]) -> None:
    """Raises ValueError where the table does not hold what it must."""
    missing = [name for name in types if name not in table]
    need(not missing, f"no column {', '.join(missing)}")
    need(len(table) > 0, "no rows")
    about = [name for name in IDENTITY if name in types]
    need(bool(table[about].notna().all(axis=None)), f"an empty field in {', '.join(about)}")
    if "accuracy" in table:
        need(table["accuracy"].between(0, 100).all(), "an accuracy is not 0 to 100")
    need((table["dataset"] == table["dataset"].iloc[0]).all(), "runs of more than one dataset")
    if "step" in table:
        need(_has_all_steps(table), "not every run has each step once")
    if "counts" in table:
        for text, n_seen in zip(table["counts"].fillna(""), table["classes_seen"], strict=True):
            counts = confusion_from_text(text)
            right = counts.shape == (n_seen, n_seen) and counts.min() >= 0
            need(right and counts.sum() <= MAX_CLIPS, f"counts that cannot be: {text!r:.80}")


def _has_all_steps(table: pd.DataFrame) -> bool:
    """Whether every run has the steps that others have, each once, and the same classes in it."""
    alike = next((name for name in ("scope", "of_step") if name in table), "dataset")
    about = [name for name in dict.fromkeys((alike, *IDENTITY, "probe")) if name in table]
    if table.groupby([alike, "step"])["classes_seen"].nunique().max() != 1:
        return False
    runs = table.groupby(about)["step"].agg(["size", "nunique"])
    ends = table.groupby(alike)["step"].agg(["min", "max"])
    n_steps = (ends["max"] - ends["min"] + 1).loc[runs.index.get_level_values(alike)].to_numpy()
    return bool((runs["size"] == n_steps).all() and (runs["nunique"] == n_steps).all())


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
    records_dir: Path, stage: str, rows: Mapping[str, Any], name: str = "records"
) -> pd.DataFrame:
    """The records of all given rows of a stage in one table; leftovers of other rows are not read.

    The last column, `row`, names the row. Empty if there are no rows.

    Args:
        rows: a section of params.yaml; each row says its dataset.

    Raises:
        UserError: as `read_records`, or the records of a row are of another dataset.
    """
    tables = []
    for row, about in rows.items():
        table = read_records(records_dir / stage / row, name)
        found = table["dataset"].iloc[0]
        if found != about.dataset:
            raise UserError(
                f"{records_dir / stage / row / name}.csv: holds records of {found}, but the row "
                f"is of {about.dataset} now. Make them again: dvc repro."
            )
        tables.append(table.assign(row=row))
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
