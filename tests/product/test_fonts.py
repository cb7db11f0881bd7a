"""Class names in any script are drawn, or one message says which letters are not."""

import warnings

import pandas as pd
import pytest

from mtcil.figures import confusion
from mtcil.reporting import fonts
from mtcil.reporting.style import png_of

IN_ANOTHER_FONT = "\N{MATHEMATICAL SCRIPT CAPITAL A}"  # matplotlib has it in a font for formulas


@pytest.fixture(autouse=True)
def _no_choice_from_before():
    fonts._others_for.cache_clear()


def drawn(*classes: str) -> bytes:
    """The confusion figure of these classes; any warning fails the test."""
    rows = [(true, predicted) for true in classes for predicted in classes]
    table = pd.DataFrame(rows, columns=["true_class", "predicted_class"]).assign(
        dataset="birds", split="group", base="single", heads="2", n=5, clips=1
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return png_of(confusion.draw(table))


@pytest.mark.parametrize("name", ["oui", "нет", "όχι", "نعم"])
def test_letters_of_the_own_font_need_no_other(name, capsys, monkeypatch):
    monkeypatch.setattr(fonts, "_installed", lambda: pytest.fail("other fonts were read"))
    drawn(name, "b")
    assert capsys.readouterr().err == ""


def test_a_letter_of_another_installed_font_is_taken_from_it(capsys, monkeypatch):
    taken = drawn(IN_ANOTHER_FONT, "b")
    assert capsys.readouterr().err == ""
    fonts._others_for.cache_clear()
    monkeypatch.setattr(fonts, "_installed", dict)
    assert drawn(IN_ANOTHER_FONT, "b") != taken
    assert IN_ANOTHER_FONT in capsys.readouterr().err


def test_letters_that_no_font_has_are_named_once(capsys, monkeypatch):
    monkeypatch.setattr(fonts, "_installed", dict)
    drawn("一二三四五六", "七八九十百千")
    message = capsys.readouterr().err
    assert message.count("\n") == 1 and "no installed font has 一" in message
    assert "and 2 more" in message and "dvc repro --force draw_figures" in message
    drawn("一二三四五六", "七八九十百千")
    assert capsys.readouterr().err == ""


def test_a_name_with_two_dollar_signs_is_no_formula():
    assert drawn("$1 to $2", "b") != drawn("1 to 2", "b")
    drawn(r"$\frac$", "b")  # no valid formula


def test_two_classes_with_long_names_have_room():
    assert drawn("background_noise_of_a_factory", "nothing")
