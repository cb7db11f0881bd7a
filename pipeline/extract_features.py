"""Stage extract_features: turn a dataset's archive into an array of features and a clip table.

The record describes the source of the features. It contains no time, machine or path.
"""

import json

import _study
from mtcil.audio.auxiliary import extract_words
from mtcil.audio.extraction import extract
from mtcil.core.errors import UserError
from mtcil.core.files import write_text
from mtcil.core.lookup import find
from mtcil.settings.reader import read_json
from mtcil.settings.study import Study


def main(study: Study, name: str) -> None:
    settings = _study.row_of(study, "datasets", name)
    raw = _study.RAW / name
    archives = [path for path in sorted(raw.glob("[!.]*")) if path.name != "source.json"]
    if len(archives) != 1 or not (raw / "source.json").is_file():
        raise UserError(
            f"{raw} must hold one archive and source.json, but holds "
            f"{', '.join(path.name for path in sorted(raw.glob('*'))) or 'nothing'}. "
            f"Run `dvc repro --force download@{name}`."
        )
    source = read_json(raw / "source.json", f"Make it again: dvc repro --force download@{name}.")
    shared = study.features[settings.features], _study.FEATURES / name, study.machine.jobs
    facts = extract(archives[0], find("datasets", settings.kind), name, settings, *shared)
    if words := study.auxiliary_words[settings.auxiliary]:
        synthesiser = find("datasets", "synthetic_words")
        facts["auxiliary"] = extract_words(words, synthesiser, name, settings, *shared)
    text = json.dumps({"source": source, **facts}, indent=2) + "\n"
    write_text(_study.RECORDS / "extract_features" / f"{name}.json", text)


if __name__ == "__main__":
    _study.run(main)
