"""Stage download: get a dataset's archive from its source or the user, or synthesise it."""

import json
import os
import sys
from pathlib import Path

from _study import CHECKPOINTS, RAW, SOURCES, row_of, run
from mtcil.audio.provide import check_classes, provide_archive
from mtcil.audio.sources import check_list, read_list
from mtcil.core.files import write_text
from mtcil.core.lookup import find
from mtcil.settings.sections import source_variable
from mtcil.settings.study import Study


def main(study: Study, name: str) -> None:
    settings = row_of(study, "datasets", name)
    dataset, local = find("datasets", settings.kind), os.environ.get(source_variable(name))
    listed = read_list(SOURCES / f"{name}.csv")
    place = Path(local).expanduser() if local else None
    check_classes(name, settings, dataset)
    if place is None or place.exists():  # provide_archive says what to do where it does not
        check_list(name, listed, dataset, place, settings.exclude)
    out_dir = RAW / name
    out_dir.mkdir(parents=True, exist_ok=True)
    facts = provide_archive(
        name,
        settings,
        dataset,
        out_dir,
        CHECKPOINTS / "downloads",
        local or None,
        lambda remark: print(remark, file=sys.stderr),
    )
    write_text(out_dir / "source.json", json.dumps(facts, indent=2) + "\n")


if __name__ == "__main__":
    run(main)
