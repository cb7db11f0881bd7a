"""The files of a study's tables: `summarise` writes them, figures and the report read them back.

CSV has no types, so column names decide: columns in TEXT hold text in every table, all others
numbers. This is checked when a table is written and when it is read.
"""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import pandas as pd
from pandas.api.types import is_numeric_dtype

from mtcil.core.errors import UserError
from mtcil.records.tables import read_markdown, write_markdown, write_table
from mtcil.settings.sections import require

OF_TWO_SEEDS = (
    "Where there are two seeds (n 2) the values of both stand in brackets instead of an interval, "
    "which would be 13 times as wide as they are apart."
)
# As in records: heads "5" and stopping "15" are no numbers; `measure` is e.g. "05" or "average".
TEXT = frozenset(
    (
        *("dataset", "split", "base", "heads", "passes", "control", "method", "losses"),
        *("schedule", "stopping", "probe", "device", "measure"),
        *("class", "true_class", "predicted_class"),
    )
)


class Page(NamedTuple):
    """A table for people: `<name>.md`."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""


def page_of(of: ModuleType, table: pd.DataFrame) -> Page:
    """The page of a table.

    Args:
        of: its file in mtcil/tables, whose docstring is the caption.
    """
    header, rows = of.markdown(table)
    caption = " ".join((of.__doc__ or "").split())
    if any("n 2)" in cell for row in rows for cell in row):
        caption += f" {OF_TWO_SEEDS}"
    return Page(header, rows, caption)


def write_tables(
    folder: Path, tables: Mapping[str, pd.DataFrame], pages: Mapping[str, Page]
) -> None:
    """Write each table as `<name>.csv` and `<name>.md`, and remove the tables of earlier runs.

    Args:
        pages: each table's page.

    Raises:
        ValueError: as in `check_columns`, before anything is written.
    """
    for table in tables.values():
        check_columns(table)
    folder.mkdir(parents=True, exist_ok=True)
    for name, table in tables.items():
        write_table(folder / f"{name}.csv", table.to_dict("records"))
        page = pages[name]
        write_markdown(folder / f"{name}.md", page.header, page.rows, page.caption)
    for file in folder.glob("*.csv"):
        if file.stem not in tables:
            file.with_suffix(".md").unlink(missing_ok=True)
            file.unlink()


def read_table(folder: Path, name: str) -> pd.DataFrame:
    """Read a table, with four decimals; empty if the study does not have it.

    Raises:
        UserError: if `summarise` has not run, or the table is damaged.
    """
    file = folder / f"{name}.csv"
    if not folder.is_dir():
        raise UserError(f"{folder}: there is no such folder. Make it: dvc repro summarise.")
    if not file.exists():
        return pd.DataFrame()
    with _explained(file, "table"):
        table = _read_csv(file, dict.fromkeys(TEXT, "str"))
        check_columns(table)
    return table


def read_pages(folder: Path) -> dict[str, Page]:
    """The pages of all tables, as `write_tables` wrote them.

    Raises:
        UserError: one is missing or damaged.
    """
    files = sorted(folder.glob("*.csv"))
    return {file.stem: _read_page(file.with_suffix(".md")) for file in files}


def _read_page(file: Path) -> Page:
    with _explained(file, "table"):
        caption, found = read_markdown(file)
        require(len(found) > 1 and len({len(row) for row in found}) == 1, "not every row is whole")
    return Page(found[0], found[1:], caption)


def read_claims(file: Path) -> pd.DataFrame:
    """The ledger of claims, as `summarise` wrote it.

    Raises:
        UserError: it is missing or damaged.
    """
    types = dict.fromkeys(("id", "source", "claim", "dataset", "split", "verdict", "where"), "str")
    with _explained(file, "claims"):
        claims = _read_csv(file, types)
        missing = {*types, "paper", "ours", "n", "low", "high", "p_value"} - set(claims)
        require(not missing, f"no column {', '.join(sorted(missing))}")
    return claims


@contextmanager
def _explained(file: Path, what: str) -> Iterator[None]:
    """Damage inside becomes a UserError that says what to do."""
    try:
        yield
    except (OSError, ValueError) as error:
        text = f"{' '.join(str(error).split()):.300}"
        raise UserError(
            f"{file}: the {what} cannot be read ({text}). Delete the file, then make it again: "
            "dvc repro summarise."
        ) from error


def _read_csv(file: Path, types: Mapping[str, str]) -> pd.DataFrame:
    _check_rows(file.read_text("utf-8"))
    return pd.read_csv(file, dtype=types, keep_default_na=False, na_values=[""])


def _check_rows(text: str) -> None:
    """Raise ValueError if a row is incomplete: pandas would fill in missing fields."""
    sizes = {len(row) for row in csv.reader(io.StringIO(text))}
    require(len(sizes) == 1 and text.endswith("\n"), "not every row is whole")


def check_columns(table: pd.DataFrame) -> None:
    """Check that columns in TEXT hold non-empty text, and all others numbers or empty fields.

    Raises:
        ValueError: if one does not; the message says what to do.
    """
    for name, values in table.items():
        if name in TEXT:
            is_text = all(isinstance(value, str) and value for value in values)
            require(is_text, f"column {name} must hold text in every row")
        else:
            is_number = is_numeric_dtype(values) or values.isna().all()
            more = "name a new column of text in mtcil.reporting.table_files.TEXT"
            require(is_number, f"column {name} must hold numbers only; {more}")
