"""Read `params.yaml` into frozen dataclasses, and refuse what is not right with one message."""

import dataclasses
import math
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
    except (OSError, UnicodeDecodeError, YAMLError, RecursionError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        what = f"{error.problem} (line {mark.line + 1})" if mark else error  # type: ignore[union-attr]
        raise SettingsError(f"{path}: cannot be read as YAML: {what}.") from error
    if not isinstance(content, dict):
        raise SettingsError(f"{path}: must hold sections (`name: ...`), got {_shown(content)}.")
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
        return {str(k): _convert(arguments[1], v, f"{where}.{k}") for k, v in value.items()}
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return build(hint, value, where)
    return _convert_scalar(hint, value, where)


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
    return f"{type(value).__name__} {value!r:.80}"
