"""One file per dataset, found by its name (`mtcil.core.lookup.find`).

A dataset file states:

    SOURCE: Source | None     its official archive; None where there is none to download
    CLASSES: tuple[str, ...] | None   all class names that it knows; None takes any
    def clip_of(member: str) -> ClipInfo | None
        the clip in a file of the archive, from its path only; None for other files
    ROOT_IS_DROPPED = True     only where folders above all clips have no meaning and are dropped
    def make(archive: Path, settings: DatasetSettings) -> None
        only in synthetic datasets: write the archive, in the layout that `clip_of` reads
"""

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from types import ModuleType

from mtcil.core.errors import UserError

MIN_CLIPS = 3  # of a class: one for each part of the split
MOST_NAMED = 40  # classes in a message


@dataclass(frozen=True)
class Source:
    """An official archive."""

    url: str  # https
    file_name: str
    n_bytes: int | None  # None where the publisher states none
    checksum: str  # "sha256:..." or "md5:..."
    licence: str
    citation: str


@dataclass(frozen=True)
class ClipInfo:
    """What the path of a clip says about it."""

    id: str  # unique in the dataset, e.g. "yes/0135f3f2_nohash_1"
    label: str  # class name
    group: str  # speaker or recording: what a split by group keeps together
    fold: int  # the dataset's own fold; 0 where it has none


def clip_at(dataset: ModuleType, member: str, group: str | None) -> ClipInfo | None:
    """The clip that a file of an archive is; None for other files.

    Args:
        dataset: a file of `mtcil.datasets`.
        group: a regular expression whose one pair of parentheses finds the speaker or recording
            in the file's name, without its folders; None: the dataset's own.

    Raises:
        UserError: the pattern does not match the name of a clip.
    """
    clip: ClipInfo | None = dataset.clip_of(member)
    if clip is None or group is None:
        return clip
    found = re.search(group, PurePosixPath(unicodedata.normalize("NFC", member)).name)
    if not found or not found[1]:
        raise UserError(
            f"The pattern {group!r} (group) finds nothing in the file name {member!r}. Correct "
            "it, or rename the file."
        )
    return replace(clip, group=found[1])


def classes_text(labels: Mapping[str, int]) -> str:
    """Classes and how many clips each has, for messages."""
    texts = [f"{label} {n}" for label, n in sorted(labels.items())]
    more = f" and {len(texts) - MOST_NAMED} more" if len(texts) > MOST_NAMED else ""
    return (", ".join(texts[:MOST_NAMED]) or "none") + more
