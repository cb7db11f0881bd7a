"""Read a study: its `params.yaml` over the `settings.yaml` that it names, and check both whole."""

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mtcil.settings.reader import Place, SettingsError, check, in_lines, path_text, read_yaml
from mtcil.settings.references import cross_references
from mtcil.settings.study import Study

# Sections of settings.yaml; a study changes single numbers of them below `overrides`.
SHARED = (
    *("features", "networks", "split", "base_training", "step_training", "memory", "methods"),
    *("schedules", "comparison", "probes", "base_parts", "auxiliary_words"),
)
OWN = (*(f.name for f in dataclasses.fields(Study) if f.name not in SHARED), "overrides")
UNDO = (
    "Correct it there. What `dvc exp run -S` wrote stays in the file: "
    "`git checkout -- {file}` undoes it."
)

NAMED_IN_DVC_YAML = {"group": "null", "auxiliary": "none"}  # of a dataset, with usual values


def read_study(path: Path) -> Study:
    """Read and check a study's `params.yaml`, and the `settings.yaml` that it names.

    Raises:
        SettingsError: a line for each mistake in both files: where, what, what to do.
    """
    params = read_yaml(path)
    name = params.get("settings")
    if not isinstance(name, str):
        raise SettingsError(
            f"{path}: settings is missing. Add the way to the shared settings: "
            "`settings: settings.yaml`, or in a study `settings: ../../settings.yaml`."
        )
    shared = read_yaml(path.parent / name)
    overrides: Any = params.get("overrides")
    mistakes = [
        *((str(path), place, text) for place, text in _check_keys(params, name)),
        *((name, (str(key),), _unknown(SHARED)) for key in shared if key not in SHARED),
    ]  # file, place in it, text
    overrides = overrides if isinstance(overrides, Mapping) else {}
    values = {key: params[key] for key in OWN if key in params and key != "overrides"}
    merged = _merged(shared, overrides)
    study, found = check(Study, values | {key: merged[key] for key in SHARED if key in merged})
    if study is not None and not mistakes:
        found = [*cross_references(study), *_check_shared(study, shared, name)]
    for place, text in dict.fromkeys(found):  # several rows may make one mistake show
        if not place or place[0] not in SHARED:
            mistakes.append((str(path), place, text))
        elif _goes_along(overrides, place) or not _goes_along(shared, place[:-1]):
            mistakes.append((str(path), ("overrides", *place), text))
        else:
            mistakes.append((name, place, text))
    if study is not None and not mistakes:
        return study
    lines = [
        ": ".join(part for part in (file, path_text(place), text) if part)
        for file, place, text in mistakes
    ]
    files = " ".join(dict.fromkeys(file for file, _, _ in mistakes))
    raise SettingsError(in_lines(lines, UNDO.format(file=files)))


def _check_keys(params: Mapping[str, Any], settings: str) -> Iterator[tuple[Place, str]]:
    """Keys of params.yaml that are missing, unknown, or belong to the other file."""
    for key in params:
        if key in SHARED:
            text = f"belongs to {settings}. To change a number here, write it below overrides."
            yield (key,), text
        elif key not in OWN:
            yield (str(key),), _unknown(OWN)
    datasets = params.get("datasets")
    for name, row in datasets.items() if isinstance(datasets, Mapping) else ():
        for key in NAMED_IN_DVC_YAML if isinstance(row, Mapping) else ():
            if key not in row:
                text = f"is missing, and dvc.yaml names it. Write {key}: {NAMED_IN_DVC_YAML[key]}."
                yield ("datasets", str(name), key), text
    overrides = params.get("overrides")
    if not isinstance(overrides, Mapping):
        yield ("overrides",), "must be a section; write `overrides: {}` for none."
    else:
        for key in overrides:
            if key not in SHARED:
                yield ("overrides", str(key)), _unknown(SHARED)


def _check_shared(
    study: Study, shared: Mapping[str, Any], settings: str
) -> Iterator[tuple[Place, str]]:
    """Rows that a dataset takes and that only `overrides` has: DVC looks for them in `settings`."""
    sections = (("features", "features"), ("auxiliary", "auxiliary_words"))
    for name, dataset in study.datasets.items():
        for key, section in sections:
            row, known = getattr(dataset, key), shared.get(section) or {}
            if row in getattr(study, section) and row not in known:
                yield (
                    ("datasets", name, key),
                    f"{row} is in overrides only. Add it to {section} of {settings}, or take one "
                    f"of {', '.join(known) or 'those there'} and change it in overrides.",
                )


def _unknown(known: tuple[str, ...]) -> str:
    return f"unknown key. Known keys: {', '.join(known)}."


def _merged(values: Mapping[str, Any], changes: Any) -> dict[str, Any]:
    """The values with some of them changed, section by section."""
    merged = dict(values)
    for key, change in changes.items():
        old = merged.get(key)
        if isinstance(old, Mapping) and isinstance(change, Mapping):
            change = _merged(old, change)
        merged[key] = change
    return merged


def _goes_along(values: object, place: Place) -> bool:
    """Whether nested values have something at a place."""
    for part in place:
        if not isinstance(values, Mapping):
            return True  # a value that holds the place
        if part not in values:
            return False
        values = values[part]
    return True
