"""Google Speech Commands v0.02: one-second recordings of 35 spoken words, many speakers.

The archive holds `./<word>/<speaker>_nohash_<take>.wav` (16 kHz, mono, 16 bit; some clips are
shorter than one second), and noise and lists that are no clips.
"""

import re

from mtcil.audio.source import ClipInfo, Source

SOURCE = Source(
    url="https://storage.googleapis.com/download.tensorflow.org/data/speech_commands_v0.02.tar.gz",
    file_name="speech_commands_v0.02.tar.gz",
    n_bytes=2_428_923_189,
    checksum="sha256:af14739ee7dc311471de98f5f9d2c9191b18aedfe957f4a6ff791c709868ff58",
    licence="CC BY 4.0",
    citation=(
        "P. Warden, Speech Commands: A Dataset for Limited-Vocabulary Speech Recognition, "
        "arXiv:1804.03209, 2018"
    ),
)

CLASSES: tuple[str, ...] | None = (
    *("backward", "bed", "bird", "cat", "dog", "down", "eight", "five", "follow", "forward"),
    *("four", "go", "happy", "house", "learn", "left", "marvin", "nine", "no", "off", "on"),
    *("one", "right", "seven", "sheila", "six", "stop", "three", "tree", "two", "up"),
    *("visual", "wow", "yes", "zero"),
)

_CLIP = re.compile(r"(?:^|/)(?P<word>[^/]+)/(?P<file>(?P<speaker>[0-9a-f]{8})_nohash_\d+)\.wav$")


def clip_of(member: str) -> ClipInfo | None:
    """Word, speaker and id of a clip of one of the 35 words; folders above it do not matter."""
    clip = clip_of_any_word(member)
    return clip if clip and CLASSES and clip.label in CLASSES else None


def clip_of_any_word(member: str) -> ClipInfo | None:
    """The same for any word, for other archives in this layout."""
    found = _CLIP.search(member)
    if not found:
        return None
    word = found["word"]
    return ClipInfo(id=f"{word}/{found['file']}", label=word, group=found["speaker"], fold=0)
