"""`make study NAME=birds AUDIO=path`: a complete study of the user's own audio."""

import shutil
import sys
from functools import partial
from pathlib import Path

from _study import PARAMS, PLOTS, SOURCES, TABLES
from mtcil.audio.new_study import check_new, findings, next_steps, write_study
from mtcil.audio.proposal import SEEDS, propose
from mtcil.audio.survey import survey
from mtcil.core.errors import errors_as_one_line
from mtcil.core.lookup import find
from mtcil.learning.protocol import can_split
from mtcil.settings.files import read_study

ROOT = Path(__file__).resolve().parents[1]


def main(name: str, audio: str, group: str) -> None:
    """Look at the audio, write the study, and print why each number was chosen."""
    local, study = Path(audio).expanduser(), ROOT / "studies" / name
    check_new(name, audio, group or None, study)
    found = survey(find("datasets", "folders"), local, group or None)
    shared = read_study(ROOT / PARAMS)
    proposal = propose(found, shared.split, partial(can_split, shared.split_of("group"), SEEDS))
    part = study.with_name(f".{name}.part")  # as deep as the study: its settings are found
    shutil.rmtree(part, ignore_errors=True)
    try:
        write_study(name, proposal, found, part / PARAMS, part / SOURCES / f"{name}.csv")
        shutil.copyfile(ROOT / "dvc.yaml", part / "dvc.yaml")
        read_study(part / PARAMS)
        part.rename(study)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    print(findings(found, local))
    print(next_steps(name, proposal, local.resolve()))
    print(f"In studies/{name}, tables will be in {TABLES} and figures in {PLOTS}.")


if __name__ == "__main__":
    with errors_as_one_line():
        main(*sys.argv[1:])
