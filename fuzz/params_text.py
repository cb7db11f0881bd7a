"""Any text as params.yaml, and any values in both files: a study comes out, or our own error."""

import copy
import functools
import json
import random
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

from mutations import mutated

from mtcil.core.errors import UserError
from mtcil.running.jobs import method_settings
from mtcil.running.probe import probe_jobs
from mtcil.settings import files
from mtcil.settings.reader import read_yaml
from mtcil.settings.study import Study

MAX_BYTES = 1024  # of an input
ROOT = Path(__file__).resolve().parents[1]
DEMO, SETTINGS = ROOT / "demo" / "params.yaml", ROOT / "settings.yaml"
VALUES = b"\x00"  # input that begins so says which of the demo's values to change; else it is text
ODD: tuple[Any, ...] = (
    *(None, True, 0, -1, 2, 10**30, 10**400, 1 << 20_000, 0.0, -0.5, 1e300, float("nan")),
    *(float("inf"), "", "x", "4", "all", "4-3-2", "-", "$(x)", "\0", "\ud800", "x" * 500),
    *([], [0], [[]], ["a"] * 3, json.loads("[" * 99 + "]" * 99)),
    *({}, {"a": 1}, {1: {}}, {None: None}),
    *({"kind": "ccil"}, {"kind": ["ccil"]}, {"-x": {}}, {"../x": {}}, {"a;b": {}}),
)
TEXTS = (
    *("a: &a [*a]", "? [1, 2]\n: 3", "<<: 1", "x: !!python/object:os.system a", "--- 1\n--- 2"),
    *("x: 9999-99-99", "x: 0x" + "f" * 5000, "- 1", "", "\t", "x: !!binary '?'", "x: !!float a"),
    *("x: !!set {a}", "x: !!omap [a]", "x: 1e999", "%YAML 9.9\n---\nx: 1", "x: !!int '0b'"),
    *("{" * 500, "!", "x: !!bool a", "x: !!timestamp a", "a: 1\na: 2", "x: |\n  a\n b", "x: 0o9"),
    *("a: &b {c: 1}\nd: {<<: *b, e: 190:20:30}", "root: ..\nseeds: [0, 1]\nexemplars: null\n"),
    *("settings: settings.yaml\nseeds: [0, x]", "settings: settings.yaml\noverrides: {split: 1}"),
    *("settings: .", "settings: params.yaml", "settings: settings.yaml\nfeatures: {}\n? [a]\n: 1"),
    *("exemplars: null\nx: &x [a]\ny: [*x, *x]", "x: 1_0.5e+3 # y", "\"\\x41\\uD800\": 'b''c'"),
)


def seeds() -> list[bytes]:
    """Texts that are YAML of a rare kind, or nearly YAML; and some changes of values."""
    changes = [random.Random(k).randbytes(12) for k in range(20)]
    return [*(text.encode() for text in TEXTS), *(VALUES + change for change in changes)]


def damaged(data: bytes, rng: random.Random) -> bytes:
    """Damage of the text, or other changes of values."""
    if data.startswith(VALUES) and rng.random() < 0.9:
        return VALUES + mutated(data[1:], [rng.randbytes(8)], rng)[:40]
    return mutated(data, seeds()[: len(TEXTS)], rng)


def check(data: bytes) -> None:
    """Read the params, and the settings of every method and probe."""
    try:
        study = _changed(data[1:]) if data.startswith(VALUES) else _read(data)
        for name in study.methods:
            method_settings(study, name)
        probe_jobs(study.probes, [])
    except UserError as error:
        assert len(str(error)) < 3000, "a message for people is short"


def _read(data: bytes) -> Study:
    """The text as params.yaml, with the shared settings.yaml beside it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "params.yaml")
        path.write_bytes(data)
        Path(folder, "settings.yaml").write_bytes(SETTINGS.read_bytes())
        return files.read_study(path)


@functools.cache
def _demo() -> dict[str, dict[str, Any]]:
    """Both files of the demo."""
    values = read_yaml(DEMO) | {"settings": "settings.yaml"}
    return {"params.yaml": values, "settings.yaml": read_yaml(SETTINGS)}


def _changed(choices: bytes) -> Study:
    """The demo with odd values where `choices` says, in either file."""
    both = copy.deepcopy(_demo())
    left = iter(choices)
    while (file := next(left, None)) is not None:
        values = both["settings.yaml" if file % 2 else "params.yaml"]
        if values:
            _put_odd(values, next(left, 0), left)

    def read(path: Path) -> dict[str, Any]:
        return both[path.name] if path.name in both else read_yaml(path)

    with mock.patch.object(files, "read_yaml", read):
        return files.read_study(Path("params.yaml"))


def _put_odd(values: dict[Any, Any], first: int, left: Iterator[int]) -> None:
    """Walk down to a value; take it out, put an odd one in its place, or add one beside it."""
    place: Any = values
    key = _pick(place, first)
    while isinstance(place[key], dict | list) and place[key] and next(left, 0) % 8:
        place = place[key]
        key = _pick(place, next(left, 0))
    odd = copy.deepcopy(ODD[next(left, 0) % len(ODD)])
    how = next(left, 0) % 8
    if how == 0 and isinstance(place, dict):
        del place[key]
    elif how == 1 and isinstance(place, dict):
        place[("new", "-x", "../x", "a;b", 1, "4", None)[next(left, 0) % 7]] = odd
    else:
        place[key] = odd


def _pick(place: Any, number: int) -> Any:
    keys = list(place) if isinstance(place, dict) else range(len(place))
    return keys[number % len(keys)]
