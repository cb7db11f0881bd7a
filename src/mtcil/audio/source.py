"""One file per dataset, found by its name (`mtcil.core.lookup.find`).

A dataset file states:

    SOURCE: Source | None     its official archive; None where there is none to download
    CLASSES: tuple[str, ...] | None   all class names that it knows; None takes any
    def clip_of(member: str) -> ClipInfo | None
        what a file of the archive is, from its path alone; None for files that are no clips
    ROOT_IS_DROPPED = True     only where folders above all clips mean nothing: they are dropped
    def make(archive: Path, settings: DatasetSettings) -> None
        only in synthetic datasets: write the archive, in the layout that `clip_of` reads
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Source:
    """An official archive."""

    url: str  # https
    file_name: str
    n_bytes: int | None  # None where the publisher states none
    checksum: str  # "sha256:..." or "md5:...", as pooch reads it
    licence: str
    citation: str


@dataclass(frozen=True)
class ClipInfo:
    """What the path of a clip tells."""

    id: str  # unique in the dataset, e.g. "yes/0135f3f2_nohash_1"
    label: str  # class name
    group: str  # speaker or recording: what a split by group must not tear apart
    fold: int  # the dataset's own fold; 0 where it has none
