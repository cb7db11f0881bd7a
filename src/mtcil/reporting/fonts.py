"""Fonts for class names in any script.

Matplotlib's own font has Latin, Greek, Cyrillic and Arabic letters, but no Chinese, Japanese,
Korean, Thai or Indian ones.
"""

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, fontManager, get_font
from matplotlib.text import Text

BOXES = "Last Resort"  # matplotlib's font that has a box for every character
SHOWN = 10  # letters in a message


@contextmanager
def drawn_with_every_font(figure: Figure) -> Iterator[None]:
    """Inside, letters that the figure's own font lacks are taken from other installed fonts.

    Only labels of logarithmic axes are read as formulas.

    If no installed font has a letter, one message names it, and a box is drawn in its place.
    """
    texts = [text for text in figure.findobj(Text) if isinstance(text, Text)]
    others = _others_for("".join(sorted({c for text in texts for c in text.get_text()})))
    for text in texts:
        if r"\mathdefault" not in text.get_text():  # else the label of a logarithmic axis
            text.set_parse_math(False)  # class names may have $
        if others:
            text.set_fontfamily([*text.get_fontfamily(), *others])
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"Glyph \d+ .* missing from font")
        yield


@cache
def _others_for(letters: str) -> tuple[str, ...]:
    """Families that have the letters which the default font lacks; the fewest that are enough."""
    left = {c for c in letters if c.isprintable() and not c.isspace()}
    left -= _letters_of(findfont(FontProperties()))
    chosen: list[str] = []
    if not left:
        return ()
    have = {name: left & _letters_of(path) for name, path in _installed().items()}
    while any(letters & left for letters in have.values()):
        best = max(have, key=lambda name: len(have[name] & left))
        chosen.append(best)
        left -= have[best]
    if left:
        more = f" and {len(left) - SHOWN} more" * (len(left) > SHOWN)
        print(
            f"Figures: no installed font has {' '.join(sorted(left)[:SHOWN])}{more}, so boxes are "
            "drawn in their place. Install a font of that script, for example from Google's Noto "
            "family, then run dvc repro --force draw_figures.",
            file=sys.stderr,
        )
    return tuple(chosen)


def _installed() -> dict[str, str]:
    """{family: file} of the installed fonts that are upright and neither bold nor narrow."""
    fonts = sorted(fontManager.ttflist, key=lambda font: (font.name, font.fname))
    looks = ("normal", "normal", "normal", 400)
    return {
        font.name: font.fname
        for font in fonts
        if (font.style, font.variant, font.stretch, font.weight) == looks
        and not font.name.startswith(BOXES)
    }


def _letters_of(path: str) -> set[str]:
    return {chr(code) for code in get_font(path).get_charmap()}
