"""Tables of records: tidy CSV files, written by stages and read by tables and figures.

`<stage>/<dataset>.csv` has a row per run and step. Stages with incremental steps also write
`<dataset>.matrix.csv` (accuracy matrices) and `<dataset>.confusion.csv` (confusion counts).
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mtcil.core.errors import UserError
from mtcil.core.files import write_text
from mtcil.records.rows import IDENTITY, TABLES, Rows, confusion_from_text
from mtcil.settings.sections import require

MAX_CLIPS = 10_000_000  # of a test set; a larger count is damage
# The columns of each table, in order, and their types. For stages of incremental steps:
_RUN = dict.fromkeys(IDENTITY, "str") | {"exemplars": "int64", "seed": "int64"}
_STEP = _RUN | dict.fromkeys(("step", "classes_seen"), "int64")
_MEASURES = ("accuracy", "class_accuracy", "macro_f1", "old_accuracy", "new_accuracy")
_BYTES = ("memory_bytes", "state_bytes", "validation_bytes", "teacher_bytes")
_KEY = {"key": "str"}
_STEP_TABLES = {
    "records": _STEP
    | dict.fromkeys(_MEASURES, "float64")
    | {"updates": "int64", "phases": "str", "clips_passed": "int64", "diverged": "int64"}
    | dict.fromkeys(_BYTES, "int64")
    | _KEY,
    "matrix": _STEP | {"of_step": "int64", "accuracy": "float64"} | _KEY,
    "confusion": _STEP | {"counts": "str"} | _KEY,
}
_BASE = dict.fromkeys(("dataset", "split", "base", "heads", "passes", "control"), "str")
SPLIT_COUNTS = ("train_clips", "test_clips", "validation_clips", "leaking_test_clips")
# For other stages:
_TABLES = {
    "train_base": _BASE
    | {"seed": "int64", "updates": "int64"}
    | dict.fromkeys(SPLIT_COUNTS, "int64")
    | _KEY,
    "probe_base": _BASE
    | {"probe": "str", "seed": "int64", "scope": "str"}
    | dict.fromkeys(("step", "classes_seen"), "int64")
    | {"accuracy": "float64", "bytes": "int64"}
    | _KEY,
    "time_heads": {"dataset": "str", "device": "str", "clips": "int64", "heads": "str"}
    | {"passes": "str", "round": "int64", "seconds": "float64", "cpu_seconds": "float64"},
}


def file_of(folder: Path, dataset: str, table: str = "records") -> Path:
    """The file of one table of a stage.

    Args:
        folder: of the stage.
    """
    return folder / (f"{dataset}.csv" if table == "records" else f"{dataset}.{table}.csv")


def columns_of(stage: str, table: str = "records") -> dict[str, str]:
    """Columns of a stage's table and their types."""
    return _TABLES.get(stage, _STEP_TABLES[table])


def write_table(
    path: Path, rows: Iterable[Mapping[str, Any]], columns: Iterable[str] | None = None
) -> None:
    """Write rows as CSV, atomically; numbers have four decimals, so that the bytes are the same.

    Args:
        columns: in their order; an empty table still gets its header.
    """
    table = pd.DataFrame(list(rows), columns=None if columns is None else list(columns))
    write_text(path, table.to_csv(index=False, float_format="%.4f", lineterminator="\n"))


def write_records(
    folder: Path, dataset: str, rows: Iterable[Mapping[str, Any]], table: str = "records"
) -> None:
    """Write a stage's records of one dataset.

    Args:
        folder: of the stage; it has the stage's name.
    """
    write_table(file_of(folder, dataset, table), rows, columns_of(folder.name, table))


def write_markdown(
    path: Path, header: Sequence[str], rows: Iterable[Sequence[str]], caption: str = ""
) -> None:
    """Write a Markdown table, whole or not at all, below its caption."""
    lines = [header, ["---"] * len(header), *rows]
    texts = ["| " + " | ".join(cell.replace("|", r"\|") for cell in line) + " |" for line in lines]
    write_text(path, "\n".join([caption, ""] * bool(caption) + texts) + "\n")


def read_markdown(path: Path) -> tuple[str, list[list[str]]]:
    """The caption, and the header and rows, that `write_markdown` was given.

    Raises:
        OSError, ValueError: the file cannot be read, e.g. it is not valid UTF-8.
    """
    lines = path.read_text("utf-8").splitlines()
    rows = [line for line in lines if line.startswith("| ")]
    del rows[1:2]  # the line below the header
    cells = [f"{row[2:]} ".split(" | ")[:-1] for row in rows]  # in a cell it is written \|
    caption = " ".join(line for line in lines if not line.startswith("| "))
    return caption.strip(), [[cell.replace(r"\|", "|") for cell in row] for row in cells]


def read_records(folder: Path, dataset: str, table: str = "records") -> pd.DataFrame:
    """Read a stage's records of one dataset.

    Args:
        folder: of the stage; it has the stage's name.

    Raises:
        UserError: if they are missing or damaged: a missing column or step, a wrong type, or
            another dataset.
    """
    file, types = file_of(folder, dataset, table), columns_of(folder.name, table)
    try:
        with np.errstate(invalid="raise"):  # a number too large for its column
            records = pd.read_csv(file, dtype=types, keep_default_na=False, na_values=[""])
        _check_table(records, types, dataset)
    except FileNotFoundError as error:
        raise UserError(
            f"{file}: there is no such file. Make it: dvc repro {folder.name}@{dataset}."
        ) from error
    except (OSError, ValueError, TypeError, ArithmeticError) as error:
        text = f"{' '.join(str(error).split()):.300}"
        raise UserError(
            f"{file}: the records cannot be read ({text}). Delete the file, then make it again: "
            f"dvc repro {folder.name}@{dataset}."
        ) from error
    return records


def _check_table(table: pd.DataFrame, types: Mapping[str, str], dataset: str) -> None:
    """Raise ValueError if the table is damaged."""
    missing = [name for name in types if name not in table]
    require(not missing, f"no column {', '.join(missing)}")
    if table.empty:
        return
    names = [name for name in (*IDENTITY, "key") if name in types]
    require(bool(table[names].notna().all(axis=None)), f"an empty field in {', '.join(names)}")
    require((table["dataset"] == dataset).all(), f"runs of a dataset other than {dataset}")
    if "accuracy" in table:
        require(table["accuracy"].between(0, 100).all(), "an accuracy is not between 0 and 100")
    if "step" in table:
        require(_has_all_steps(table), "not every run has each step once")
    if "counts" in table:
        for text, n_seen in zip(table["counts"].fillna(""), table["classes_seen"], strict=True):
            counts = confusion_from_text(text)
            right = counts.shape == (n_seen, n_seen) and counts.min() >= 0
            require(right and counts.sum() <= MAX_CLIPS, f"impossible counts: {text!r:.80}")


def _has_all_steps(table: pd.DataFrame) -> bool:
    """Whether every run has the same steps, each once, with the same classes, and one key.

    A file that was cut in its last line has a different key there.
    """
    alike = next((name for name in ("scope", "of_step") if name in table), "dataset")
    run = [name for name in (*IDENTITY, "probe") if name in table]
    if table.groupby([alike, "step"])["classes_seen"].nunique().max() != 1:
        return False
    of_run = table.groupby(run)
    one_key = of_run["key"].nunique().max() == 1
    has_each = of_run[alike].nunique().min() == table[alike].nunique()
    if not (one_key and has_each):
        return False
    runs = table.groupby(list(dict.fromkeys((alike, *run))))["step"].agg(["size", "nunique"])
    ends = table.groupby(alike)["step"].agg(["min", "max"])
    n_steps = (ends["max"] - ends["min"] + 1).loc[runs.index.get_level_values(alike)].to_numpy()
    return bool((runs["size"] == n_steps).all() and (runs["nunique"] == n_steps).all())


def known_runs(folders: Iterable[Path], dataset: str) -> dict[str, Rows]:
    """Records of all finished runs of a dataset by key; damaged tables count as empty.

    A run's key covers everything that its result depends on, so any stage may have learnt it.

    Args:
        folders: of stages of incremental steps.
    """
    known: dict[str, Rows] = {}
    for folder in folders:
        try:
            tables = {name: read_records(folder, dataset, name) for name in TABLES}
        except UserError:
            continue
        by_key = {}
        for name, table in tables.items():
            row = [column for column in ("key", "step", "of_step") if column in table]
            runs = table.drop_duplicates(row).groupby("key")  # one of equal runs
            by_key[name] = {str(key): rows.to_dict("records") for key, rows in runs}
        for key in set.intersection(*map(set, by_key.values())):
            known[key] = {name: by_key[name][key] for name in TABLES}
    return known


def read_stage(
    records_dir: Path, stage: str, datasets: Iterable[str], table: str = "records"
) -> pd.DataFrame:
    """The records of a stage for several datasets in one table; empty if there are none.

    Args:
        datasets: keys of the stage's section of params.yaml.

    Raises:
        UserError: as `read_records`.
    """
    tables = [read_records(records_dir / stage, dataset, table) for dataset in datasets]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def by_seed(runs: pd.DataFrame) -> dict[int, list[float]]:
    """Step accuracies of each seed of one variant, in percent, in the order of the steps."""
    ordered = runs.sort_values(["seed", "step"])
    return {int(seed): run["accuracy"].tolist() for seed, run in ordered.groupby("seed")}


def headline_runs(records: pd.DataFrame, dataset: str, base: str) -> pd.DataFrame:
    """The runs from one base model of a dataset, on the first split of the dataset."""
    if records.empty:
        return records
    runs = records[records["dataset"] == dataset]
    on_first = runs[runs["split"].isin(runs["split"].head(1))]
    return on_first[on_first["base"] == base]
