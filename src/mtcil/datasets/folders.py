"""Audio of your own: one folder per class, and in it, if you like, one per speaker or recording.

    <class>/<file>              group: the class and the file's stem, so each clip is its own
    <class>/<group>/<file>      group: the sub-folder, the same one in all classes; folders
                                deeper inside do not matter

`datasets.<name>.group` finds the group in the file's name instead. Hidden files are left out (`.x`,
`__MACOSX`), and formats that libsndfile does not read, such as .m4a. Folders above the classes are
dropped when the data are taken in (`ROOT_IS_DROPPED`): a study has at least two classes, so a
folder that holds all clips is not a class. Point MTCIL_SOURCE_<NAME> at the data.
"""

import unicodedata
from pathlib import PurePosixPath

from mtcil.audio.source import ClipInfo, Source

SOURCE: Source | None = None
CLASSES: tuple[str, ...] | None = None
ROOT_IS_DROPPED = True

_SUFFIXES = (
    *(".wav", ".wave", ".w64", ".rf64", ".flac", ".ogg", ".oga", ".opus", ".mp3"),
    *(".aif", ".aiff", ".aifc", ".au", ".snd", ".caf"),
)


def clip_of(member: str) -> ClipInfo | None:
    """Class, group and id of a clip. The id is the whole path, so that x.wav and x.mp3 differ.

    Names are composed (NFC): macOS stores the umlaut of a name as a letter and two dots.
    """
    path = PurePosixPath(unicodedata.normalize("NFC", member))
    hidden = any(part.startswith((".", "__MACOSX")) for part in path.parts)
    if hidden or len(path.parts) < 2 or path.suffix.lower() not in _SUFFIXES:
        return None
    # A sub-folder's name has no `/`, so it is never the group of a clip outside of it.
    group = path.parts[1] if len(path.parts) > 2 else f"{path.parts[0]}/{path.stem}"
    return ClipInfo(id=str(path), label=path.parts[0], group=group, fold=0)
