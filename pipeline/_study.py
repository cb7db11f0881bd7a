"""Shared by all stages: paths of a study's files, and the start and errors of a stage."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mtcil.core.errors import UserError, check_arguments, errors_as_one_line
from mtcil.core.processes import die_with_dvc
from mtcil.settings.files import read_study
from mtcil.settings.study import Study

PARAMS = Path("params.yaml")
SOURCES = Path("sources")
RAW = Path("data/raw")
FEATURES = Path("data/features")
BASES, TUNING_BASES = Path("models/base"), Path("models/tuning")
METRICS = Path("metrics")
RECORDS, TABLES = METRICS / "records", METRICS / "tables"
PLOTS, REPORT = Path("plots"), Path("report.html")
CHECKPOINTS = Path(".checkpoints")


def row_of(study: Study, section: str, dataset: str) -> Any:
    """A dataset's row in a section of params.yaml."""
    rows = getattr(study, section)
    if dataset not in rows:
        raise UserError(f"params.yaml has no {section}.{dataset}. There are: {', '.join(rows)}.")
    return rows[dataset]


def run(stage: Callable[..., None]) -> None:
    """Check all settings of the study, then call `stage(study, dataset)`, or `stage(study)`."""
    die_with_dvc()
    rows = [given.rpartition("@")[2] for given in sys.argv[1:]]  # of $DVC_STAGE: safe in a shell
    with errors_as_one_line():
        check_arguments(stage, sys.argv[0], *rows)
        study: Study = read_study(PARAMS)
        stage(study, *rows)
