"""Files of tables: what `summarise` writes is what `draw_figures` reads, for every table."""

import functools
import io
import shutil
from pathlib import Path

import pandas as pd
import pytest
from refused import refusal
from tiny_study import files_in, run_stage

from mtcil.core.errors import UserError
from mtcil.core.lookup import find, names
from mtcil.records.tables import read_stage
from mtcil.reporting.table_files import TEXT, Page, read_table, write_tables
from mtcil.settings.files import read_study

ROOT = Path(__file__).resolve().parents[2]
STUDIES = [ROOT / folder for folder in ("demo", "studies/arabic_words", "studies/ten_words")]
PAGE = Page(["a"], [["b"]])
ROWS = pd.DataFrame(
    {
        "dataset": ["gsc", "NA", "007"], "heads": ["5", "5", "5"], "measure": ["05", "08", "11"],
        "n": [3, 2, 1], "mean": [1.5, 2.25, 1 / 3], "gain_n": [2.0, None, None],
        "paper": [None, None, None],
    }
)  # fmt: skip


@functools.cache
def tables_of(folder: Path) -> dict[str, pd.DataFrame]:
    """All tables of a study from its records, as `summarise` makes them."""
    study, tables = read_study(folder / "params.yaml"), {}
    for name in names("tables"):
        of = find("tables", name)
        rows = getattr(study, of.SECTION)
        records = read_stage(folder / "metrics" / "records", of.STAGE, rows, of.RECORDS)
        table = of.table(study, records)
        tables |= {name: table} if len(table) else {}
    return tables


@pytest.fixture(scope="module", params=STUDIES, ids=lambda folder: folder.name)
def written(request, tmp_path_factory):
    """The tables of a study, and a folder with their files."""
    tables, folder = tables_of(request.param), tmp_path_factory.mktemp("tables")
    write_tables(folder, tables, dict.fromkeys(tables, PAGE))
    return tables, folder


def printed(table: pd.DataFrame) -> pd.DataFrame:
    """A table with the four decimals of its file."""
    table = table.reset_index(drop=True)
    numbers = table.drop(columns=[name for name in table if name in TEXT])
    for name, values in numbers.items():
        if values.dtype != "int64":  # float64, or object where all are None
            table[name] = [float("nan") if pd.isna(v) else float(f"{v:.4f}") for v in values]
    return table


def test_a_table_is_read_back_as_it_was_written(tmp_path):
    write_tables(tmp_path, {"x": ROWS}, {"x": PAGE})
    found = read_table(tmp_path, "x")
    assert found["dataset"].tolist() == ["gsc", "NA", "007"]
    assert found["heads"].tolist() == ["5"] * 3 and found["measure"].tolist() == ["05", "08", "11"]
    assert found["mean"].tolist() == [1.5, 2.25, 0.3333]
    assert found["n"].dtype == "int64" and found["gain_n"].isna().tolist() == [False, True, True]
    assert found["paper"].isna().all()


def test_every_table_of_the_studies_is_read_back_as_it_was_written(written):
    tables, folder = written
    assert len(tables) > 10
    for name, table in tables.items():
        pd.testing.assert_frame_equal(read_table(folder, name), printed(table), obj=name)


@pytest.mark.slow
def test_the_picture_of_a_table_that_was_read_is_that_of_the_table(written):
    tables, folder = written
    for name in names("figures"):
        if name in tables:
            draw = find("figures", name).draw
            assert png(draw(read_table(folder, name))) == png(draw(printed(tables[name]))), name


def png(figure) -> bytes:
    stream = io.BytesIO()
    figure.savefig(stream, format="png", metadata={"Software": None})
    return stream.getvalue()


@pytest.mark.parametrize(
    ("column", "values", "says"),
    [
        (
            "colour",
            ["red", "blue", "red"],
            "column colour must hold numbers only; name a new column",
        ),
        ("n", [3, "2", 1], "column n must hold numbers only"),
        ("heads", [5, 5, 5], "column heads must hold text in every row"),
        ("heads", ["5", None, "5"], "column heads must hold text in every row"),
        ("heads", ["5", "", "5"], "column heads must hold text in every row"),
    ],
)
def test_a_column_of_another_kind_than_its_name_says_is_not_written(tmp_path, column, values, says):
    tables = {"y": ROWS, "x": ROWS.assign(**{column: values})}
    with pytest.raises(ValueError, match=says):
        write_tables(tmp_path, tables, dict.fromkeys(tables, PAGE))
    assert files_in(tmp_path) == {}


def test_every_column_of_text_is_in_a_table():
    used = {name for folder in STUDIES for table in tables_of(folder).values() for name in table}
    assert used >= TEXT


def test_tables_of_earlier_runs_are_removed_and_other_files_stay(tmp_path):
    write_tables(tmp_path, {"x": ROWS, "y": ROWS}, {"x": PAGE, "y": PAGE})
    for name in ("README.md", "notes.txt"):
        (tmp_path / name).write_text("mine")
    write_tables(tmp_path, {"x": ROWS}, {"x": PAGE})
    assert set(files_in(tmp_path)) == {"x.csv", "x.md", "README.md", "notes.txt"}
    write_tables(tmp_path, {}, {})
    assert set(files_in(tmp_path)) == {"README.md", "notes.txt"}


@pytest.mark.parametrize(
    "text",
    [
        "", "dataset,n\ngsc,many\n", "dataset,n\n,3\n", "dataset,split,n\n=======\n",
        "<<<<<<< HEAD\ndataset,n\ngsc,3\n",
    ],
)  # fmt: skip
def test_a_damaged_table_is_refused_by_name(tmp_path, text):
    (tmp_path / "x.csv").write_text(text)
    with pytest.raises(UserError, match=r"x\.csv: the table cannot be read \(.*dvc repro summ"):
        read_table(tmp_path, "x")


def test_a_table_that_the_study_has_not_is_empty_and_no_folder_is_an_error(tmp_path):
    assert read_table(tmp_path, "x").empty
    with pytest.raises(UserError, match=r"tables: there is no such folder\. Make it: dvc repro"):
        read_table(tmp_path / "tables", "x")


@pytest.fixture
def study(tmp_path):
    """The demo's tables and pictures, to change."""
    for name in ("params.yaml", "metrics", "plots"):
        source = ROOT / "demo" / name
        copy = shutil.copytree if source.is_dir() else shutil.copyfile
        copy(source, tmp_path / name)
    text = (tmp_path / "params.yaml").read_text("utf-8")
    text = text.replace("root: ..", "root: .").replace("../settings", f"{ROOT}/settings")
    (tmp_path / "params.yaml").write_text(text, "utf-8")
    return tmp_path


@pytest.mark.slow
def test_pictures_follow_the_tables_and_other_files_stay(study):
    for name in ("leakage.csv", "leakage.md"):
        (study / "metrics" / "tables" / name).unlink()
    table = study / "metrics" / "tables" / "ledger.csv"
    table.write_text(table.read_text("utf-8").replace(",ccil,", ",another,"), "utf-8")
    (study / "plots" / "mine.png").write_bytes(b"mine")
    before = files_in(study / "plots")
    done = run_stage(study, "draw_figures")
    assert (done.returncode, done.stderr) == (0, "")
    after = files_in(study / "plots")
    assert set(before) - set(after) == {"leakage.png"} and set(after) <= set(before)
    assert {name for name in after if after[name] != before[name]} == {"ledger.png"}


def test_pictures_of_a_damaged_table_are_not_drawn(study):
    file = study / "metrics" / "tables" / "steps.csv"
    file.write_bytes(file.read_bytes()[:-60])
    assert "steps.csv: the table cannot be read" in refusal(study, "draw_figures")
