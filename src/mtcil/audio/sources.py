"""What a dataset's audio was: `sources/<dataset>.csv`, which `download` depends on.

A row per file with its name, bytes and checksum. For an official archive there is one row, which
repeats `SOURCE` of the dataset's file; for audio of the user's own one for each clip; for
synthetic datasets none. Whoever changes their audio writes the list again, and what depends on it
is made again.
"""

import csv
import hashlib
import io
import unicodedata
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import ModuleType

from mtcil.audio.archives import names_in, read_members, root_of
from mtcil.audio.source import Source
from mtcil.core.errors import UserError
from mtcil.core.progress import progress
from mtcil.settings.sections import source_variable

COLUMNS = ["name", "bytes", "checksum"]
MOST_NAMED = 5  # files in a message, of each kind

List = Mapping[str, tuple[str, str]]  # name -> (bytes or "" where not known, checksum)


@dataclass(frozen=True)
class Members:
    """Names of the files of a folder or an archive, without hidden ones.

    Attributes:
        root: the folders above all clips, with a `/` at the end, where they are dropped.
        clips: with the root left out.
        others: files that the dataset does not use.
    """

    root: str
    clips: Sequence[str]
    others: Sequence[str]

    def others_text(self) -> str:
        """How many files are not clips, by format, and the name of one."""
        if not self.others:
            return "no other file"
        suffixes = Counter(
            PurePosixPath(name).suffix.lower() or "without suffix" for name in self.others
        )
        texts = [f"{n} {suffix}" for suffix, n in suffixes.most_common(8)]
        more = f" and {len(suffixes) - 8} more kinds" if len(suffixes) > 8 else ""
        return f"{', '.join(texts)}{more} (e.g. {min(self.others)})"


def own_members(dataset: ModuleType, local: Path) -> Members:
    """Which files of the user's folder or archive are clips of a dataset, from their names.

    Raises:
        UserError: it cannot be read.
    """

    names: set[str] = set()

    def is_clip(name: str) -> bool:
        if not any(part.startswith((".", "__MACOSX")) for part in name.split("/")):
            names.add(name)
        return dataset.clip_of(name) is not None

    taken = names_in(local, is_clip)
    root = root_of(taken) if getattr(dataset, "ROOT_IS_DROPPED", False) else ""
    below = (name[len(root) :] for name in taken)
    clips = [name for name in below if dataset.clip_of(name) is not None]
    return Members(root, clips, sorted(names - {root + name for name in clips}))


def official_list(source: Source | None) -> dict[str, tuple[str, str]]:
    """The list of a dataset's official archive; empty where there is none."""
    if source is None:
        return {}
    n_bytes = "" if source.n_bytes is None else str(source.n_bytes)
    return {source.file_name: (n_bytes, source.checksum)}


def row_of(content: bytes) -> tuple[str, str]:
    """Bytes and checksum of a file."""
    return str(len(content)), f"sha256:{hashlib.sha256(content).hexdigest()}"


def own_list(
    dataset: ModuleType, local: Path, exclude: Collection[str] = ()
) -> dict[str, tuple[str, str]]:
    """The list of the clips of the user's folder or archive, sorted by name.

    Args:
        exclude: ids of clips that are not in the list.

    Raises:
        UserError: it cannot be read.
    """
    members = own_members(dataset, local)
    selected = {members.root + n for n in members.clips if dataset.clip_of(n).id not in exclude}
    files = read_members(local, selected.__contains__)
    bar = progress(files, total=len(selected), desc=local.name, unit=" files")
    rows = {plain_name(name[len(members.root) :]): row_of(content) for name, content in bar}
    return dict(sorted(rows.items()))


def plain_name(name: str) -> str:
    """The name of a file in lists: composed, so that it is the same on macOS and elsewhere."""
    return unicodedata.normalize("NFC", name)


def list_text(rows: List) -> str:
    """The text of `sources/<dataset>.csv`."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows([name, *row] for name, row in rows.items())
    return text.getvalue()


def read_list(path: Path) -> dict[str, tuple[str, str]]:
    """Read a list; empty where the file is missing.

    Raises:
        UserError: it is damaged.
    """
    try:
        header, *rows = csv.reader(io.StringIO(path.read_text("utf-8")))
        if header != COLUMNS or any(len(row) != len(COLUMNS) for row in rows):
            raise ValueError(f"its columns must be {', '.join(COLUMNS)}")
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, csv.Error) as error:
        raise UserError(
            f"{path}: cannot be read ({error}). Write it again: make sources."
        ) from error
    return {name: (n_bytes, checksum) for name, n_bytes, checksum in rows}


def check_list(
    name: str, listed: List, dataset: ModuleType, local: Path | None, exclude: Collection[str]
) -> None:
    """Compare the user's audio with the list; nothing is copied.

    Args:
        name: of the dataset in params.yaml.
        local: the user's folder or archive; None: the official archive, or synthetic audio.
        exclude: ids of clips that do not count.

    Raises:
        UserError: files were added, removed or changed; or the list is of audio of the user's
            own, and there is none.
    """
    if not listed or listed == official_list(dataset.SOURCE):
        return  # the official archive has a checksum of its own
    where = f"sources/{name}.csv"
    if local is None:
        raise UserError(
            f"{where} lists {len(listed)} files of your own. Set {source_variable(name)} to "
            "the absolute path of their folder or archive."
        )

    def counts(file: str) -> bool:
        clip = dataset.clip_of(file)
        return clip is None or clip.id not in exclude

    found = own_list(dataset, local, exclude)
    listed = {file: row for file, row in listed.items() if counts(file)}
    both = [file for file in listed if file in found]
    kinds = {
        "added": [file for file in found if file not in listed],
        "removed": [file for file in listed if file not in found],
        "changed": [file for file in both if found[file] != listed[file]],
    }
    texts = [f"{len(files)} {kind} ({_some(files)})" for kind, files in kinds.items() if files]
    if texts:
        raise UserError(
            f"{name}: the audio in {local} is not what {where} lists: {', '.join(texts)}. To "
            "accept it, write the list again: `make sources STUDY=<folder of the study>` in the "
            "repository's folder, with the same MTCIL_SOURCE variable. Otherwise restore the files."
        )


def _some(files: Sequence[str]) -> str:
    more = f" and {len(files) - MOST_NAMED} more" if len(files) > MOST_NAMED else ""
    return ", ".join(files[:MOST_NAMED]) + more
