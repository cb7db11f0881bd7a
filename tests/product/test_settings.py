"""mtcil.settings: both files of a study into dataclasses, or a line for each mistake in them."""

from typing import Literal

import pytest
from pydantic.dataclasses import dataclass
from tiny_study import ROOT, params, write_params

from mtcil.settings.files import OWN, SHARED, read_study
from mtcil.settings.reader import MAX_TEXT, STRICT, SettingsError, build, read_yaml
from mtcil.settings.sections import HeadsText, Positive


@dataclass(frozen=True, config=STRICT)
class Inner:
    rate: Positive


@dataclass(frozen=True, config=STRICT)
class Outer:
    count: int
    inner: Inner
    rows: dict[str, Inner]
    names: tuple[str, ...]
    kind: Literal["a", "b"]
    limit: int | None
    heads: HeadsText = "5"

    def __post_init__(self) -> None:
        if len(set(self.names)) < len(self.names):
            raise ValueError("names: duplicate entry.")


GOOD = {
    "count": 3,
    "inner": {"rate": 1},
    "rows": {"x": {"rate": 0.5}},
    "names": ["p", "q"],
    "kind": "a",
    "limit": None,
}


def test_builds_nested_dataclasses_rows_and_lists():
    made = build(Outer, GOOD, "file: here")
    assert made == Outer(3, Inner(1.0), {"x": Inner(0.5)}, ("p", "q"), "a", None)
    assert isinstance(made.inner.rate, float)


def test_takes_heads_of_one_task_as_a_number():
    assert build(Outer, {**GOOD, "heads": 4}, "file: here").heads == "4"
    assert build(Outer, {**GOOD, "heads": "4-3"}, "file: here").heads == "4-3"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"count": "3"}, "here.count: must be an integer, got the text '3'."),
        ({"count": True}, "here.count: must be an integer, got true."),
        ({"count": 3.0}, "here.count: must be an integer, got the number 3.0."),
        ({"count": 2**63}, "here.count: a number of 64 bits is too large."),
        ({"inner": {"rate": "1e-3"}}, "here.inner.rate: must be a number, got the text '1e-3'."),
        ({"inner": {"rate": True}}, "here.inner.rate: must be a number, got true."),
        ({"inner": {"rate": float("nan")}}, "here.inner.rate: must be a finite number, got the"),
        ({"inner": {"rate": -1}}, "here.inner.rate: must be greater than 0, got the number -1."),
        ({"inner": {}}, "here.inner.rate: is missing. Add it."),
        ({"inner": None}, "here.inner: must be a section (`name: ...`), got null."),
        ({"rows": {"x": {"rat": 1, "rate": 1}}}, "here.rows.x.rat: unknown key. Known keys: rate."),
        ({"rows": []}, "here.rows: must be a section (`name: ...`), got a list."),
        ({"rows": {3: {"rate": 1}}}, "here.rows.3: a key must be text, got the number 3."),
        ({"names": "p"}, "here.names: must be a list, got the text 'p'."),
        ({"names": ["p", True]}, "here.names[1]: must be text (in quotes, where YAML takes it"),
        ({"names": ["p", "p"]}, "here: names: duplicate entry."),
        ({"kind": "c"}, "here.kind: must be 'a' or 'b', got the text 'c'."),
        ({"limit": "none"}, "here.limit: must be an integer, got the text 'none'."),
        ({"heads": 4.0}, "here.heads: must be text"),
        ({"heads": True}, "here.heads: must be text"),
        ({"more": 1}, "here.more: unknown key. Known keys: count, inner, rows, names, kind, limit"),
    ],
)
def test_refuses_what_is_wrong_and_says_where(change, message):
    with pytest.raises(SettingsError) as refused:
        build(Outer, {**GOOD, **change}, "file: here")
    assert str(refused.value).startswith(f"file: {message}")
    assert len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\na: 2\n", "found duplicate key"),
        ("- 1\n", "must hold sections"),
        ("a: [1\n", "cannot be read as YAML"),
        ("a: !!python/object/apply:os.getcwd []\n", "cannot be read as YAML"),
    ],
)
def test_refuses_a_file_that_is_not_a_plain_mapping(tmp_path, text, message):
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(SettingsError, match=message):
        read_yaml(tmp_path / "params.yaml")


def test_reads_words_and_numbers_as_yaml_1_2_does(tmp_path):
    (tmp_path / "params.yaml").write_text("classes: [yes, no, on, off]\nrate: 1e-05\n")
    found = read_yaml(tmp_path / "params.yaml")
    assert found == {"classes": ["yes", "no", "on", "off"], "rate": 1e-5}


# Both files of a study.


@pytest.fixture
def study(tmp_path, monkeypatch):
    """A study with its own settings.yaml, which a test may change; the current folder."""
    text = (ROOT / "settings.yaml").read_text("utf-8")
    (tmp_path / "settings.yaml").write_text(text, "utf-8")
    write_params(tmp_path, params(".") | {"settings": "settings.yaml"})
    monkeypatch.chdir(tmp_path)
    return tmp_path


def replace(study, right: str, wrong: str, file: str = "settings.yaml") -> None:
    text = (study / file).read_text("utf-8")
    assert text.count(right) == 1
    (study / file).write_text(text.replace(right, wrong), "utf-8")


def mistakes_of(study) -> list[str]:
    """The lines of the message; the last says how to undo it."""
    with pytest.raises(SettingsError) as refused:
        read_study((study / "params.yaml").relative_to(study))
    *mistakes, undo = str(refused.value).split("\n  ")
    assert undo.startswith("Correct it there. What `dvc exp run -S` wrote stays in the file: ")
    return mistakes


def test_all_mistakes_of_both_files_are_reported_at_once_each_with_its_place(study):
    values = params(".") | {"settings": "settings.yaml", "seeds": "all", "colour": "red"}
    values["machine"]["jobs"] = True
    values["datasets"]["words"]["steps"] = [3, 1]
    values["base_models"]["words"]["single"]["heds"] = "3"
    values["memory"] = {"selection": "random"}
    del values["shown"]
    values["overrides"] |= {"schedules": {"small_rate": 0}, "headline": "single"}
    write_params(study, values)
    replace(study, "split: {train: 0.7", 'split: {train: "0.7"')
    replace(study, "memory: {selection: herding}", "memory: {selection: best}\nextra: 1")
    expected = [
        "params.yaml: colour: unknown key. Known keys: root, settings, exemplars, ",
        "params.yaml: memory: belongs to settings.yaml. To change a number here, write it below ",
        "params.yaml: overrides.headline: unknown key. Known keys: features, networks, split, ",
        "settings.yaml: extra: unknown key. Known keys: features, networks, split, ",
        "params.yaml: shown: is missing. Add it.",
        "params.yaml: seeds: must be a list, got the text 'all'.",
        "params.yaml: machine.jobs: must be an integer, got true.",
        "params.yaml: datasets.words: steps 3-1 add up to 4 classes, but 5 are named.",
        "params.yaml: base_models.words.single.heds: unknown key. Known keys: heads, method, ",
        "settings.yaml: split.train: must be a number, got the text '0.7'.",
        "settings.yaml: memory.selection: must be 'herding', 'random' or 'official', got ",
        "params.yaml: overrides.schedules.small_rate: must be greater than 0, got the number 0.",
    ]
    found = mistakes_of(study)
    assert len(found) == len(expected)
    for start in expected:
        assert any(line.startswith(start) for line in found), (start, found)


def test_all_that_one_section_says_wrongly_of_others_is_reported_at_once(study):
    values = params(".") | {"settings": "settings.yaml", "shown": "sounds", "headline": "none"}
    values["exemplar_sweeps"]["words"]["method"] = "hope"
    values["tunings"]["words"]["seeds"] = [0]
    write_params(study, values)
    replace(study, "  grids: ", "    fientune: {learning_rate: 0.1}\n  grids: ")
    places = [line.split(": ")[:2] for line in mistakes_of(study)]
    assert places == [
        ["params.yaml", "shown"],
        ["params.yaml", "headline"],
        ["params.yaml", "exemplar_sweeps.words.method"],
        ["params.yaml", "tunings.words.seeds"],
        ["settings.yaml", "comparison.tuned.fientune"],
    ]


@pytest.mark.parametrize("section", SHARED)
def test_a_section_of_settings_yaml_in_params_yaml_is_refused_with_advice(study, section):
    shared = read_yaml(study / "settings.yaml")
    write_params(study, params(".") | {"settings": "settings.yaml", section: shared[section]})
    assert mistakes_of(study) == [
        f"params.yaml: {section}: belongs to settings.yaml. "
        "To change a number here, write it below overrides."
    ]


@pytest.mark.parametrize("section", [name for name in OWN if name != "overrides"])
def test_a_section_of_params_yaml_in_settings_yaml_or_overrides_is_refused(study, section):
    known = ", ".join(SHARED)
    values = params(".") | {"settings": "settings.yaml"}
    replace(study, "\nfeatures:", f"\n{section}: 3\nfeatures:")
    values["overrides"][section] = values[section]
    write_params(study, values)
    assert mistakes_of(study) == [
        f"params.yaml: overrides.{section}: unknown key. Known keys: {known}.",
        f"settings.yaml: {section}: unknown key. Known keys: {known}.",
    ]


@pytest.mark.parametrize("section", SHARED)
def test_a_section_that_settings_yaml_lacks_is_named_there(study, section):
    values = params(".") | {"settings": "settings.yaml", "overrides": {}}
    values["datasets"]["words"]["network"] = "gsc"
    write_params(study, values)
    replace(study, f"\n{section}:", f"\n{section}s:")
    *unknown, missing = mistakes_of(study)
    assert missing == f"settings.yaml: {section}: is missing. Add it."
    assert [line.split(": ")[:2] for line in unknown] == [["settings.yaml", f"{section}s"]]


def test_an_override_is_shown_where_it_is_written_and_its_neighbour_where_that_is(study):
    values = params(".") | {"settings": "settings.yaml"}
    values["overrides"]["base_training"] = {"fit": {"learning_rate": "15"}}
    values["overrides"]["networks"]["wide"] = {"channels": [8]}
    write_params(study, values)
    replace(study, "  fit: {patience: 5", "  fit: {patience: eight")
    assert mistakes_of(study) == [
        "params.yaml: overrides.networks.wide.kernels: is missing. Add it.",
        "params.yaml: overrides.networks.wide.strides: is missing. Add it.",
        "params.yaml: overrides.networks.wide.pools: is missing. Add it.",
        "params.yaml: overrides.networks.wide.dropout: is missing. Add it.",
        "settings.yaml: base_training.fit.patience: must be an integer, got the text 'eight'.",
        "params.yaml: overrides.base_training.fit.learning_rate: must be a number, got the text "
        "'15'.",
    ]


def test_an_override_changes_single_numbers_and_leaves_the_others(study):
    plain = read_study(study / "params.yaml")
    values = params(".") | {"settings": "settings.yaml"}
    values["overrides"]["step_training"]["then_all"] = {"learning_rate": 0.5}
    write_params(study, values)
    changed = read_study(study / "params.yaml").step_training
    assert changed.then_all.learning_rate == 0.5
    assert (changed.sgd, changed.head_first) == (
        plain.step_training.sgd,
        plain.step_training.head_first,
    )
    assert changed.then_all.patience == plain.step_training.then_all.patience == 7


def test_a_message_of_very_many_mistakes_is_cut_and_says_how_many_there_are(study):
    write_params(study, params(".") | {"settings": "settings.yaml", "seeds": ["x"] * 1000})
    *shown, last = mistakes_of(study)
    assert last == f"... and {1000 - len(shown)} more mistakes."
    assert len(shown) > 20 and sum(map(len, shown)) <= MAX_TEXT


def test_a_settings_file_that_is_not_there_is_named(study):
    (study / "settings.yaml").unlink()
    with pytest.raises(SettingsError, match=r"^settings\.yaml: there is no such file"):
        read_study((study / "params.yaml").relative_to(study))


def test_params_that_do_not_name_their_settings_are_refused_with_advice(study):
    replace(study, "settings: settings.yaml\n", "", "params.yaml")
    with pytest.raises(SettingsError, match=r"params\.yaml: settings is missing\. Add the way to"):
        read_study(study / "params.yaml")
