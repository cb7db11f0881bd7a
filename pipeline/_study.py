"""What all stages share: where a study keeps its files, and how a stage starts and fails."""

import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mtcil.errors import UserError, check_arguments, show, told_in_one_line

sys.excepthook = show  # now: Ctrl-C may come during the imports that follow, which take seconds

from mtcil.processes import die_with_dvc  # noqa: E402
from mtcil.study import Study, read_study  # noqa: E402

PARAMS = Path("params.yaml")
RAW = Path("data/raw")
FEATURES = Path("data/features")
MODELS = Path("models")
RECORDS = Path("metrics/records")
TABLES = Path("metrics/tables")
METRICS = Path("metrics")
PLOTS = Path("plots")
CHECKPOINTS = Path(".checkpoints")


def row_of(study: Study, section: str, name: str) -> Any:
    """A row of params.yaml; that there is none is a person's mistake."""
    rows = getattr(study, section)
    if name not in rows:
        raise UserError(f"params.yaml has no {section}.{name}. There are: {', '.join(rows)}.")
    return rows[name]


def run(stage: Callable[..., None]) -> None:
    """Check the whole `params.yaml`, then call `stage(study, row)`, or `stage(study)`."""
    die_with_dvc()
    rows = [given.rpartition("@")[2] for given in sys.argv[1:]]  # of $DVC_STAGE: safe in a shell
    try:
        with told_in_one_line():
            check_arguments(stage, sys.argv[0], *rows)
            study: Study = read_study(PARAMS)
            stage(study, *rows)
    finally:  # all is written or said; Ctrl-C would only make the end a noisy one
        signal.signal(signal.SIGINT, signal.SIG_IGN)
