"""Stage download: one dataset's archive, from its official place, from the user, or synthesised."""

import json
import os
import sys

from _study import CHECKPOINTS, RAW, row_of, run
from mtcil.audio.provide import provide_archive, source_variable
from mtcil.core.files import write_text
from mtcil.core.lookup import find
from mtcil.settings.study import Study


def main(study: Study, name: str) -> None:
    settings = row_of(study, "datasets", name)
    out_dir = RAW / name
    out_dir.mkdir(parents=True, exist_ok=True)
    facts = provide_archive(
        name,
        settings,
        find("datasets", settings.kind),
        out_dir,
        CHECKPOINTS / "downloads",
        os.environ.get(source_variable(name)) or None,
        lambda remark: print(remark, file=sys.stderr),
    )
    write_text(out_dir / "source.json", json.dumps(facts, indent=2) + "\n")


if __name__ == "__main__":
    run(main)
