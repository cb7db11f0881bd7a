"""What all stages share: where a study keeps its files, and how a stage starts and fails."""

import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mtcil.core.errors import UserError, check_arguments, show, told_in_one_line

sys.excepthook = show  # now: Ctrl-C may come during the imports that follow, which take seconds

from mtcil.core.processes import die_with_dvc  # noqa: E402
from mtcil.settings.files import read_study  # noqa: E402
from mtcil.settings.study import Study  # noqa: E402

PARAMS = Path("params.yaml")
RAW = Path("data/raw")
FEATURES = Path("data/features")
BASES, TUNING_BASES = Path("models/base"), Path("models/tuning")
METRICS = Path("metrics")
RECORDS, TABLES = METRICS / "records", METRICS / "tables"
PLOTS = Path("plots")
CHECKPOINTS = Path(".checkpoints")


def row_of(study: Study, section: str, dataset: str) -> Any:
    """What a section of params.yaml says of a dataset."""
    rows = getattr(study, section)
    if dataset not in rows:
        raise UserError(f"params.yaml has no {section}.{dataset}. There are: {', '.join(rows)}.")
    return rows[dataset]


def run(stage: Callable[..., None]) -> None:
    """Check all settings of the study, then call `stage(study, dataset)`, or `stage(study)`."""
    die_with_dvc()
    rows = [given.rpartition("@")[2] for given in sys.argv[1:]]  # of $DVC_STAGE: safe in a shell
    try:
        with told_in_one_line():
            check_arguments(stage, sys.argv[0], *rows)
            study: Study = read_study(PARAMS)
            stage(study, *rows)
    finally:  # all is written or said; Ctrl-C would only make the end a noisy one
        signal.signal(signal.SIGINT, signal.SIG_IGN)
