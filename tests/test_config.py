"""mtcil.config: plain values into dataclasses, or one clear message."""

from dataclasses import dataclass
from typing import Literal

import pytest

from mtcil.config import SettingsError, build, read_yaml


@dataclass(frozen=True)
class Inner:
    rate: float

    def __post_init__(self) -> None:
        if self.rate <= 0:
            raise ValueError("rate must be above 0.")


@dataclass(frozen=True)
class Outer:
    count: int
    inner: Inner
    rows: dict[str, Inner]
    names: tuple[str, ...]
    kind: Literal["a", "b"]
    limit: int | None
    heads: int | str = "5"


GOOD = {
    "count": 3,
    "inner": {"rate": 1},
    "rows": {"x": {"rate": 0.5}},
    "names": ["p", "q"],
    "kind": "a",
    "limit": None,
}


def test_builds_nested_dataclasses_rows_and_lists():
    made = build(Outer, GOOD, "file:")
    assert made == Outer(3, Inner(1.0), {"x": Inner(0.5)}, ("p", "q"), "a", None)
    assert isinstance(made.inner.rate, float)


def test_takes_either_type_of_a_union():
    assert build(Outer, {**GOOD, "heads": 4}, "file:").heads == 4
    assert build(Outer, {**GOOD, "heads": "4-3"}, "file:").heads == "4-3"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"count": "3"}, r"file: count must be int, got str '3'"),
        ({"count": True}, r"file: count must be int, got bool True"),
        ({"count": 3.0}, r"file: count must be int, got float 3.0"),
        ({"inner": {"rate": "1e-3"}}, r"file: inner.rate must be float, got str '1e-3'"),
        ({"inner": {"rate": float("nan")}}, r"inner.rate must be a finite number"),
        ({"inner": {"rate": -1}}, r"file: inner: rate must be above 0"),
        ({"inner": {}}, r"file: inner.rate is missing"),
        ({"inner": None}, r"file: inner must hold keys"),
        ({"rows": {"x": {"rat": 1}}}, r"file: rows.x has no key rat. Known: rate"),
        ({"rows": []}, r"file: rows must be a section of rows"),
        ({"names": "p"}, r"file: names must be a list"),
        ({"names": ["p", True]}, r"file: names\[1\] must be str, got bool True"),
        ({"kind": "c"}, r"file: kind must be a or b, got str 'c'"),
        ({"limit": "none"}, r"file: limit must be int"),
        ({"more": 1}, r"has no key more"),
    ],
)
def test_refuses_what_is_wrong_and_says_where(change, message):
    with pytest.raises(SettingsError, match=message):
        build(Outer, {**GOOD, **change}, "file:")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\na: 2\n", "found duplicate key"),
        ("- 1\n", "must hold sections"),
        ("a: [1\n", "cannot be read as YAML"),
        ("a: !!python/object/apply:os.getcwd []\n", "cannot be read as YAML"),
    ],
)
def test_refuses_a_file_that_is_no_plain_mapping(tmp_path, text, message):
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(SettingsError, match=message):
        read_yaml(tmp_path / "params.yaml")


def test_reads_words_and_numbers_as_yaml_1_2_does(tmp_path):
    (tmp_path / "params.yaml").write_text("classes: [yes, no, on, off]\nrate: 1e-05\n")
    found = read_yaml(tmp_path / "params.yaml")
    assert found == {"classes": ["yes", "no", "on", "off"], "rate": 1e-5}
