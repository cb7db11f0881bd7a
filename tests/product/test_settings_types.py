"""Each field of each settings class refuses a value of another type, and says where it is."""

import copy
import dataclasses
import types
import typing
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BeforeValidator
from tiny_study import ROOT

from mtcil.core.lookup import find, names
from mtcil.settings import sections, study, training
from mtcil.settings.files import read_study
from mtcil.settings.reader import Place, SettingsError, build, path_text, read_yaml
from mtcil.settings.study import Study

PAPER = read_yaml(ROOT / "params.yaml") | read_yaml(ROOT / "settings.yaml")
del PAPER["overrides"]
PAPER["tunings"] = read_yaml(ROOT / "studies/development/params.yaml")["tunings"]
# Values that are of no such type. Nothing is turned into another type, so "3" is not 3.
NOT_OF = {
    int: (True, "3", 3.5, [3], {"a": 3}),
    float: (True, "3", [3], {"a": 3}),
    str: (3.5, True, ["a"], {"a": "b"}),
    bool: (1, 0, "true", []),
    list: (3, "3", True, {"a": 3}),
    dict: ([], 3, "a", True),
    typing.Literal: (True, False, "neither", 3.5, []),
}


def bare(hint: Any) -> tuple[Any, bool]:
    """The type without its range and its `| None`; and whether whole numbers stand for text."""
    if typing.get_origin(hint) is typing.Annotated:
        kind, *notes = typing.get_args(hint)
        found, as_text = bare(kind)
        return found, as_text or any(isinstance(note, BeforeValidator) for note in notes)
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        (kind,) = [arg for arg in typing.get_args(hint) if arg is not type(None)]
        return bare(kind)
    return hint, False


def takes_null(hint: Any) -> bool:
    return hint is Any or type(None) in typing.get_args(hint)


def wrong_values(hint: Any) -> tuple[Any, ...]:
    """Values that a field with this hint must refuse."""
    kind, as_text = bare(hint)
    if dataclasses.is_dataclass(kind):
        kind = dict
    wrong = NOT_OF[{tuple: list}.get(typing.get_origin(kind), typing.get_origin(kind)) or kind]
    if kind is str and not as_text:
        wrong = (3, *wrong)
    return wrong if takes_null(hint) else (None, *wrong)


def fields_below(hint: Any, value: Any, place: Place) -> Iterator[tuple[Place, Any]]:
    """(place, hint) of a value and of all below it; of rows and of items, the first.

    Args:
        value: what a study holds there; fields that it leaves out are walked, too.
    """
    kind, _ = bare(hint)
    if kind is Any:
        return
    yield place, hint
    if dataclasses.is_dataclass(kind):
        for name, inner in typing.get_type_hints(kind, include_extras=True).items():
            below = value.get(name) if isinstance(value, dict) else None
            yield from fields_below(inner, below, (*place, name))
    elif typing.get_origin(kind) is dict and value:
        first = next(iter(value))
        yield from fields_below(typing.get_args(kind)[1], value[first], (*place, first))
    elif typing.get_origin(kind) is tuple and value:
        yield from fields_below(typing.get_args(kind)[0], value[0], (*place, 0))


def put(values: Any, place: Place, value: Any) -> Any:
    """A copy of the values with another one at a place."""
    if not place:
        return value
    changed = copy.copy(values)
    key = place[0]
    there = key in changed if isinstance(changed, dict) else True
    changed[key] = put(changed[key] if there else {}, place[1:], value)
    return changed


def not_refused(settings: type, values: dict[str, Any], where: str) -> list[str]:
    """Wrong values that the class takes, or refuses without the place of the field."""
    bad = []
    build(settings, values, where)
    for place, hint in fields_below(settings, values, ()):
        for wrong in wrong_values(hint) if place else ():
            field = path_text(place, where)
            try:
                build(settings, put(values, place, wrong), where)
            except SettingsError as error:
                if not any(line.startswith(f"{field}: must be ") for line in lines(error)):
                    bad.append(f"{field} = {wrong!r}: {error}")
            else:
                bad.append(f"{field} = {wrong!r} was taken")
    return bad


def lines(error: SettingsError) -> list[str]:
    return str(error).split("\n  ")


def classes_of(module: types.ModuleType) -> set[type]:
    """Settings classes that a module defines: those that pydantic checks."""
    found = [thing for thing in vars(module).values() if isinstance(thing, type)]
    return {
        c
        for c in found
        if c.__module__ == module.__name__ and hasattr(c, "__pydantic_core_schema__")
    }


def test_every_settings_class_is_below_the_study():
    walked = {bare(hint)[0] for _, hint in fields_below(Study, PAPER, ())}
    classes = classes_of(sections) | classes_of(training) | classes_of(study)
    assert len(classes) > 20 and classes <= walked


def test_a_field_of_a_study_refuses_every_value_of_another_type():
    assert not_refused(Study, PAPER, "both files") == []


@pytest.mark.parametrize(("kind", "section"), [("methods", "methods"), ("probes", "probes")])
def test_a_field_of_a_method_or_probe_refuses_every_value_of_another_type(kind, section):
    rows, bad = PAPER[section], []
    for name in names(kind):
        row = next(row for label, row in rows.items() if row.get("kind", label) == name)
        values = {key: value for key, value in row.items() if key != "kind"}
        bad += not_refused(find(kind, name).Config, values, f"{section}.{name}")
    assert bad == []


def test_an_unknown_key_is_refused_in_every_section_and_the_known_ones_are_named():
    for place, hint in fields_below(Study, PAPER, ()):
        kind, _ = bare(hint)
        if place and dataclasses.is_dataclass(kind):
            known = ", ".join(field.name for field in dataclasses.fields(kind))
            with pytest.raises(SettingsError) as refused:
                build(Study, put(PAPER, (*place, "colour"), "red"), "files")
            says = f"{path_text((*place, 'colour'), 'files')}: unknown key. Known keys: {known}."
            assert says in lines(refused.value)


def test_the_values_that_are_changed_here_are_the_papers():
    built = build(Study, PAPER, "both files")
    assert dataclasses.replace(built, tunings={}) == read_study(ROOT / "params.yaml")
