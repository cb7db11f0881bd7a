"""Arabic Speech Commands: one-second recordings of 40 Arabic words, 30 speakers, 10 takes each.

The repository holds `dataset/<word>/<speaker>_NO_<take>.wav` (16 kHz, mono, 16 bit), named in
English. Two of its folders have a space in their name; here they are `zoom_in` and `zoom_out`.
It publishes no archive with a fixed checksum: clone it (commit
72f3438212ff6cf8fbe5ae8068361840646429bd of github.com/abdulkaderghandoura/
arabic-speech-commands-dataset) and set MTCIL_SOURCE_<DATASET> to the folder.

Ghandoura, Hjabo, Al Dakkak: Building and Benchmarking an Arabic Speech Commands Dataset for
Small-Footprint Keyword Spotting, Engineering Applications of Artificial Intelligence 102, 2021.
CC BY 4.0.
"""

import re

from mtcil.audio.source import ClipInfo, Source

SOURCE: Source | None = None
CLASSES: tuple[str, ...] | None = (
    *("backward", "cancel", "close", "digit", "direction", "disable", "down", "eight", "enable"),
    *("enter", "five", "forward", "four", "left", "move", "next", "nine", "no", "ok", "one"),
    *("open", "options", "previous", "receive", "record", "right", "rotate", "send", "seven"),
    *("six", "start", "stop", "three", "two", "undo", "up", "yes", "zero", "zoom_in", "zoom_out"),
)

_CLIP = re.compile(r"(?:^|/)(?P<word>[^/]+)/(?P<file>(?P<speaker>\d{8})_NO_\d\d)\.wav$")


def clip_of(member: str) -> ClipInfo | None:
    """Word, speaker and id of a clip; folders above the word's do not matter."""
    found = _CLIP.search(member)
    if not found:
        return None
    word = found["word"].replace(" ", "_")
    if CLASSES is None or word not in CLASSES:
        return None
    return ClipInfo(id=f"{word}/{found['file']}", label=word, group=found["speaker"], fold=0)
