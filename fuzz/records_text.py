"""Any text as a table of records: tables and figures are made of it, or our own error."""

import contextlib
import functools
import random
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from mutations import mutated

from mtcil.core.errors import UserError
from mtcil.core.lookup import find, names
from mtcil.learning.trajectory import StepResult
from mtcil.records.rows import TABLES, Run, confusion_from_text, step_rows
from mtcil.records.tables import (
    by_seed,
    file_of,
    known_runs,
    read_stage,
    write_records,
)
from mtcil.reporting.dvc_plots import confusion_rows, step_curve
from mtcil.reporting.table_files import check_columns
from mtcil.settings.files import read_study
from mtcil.settings.study import Study

MAX_BYTES = 8 * 1024  # of an input
DEMO = Path(__file__).resolve().parents[1] / "demo"
DATASET, STEPS = "words", (4, 2, 2)
BASES = {"single": "4", "multitask": "4-3-2"}
ODD = (b"", b"nan", b"-1", b"1e999", b"abc", b"0", b"9" * 25, b"3.5", b"1 2;3", b'"', b"\xff")


@functools.cache
def seeds() -> list[bytes]:
    """Records, matrices and confusion counts of four runs, as a stage writes them."""
    rows: dict[str, list[dict]] = {name: [] for name in TABLES}
    for k, (base, heads) in enumerate(BASES.items()):
        for seed in range(2):
            run = Run(
                *(DATASET, "random", base, heads, "separate", "none"),
                *("ccil", "CE_N+CE_O", "two_step", "early", 60, seed),
            )
            for name, made in step_rows(run, STEPS, _results(seed), f"{k}{seed}" * 8).items():
                rows[name] += made
    with tempfile.TemporaryDirectory() as folder:
        stage = Path(folder, "learn_steps")
        for name in TABLES:
            write_records(stage, DATASET, rows[name], name)
        return [file_of(stage, DATASET, name).read_bytes() for name in TABLES]


def _results(seed: int) -> list[StepResult]:
    """A result of each step: most clips of a class are right, some of another class."""
    results = []
    for n_seen in np.cumsum(STEPS):
        counts = np.eye(n_seen, dtype=np.int64) * 20 + np.arange(n_seen) % (3 + seed)
        updates = {"head_first": 3, "then_all": 5}
        bytes_kept = {"memory_bytes": 60 * 4096, "teacher_bytes": 9}
        results.append(StepResult(counts, updates, clips_passed=8 * 64, **bytes_kept))
    return results


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
        stage = Path(folder, "learn_steps")
        stage.mkdir()
        for name in TABLES:
            file_of(stage, DATASET, name).write_bytes(data)
        known_runs([stage], DATASET)
        for name in TABLES:
            try:
                records = read_stage(Path(folder), "learn_steps", [DATASET], name)
            except UserError as error:
                assert len(str(error)) < 3000, "a message for people is short"
                continue
            with warnings.catch_warnings():  # the average of runs without incremental steps is nan
                warnings.simplefilter("ignore", RuntimeWarning)
                with contextlib.suppress(UserError):  # of other classes than params.yaml names
                    use(name, records)


def use(name: str, records: pd.DataFrame) -> None:
    """What summarise and draw_figures do first with a table of records."""
    if name == "confusion":
        for text in records["counts"]:
            confusion_from_text(text)
        confusion_rows(find("tables", "confusion").table(study(), records), DATASET, "multitask")
    elif name == "records":
        by_seed(records)
        step_curve(find("tables", "steps").table(study(), records), DATASET, "multitask")
    for of in map(functools.partial(find, "tables"), names("tables")):
        if of.STAGE == "learn_steps" and name == of.RECORDS:
            table = of.table(study(), records)
            if len(table):
                check_columns(table)
                of.markdown(table)
