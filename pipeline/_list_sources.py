"""`make sources STUDY=studies/birds`: write again what the audio of each dataset is."""

import os
from pathlib import Path

from _study import SOURCES, run
from mtcil.audio.sources import list_text, official_list, own_list
from mtcil.core.errors import UserError
from mtcil.core.files import write_text
from mtcil.core.lookup import find
from mtcil.settings.sections import source_variable
from mtcil.settings.study import Study


def main(study: Study) -> None:
    """Of datasets whose variable is set, the user's files; of others the official archive."""
    for name, settings in study.datasets.items():
        dataset, local = find("datasets", settings.kind), os.environ.get(source_variable(name))
        file = SOURCES / f"{name}.csv"
        if local:
            folder = Path(local).expanduser().absolute()
            rows = own_list(dataset, folder, settings.exclude)
            if not rows:
                raise UserError(
                    f"{folder} holds no clip of {name}; {file} is left as it is. Set "
                    f"{source_variable(name)} to the absolute path of their folder or archive."
                )
        elif dataset.SOURCE is None and not hasattr(dataset, "make") and file.exists():
            print(f"{file}: left as it is. To write it again, set {source_variable(name)}.")
            continue
        else:
            rows = official_list(dataset.SOURCE)
        before = file.read_text("utf-8") if file.exists() else ""
        write_text(file, list_text(rows))
        changed = "changed" if list_text(rows) != before else "as before"
        print(f"{file}: {len(rows)} files, {changed}.")


if __name__ == "__main__":
    run(main)
