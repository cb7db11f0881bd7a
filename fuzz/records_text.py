"""Any text as a table of records: tables and figures are made of it, or our own error."""

import functools
import random
import tempfile
import warnings
from pathlib import Path

import pandas as pd
from mutations import mutated

from mtcil.curves import confusion_rows, exemplar_curve, step_curve
from mtcil.errors import UserError
from mtcil.lookup import find, names
from mtcil.results import by_seed, confusion_from_text, headline_runs, read_stage
from mtcil.study import Study, read_study

MAX_BYTES = 8 * 1024  # of an input
DEMO = Path(__file__).resolve().parents[1] / "demo"
TABLES = ("records", "matrix", "confusion")
ROW = "words_4-3-2"
ODD = (b"", b"nan", b"-1", b"1e999", b"abc", b"0", b"9" * 25, b"3.5", b"1 2;3", b'"', b"\xff")


@functools.cache
def seeds() -> list[bytes]:
    """The demo's records, matrices and confusion counts."""
    folder = DEMO / "metrics" / "records" / "learn_steps" / ROW
    return [(folder / f"{name}.csv").read_bytes() for name in TABLES]


@functools.cache
def study() -> Study:
    return read_study(DEMO / "params.yaml")


def damaged(data: bytes, rng: random.Random) -> bytes:
    """Damage: odd cells, lines left out or twice, or to the text itself."""
    if rng.random() < 0.3:
        return mutated(data, seeds(), rng)
    lines = [line.split(b",") for line in data.split(b"\n")]
    for _ in range(rng.randint(1, 3)):
        line = rng.choice(lines)
        kind = rng.random()
        if kind < 0.7:
            line[rng.randrange(len(line))] = rng.choice(ODD)
        elif kind < 0.8 and len(lines) > 1:
            lines.remove(line)
        elif kind < 0.9:
            lines.insert(rng.randrange(len(lines)), list(line))
        else:
            line.append(rng.choice(ODD))
    return b"\n".join(b",".join(line) for line in lines)


def check(data: bytes) -> None:
    """Read `data` as each table of records and do what the stages do with it."""
    with tempfile.TemporaryDirectory() as folder:
        rows, at = {ROW: study().base_models[ROW]}, Path(folder, "learn_steps", ROW)
        at.mkdir(parents=True)
        for name in TABLES:
            (at / f"{name}.csv").write_bytes(data)
        for name in TABLES:
            try:
                records = read_stage(Path(folder), "learn_steps", rows, name)
            except UserError as error:
                assert len(str(error)) < 3000, "a message for people is short"
                continue
            with warnings.catch_warnings():  # the average of runs without incremental steps is nan
                warnings.simplefilter("ignore", RuntimeWarning)
                use(name, records)


def use(name: str, records: pd.DataFrame) -> None:
    """What summarise and draw_figures do first with a table of records."""
    if name == "confusion":
        for text in records["counts"]:
            confusion_from_text(text)
        confusion_rows(headline_runs(records, "words", "4-3-2"))
    elif name == "records":
        by_seed(records)
        runs = headline_runs(records, "words", "4-3-2")
        step_curve(runs), exemplar_curve(runs)
    for figure in map(functools.partial(find, "figures"), names("figures")):
        if figure.STAGE == "learn_steps" and name == figure.RECORDS:
            table = figure.table(study(), records)
            if len(table):
                figure.markdown(table)
