"""Read `params.yaml` into frozen dataclasses, and refuse what is not right with one message."""

import dataclasses
import json
import math
import re
import reprlib
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

from ruamel.yaml import YAML, YAMLError

from mtcil.errors import UserError

T = TypeVar("T")

UNDO = (
    "The file still holds the value: correct it there, or undo the override with "
    "`git checkout -- params.yaml`."
)


MAX_INT = 2**63  # what tables of records can hold
_ROW = re.compile(r"\w[\w.+-]*")  # rows name files and stages


class SettingsError(UserError):
    """A value of `params.yaml` is not right."""


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file whose top level is a mapping; a key that stands twice is refused.

    Read as DVC reads and writes it (YAML 1.2, the same library): `dvc exp run -S` writes the whole
    file anew and drops quotes that YAML 1.2 does not need, after which PyYAML, which follows
    YAML 1.1, would take the class `yes` for a truth value and 1e-05 for text.

    Raises:
        SettingsError: the file is missing, is not YAML, or holds something else.
    """
    try:
        # "safe" makes plain values only.
        content = YAML(typ="safe", pure=True).load(path.read_text("utf-8"))
    except FileNotFoundError as error:
        raise SettingsError(
            f"{path}: there is no such file here. Run this in the folder of a study."
        ) from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path}: is no UTF-8 text ({error}). Save it as UTF-8.") from error
    # LookupError: what `!!bool abc` and `!!int ""` end in
    except (OSError, YAMLError, RecursionError, ValueError, LookupError) as error:
        mark = getattr(error, "problem_mark", None)
        what = f"{error.problem} (line {mark.line + 1})" if mark else error  # type: ignore[union-attr]
        text = f"{' '.join(str(what).split()).rstrip('.'):.300}"
        raise SettingsError(f"{path}: cannot be read as YAML: {text}. Correct the file.") from error
    if not isinstance(content, dict):
        raise SettingsError(f"{path}: must hold sections (`name: ...`), got {_shown(content)}.")
    return content


def read_json(path: Path, remedy: str = "Make it again: dvc repro.") -> dict[str, Any]:
    """Read a JSON file that a stage wrote, whose top level is a mapping.

    Args:
        remedy: what to do where it cannot be read.

    Raises:
        UserError: it is missing or damaged.
    """
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: cannot be read as JSON ({error}). {remedy}") from error
    if not isinstance(content, dict):
        raise UserError(f"{path}: must hold a mapping, got {_shown(content)}. {remedy}")
    return content


def build(settings: type[T], values: object, where: str) -> T:
    """Make a settings dataclass from plain values; nested ones, tuples and rows too.

    Raises:
        SettingsError: unknown key, missing key, wrong type, or a value that the dataclass's
            own checks refuse (`__post_init__` raises ValueError); says where and what to do.
    """
    if not isinstance(values, Mapping):
        raise SettingsError(f"{where} must hold keys (`name: ...`), got {_shown(values)}. {UNDO}")
    fields = {f.name: f for f in dataclasses.fields(settings)}  # type: ignore[arg-type]
    unknown = [str(key) for key in values if key not in fields]
    if unknown:
        raise SettingsError(
            f"{where} has no key {', '.join(sorted(unknown))}. Known: {', '.join(fields)}. {UNDO}"
        )
    hints = typing.get_type_hints(settings)
    made: dict[str, Any] = {}
    for name, field in fields.items():
        if name in values:
            made[name] = _convert(hints[name], values[name], _at(where, name))
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise SettingsError(f"{_at(where, name)} is missing. Add it to the file.")
    try:
        return settings(**made)
    except ValueError as error:
        raise SettingsError(f"{where.rstrip(':')}: {error} {UNDO}") from error


def _at(where: str, name: str) -> str:
    """Join "params.yaml:" and "seeds" to "params.yaml: seeds"; deeper keys are joined by a dot."""
    return f"{where} {name}" if where.endswith(":") else f"{where}.{name}"


def _convert(hint: Any, value: object, where: str) -> Any:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return _convert_union(arguments, value, where)
    if origin is Literal:
        if value in arguments and isinstance(value, str):
            return value
        raise _wrong(where, " or ".join(str(a) for a in arguments), value)
    if origin is tuple:
        if not isinstance(value, list):
            raise _wrong(where, "a list", value)
        return tuple(_convert(arguments[0], v, f"{where}[{i}]") for i, v in enumerate(value))
    if origin is dict:
        if not isinstance(value, dict):
            raise _wrong(where, "a section of rows", value)
        return _convert_rows(arguments[1], value, where)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return build(hint, value, where)
    return _convert_scalar(hint, value, where)


def _convert_rows(hint: Any, rows: dict[Any, object], where: str) -> dict[str, Any]:
    made = {}
    for key, value in rows.items():
        name = str(key)
        if not isinstance(key, str | int) or not _ROW.fullmatch(name) or name in made:
            raise SettingsError(
                f"{where}: the name of a row must be one word of letters, digits, _ . + and -, "
                f"and stand once; got {_shown(key)}. {UNDO}"
            )
        made[name] = _convert(hint, value, f"{where}.{name}")
    return made


def _convert_union(arguments: tuple[Any, ...], value: object, where: str) -> Any:
    if value is None and type(None) in arguments:
        return None
    rest = [a for a in arguments if a is not type(None)]
    for hint in rest[:-1]:
        if isinstance(hint, type) and type(value) is hint:
            return value
    return _convert(rest[-1], value, where)


def _convert_scalar(hint: Any, value: object, where: str) -> Any:
    if hint is Any:
        return value
    if type(value) is int and abs(value) >= MAX_INT:
        raise _wrong(where, "a number of at most 64 bits", value)
    if hint is float and type(value) in (int, float):
        number = float(typing.cast(float, value))
        if not math.isfinite(number):
            raise _wrong(where, "a finite number", value)
        return number
    if type(value) is hint:
        return value
    raise _wrong(where, hint.__name__, value)


def _wrong(where: str, wanted: str, value: object) -> SettingsError:
    return SettingsError(f"{where} must be {wanted}, got {_shown(value)}. {UNDO}")


def _shown(value: object) -> str:
    """Type and text of a value, cut short; of a list of lists of lists only the beginning."""
    return f"{type(value).__name__} {_Short().repr(value):.80}"


class _Short(reprlib.Repr):
    """Texts of values that may be of any size: aliases make a list of 10^9 items in ten lines."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel, self.maxstring, self.maxother = 2, 80, 80

    def repr_int(self, x: int, level: int) -> str:
        return str(x) if abs(x) < MAX_INT else f"of {x.bit_length()} bits"

    def repr_instance(self, x: Any, level: int) -> str:
        return "..." if isinstance(x, Mapping) else super().repr_instance(x, level)
