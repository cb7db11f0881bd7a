"""Stage download: one dataset's archive, from its official place, from the user, or synthesised."""

import json
import os
import sys

from _study import CHECKPOINTS, RAW, run
from mtcil.errors import UserError
from mtcil.files import write_text
from mtcil.lookup import find
from mtcil.study import Study
from mtcil.transfer import provide_archive, source_variable


def main(study: Study, name: str) -> None:
    if name not in study.datasets:
        raise UserError(f"params.yaml has no datasets.{name}. Add it, or correct the stage.")
    settings = study.datasets[name]
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
