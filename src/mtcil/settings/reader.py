"""Read YAML files into frozen dataclasses; report all mistakes of a file at once, each by path."""

import dataclasses
import json
import typing
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import ConfigDict, TypeAdapter, ValidationError
from ruamel.yaml import YAML, YAMLError

from mtcil.core.errors import UserError

T = TypeVar("T")
Place = tuple[str | int, ...]  # of a value: ("datasets", "gsc", "steps", 2)

# Of every settings class: an unknown key is a mistake, `true` is not 1, and "3" is not 3.
STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
MAX_INT = 2**63  # what tables of records can hold
MAX_LINE, MAX_TEXT = 500, 2_500  # characters of one mistake, and of all in a message
MAX_VALUES = 20_000  # aliases can make a file of ten lines hold 10^9 values


class SettingsError(UserError):
    """A value of `params.yaml` or `settings.yaml` is not right."""


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file whose top level is a mapping; duplicate keys are rejected.

    Read as DVC reads and writes it (YAML 1.2, the same library): `dvc exp run -S` rewrites the
    whole file and drops quotes that YAML 1.2 does not require, after which PyYAML, which follows
    YAML 1.1, would take the class `yes` for a truth value and 1e-05 for text.

    Raises:
        SettingsError: the file is missing, is not YAML, or does not hold a mapping.
    """
    try:
        # "safe" makes plain values only.
        content = YAML(typ="safe", pure=True).load(path.read_text("utf-8"))
    except FileNotFoundError as error:
        raise SettingsError(
            f"{path}: there is no such file here. Run this in the folder of a study."
        ) from error
    except UnicodeDecodeError as error:
        raise SettingsError(
            f"{path}: is not valid UTF-8 ({error}). Re-save it as UTF-8."
        ) from error
    # LookupError: what `!!bool abc` and `!!int ""` end in
    except (OSError, YAMLError, RecursionError, ValueError, LookupError) as error:
        mark = getattr(error, "problem_mark", None)
        what = f"{error.problem} (line {mark.line + 1})" if mark else error  # type: ignore[union-attr]
        text = f"{' '.join(str(what).split()).rstrip('.'):.300}"
        raise SettingsError(f"{path}: cannot be read as YAML: {text}. Correct the file.") from error
    if not isinstance(content, dict):
        raise SettingsError(f"{path}: must hold sections (`name: ...`), got {shown(content)}.")
    _limit(content, path)
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
    except FileNotFoundError as error:
        raise UserError(f"{path}: there is no such file. {remedy}") from error
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: cannot be read as JSON ({error}). {remedy}") from error
    if not isinstance(content, dict):
        raise UserError(f"{path}: must hold a mapping, got {shown(content)}. {remedy}")
    return content


def _limit(values: object, path: Path) -> None:
    """Reject what no settings are: aliases that multiply, or that contain themselves."""
    waiting, n = [values], 0
    while waiting:
        value = waiting.pop()
        n += 1
        if n > MAX_VALUES:
            raise SettingsError(f"{path}: holds more than {MAX_VALUES:,} values. Shorten it.")
        if isinstance(value, Mapping):
            waiting += [*value, *value.values()]
        elif isinstance(value, list | tuple | set):
            waiting += value


def build(settings: type[T], values: object, where: str) -> T:
    """Make a settings dataclass from plain values.

    Args:
        where: what the values are, for messages: "settings.yaml: methods.ccil".

    Raises:
        SettingsError: one line per mistake, each with its place.
    """
    made, mistakes = check(settings, values)
    if made is None:
        texts = [f"{path_text(place, where)}: {text}" for place, text in mistakes]
        raise SettingsError(in_lines(texts))
    return made


def in_lines(mistakes: Sequence[str], advice: str = "") -> str:
    """Lines of mistakes as one message that people can read whole."""
    kept: list[str] = []
    length = 0
    for mistake in mistakes:
        line = mistake if len(mistake) <= MAX_LINE else f"{mistake[: MAX_LINE - 4]} ..."
        length += len(line)
        if length > MAX_TEXT:
            kept.append(f"... and {len(mistakes) - len(kept)} more mistakes.")
            break
        kept.append(line)
    return "\n  ".join([*kept, advice] if advice else kept)


def check(settings: type[T], values: object) -> tuple[T | None, list[tuple[Place, str]]]:
    """Make a settings dataclass from plain values, or say what is wrong with them.

    Returns:
        The settings and no mistakes; or None, and (place, message) of each mistake.
    """
    try:
        # As JSON: lists become tuples and mappings dataclasses there, while numbers stay strict.
        text = json.dumps(_plain(values))
        return TypeAdapter(settings).validate_json(text), []
    except ValidationError as error:
        return None, list(_mistakes(settings, error))
    except _NotPlainError as error:
        return None, [error.mistake]


class _NotPlainError(Exception):
    """JSON cannot hold a value."""

    def __init__(self, place: Place, text: str):
        super().__init__(text)
        self.mistake = (place, text)


def _plain(value: object, place: Place = ()) -> Any:
    """The value as JSON can hold it; dates and other things of YAML become what they print."""
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise _NotPlainError(
                    (*place, str(key)), f"a key must be text, got {shown(key)}. Write it in quotes."
                )
        return {key: _plain(item, (*place, key)) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, (*place, n)) for n, item in enumerate(value)]
    if isinstance(value, int) and abs(value) >= MAX_INT:
        raise _NotPlainError(place, f"a number of {value.bit_length()} bits is too large.")
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return {type(value).__name__: str(value)}


def _mistakes(settings: type, error: ValidationError) -> Iterator[tuple[Place, str]]:
    for found in error.errors(include_url=False):
        place, kind, given = found["loc"], found["type"], found["input"]
        if kind == "unexpected_keyword_argument":
            known = _fields_at(settings, place[:-1])
            yield place, f"unknown key. Known keys: {', '.join(known)}."
        elif kind == "missing":
            yield place, "is missing. Add it."
        elif kind == "value_error":  # of our own checks
            yield place, str(found["ctx"]["error"])
        elif place and place[-1] == "[key]":
            yield (
                place[:-1],
                "a row's name must begin with a letter and hold only letters, digits, _ and -.",
            )
        else:
            yield place, f"must be {_expected(kind, found['msg'])}, got {shown(given)}."


_EXPECTED = {
    "int_type": "an integer",
    "int_from_float": "an integer",
    "float_type": "a number",
    "finite_number": "a finite number",
    "string_type": "text (in quotes, where YAML takes it for something else)",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "dict_type": "a section (`name: ...`)",
    "dataclass_type": "a section (`name: ...`)",
}


def _expected(kind: str, message: str) -> str:
    return _EXPECTED.get(kind, message.removeprefix("Input should be ").removeprefix("a valid "))


def _fields_at(settings: Any, place: Place) -> list[str]:
    """Names of the fields of the settings class that stands at a place."""
    for name in place:
        settings = _inner(settings)
        if dataclasses.is_dataclass(settings):
            settings = typing.get_type_hints(settings)[str(name)]
        else:  # dict[str, X], tuple[X, ...]
            settings = [a for a in get_args(settings) if a is not ...][-1]
    return [field.name for field in dataclasses.fields(_inner(settings))]


def _inner(hint: Any) -> Any:
    """X of `X | None`, and of X with notes on its range."""
    if typing.get_origin(hint) is typing.Annotated:
        return _inner(get_args(hint)[0])
    if type(None) in get_args(hint):
        return _inner(next(a for a in get_args(hint) if a is not type(None)))
    return hint


def path_text(place: Place, start: str = "") -> str:
    """A place as people write it: datasets.gsc.steps[2]."""
    text = start
    for part in place:
        name = part if str(part).isprintable() else repr(part)
        text += f"[{part}]" if isinstance(part, int) else f".{name:.60}"
    return text.removeprefix(".")


def shown(value: object) -> str:
    """Kind and text of a value, cut short: "the text '1e2'"."""
    kinds = {bool: "", int: "the number ", float: "the number ", str: "the text "}
    if value is None:
        return "null"
    if isinstance(value, Mapping):
        return "a section"
    if isinstance(value, list | tuple):
        return "a list"
    text = str(value).lower() if isinstance(value, bool) else repr(value)
    return f"{kinds.get(type(value), '')}{text:.60}"
