"""Audio of your own: one folder per class, and in it, if you like, one per speaker or recording.

    <class>/<file>              group: the file's stem
    <class>/<group>/<file>      group: the sub-folder; folders deeper inside do not matter

Files are .wav, .flac, .ogg or .mp3; hidden ones (`.x`, `__MACOSX`) are left out. Folders above
the classes are dropped when the data are taken in (`ROOT_IS_DROPPED`): a study has at least two
classes, so a folder that holds all clips is no class. Point MTCIL_SOURCE_<NAME> at the data.
"""

from pathlib import PurePosixPath

from mtcil.audio.source import ClipInfo, Source

SOURCE: Source | None = None
CLASSES: tuple[str, ...] | None = None
ROOT_IS_DROPPED = True

_SUFFIXES = (".wav", ".flac", ".ogg", ".mp3")


def clip_of(member: str) -> ClipInfo | None:
    """Class, group and id of a clip. The id is the whole path, so that x.wav and x.mp3 differ."""
    path = PurePosixPath(member)
    hidden = any(part.startswith((".", "__MACOSX")) for part in path.parts)
    if hidden or len(path.parts) < 2 or path.suffix.lower() not in _SUFFIXES:
        return None
    group = path.parts[1] if len(path.parts) > 2 else path.stem
    return ClipInfo(id=member, label=path.parts[0], group=group, fold=0)
