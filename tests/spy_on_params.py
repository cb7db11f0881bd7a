"""Run stages with settings that note which of their values are read (see test_pipeline)."""

import contextlib
import dataclasses
import importlib
import json
import sys
from pathlib import Path

from mtcil.settings.files import read_study

EXEMPT = ("machine.", "root", "settings")  # no stage lists these


def spied(value, place, seen):
    """A copy of settings that adds the places of the values read to `seen`."""
    if isinstance(value, dict):
        return {key: spied(v, f"{place}.{key}", seen) for key, v in value.items()}
    if not dataclasses.is_dataclass(value):
        return value
    kind, leaves = type(value), set()

    def read(self, name):
        if name in leaves:
            seen.add(f"{place}.{name}")
        return kind.__getattribute__(self, name)

    copied = object.__new__(type(kind.__name__, (kind,), {"__getattribute__": read}))
    for field in dataclasses.fields(value):
        inner = getattr(value, field.name)
        if not isinstance(inner, dict) and not dataclasses.is_dataclass(inner):
            leaves.add(field.name)
        object.__setattr__(copied, field.name, spied(inner, f"{place}.{field.name}", seen))
    return copied


def spy(name):
    """Places that a stage such as "train_base@words" reads of both files of a study."""
    stage, _, dataset = name.partition("@")
    seen = set()
    study = spied(read_study(Path("params.yaml")), "", seen)
    with contextlib.redirect_stdout(sys.stderr):
        importlib.import_module(stage).main(study, *([dataset] if dataset else []))
    return sorted(at for at in (p.removeprefix(".") for p in seen) if not at.startswith(EXEMPT))


if __name__ == "__main__":
    print(json.dumps({name: spy(name) for name in sys.argv[1:]}))
