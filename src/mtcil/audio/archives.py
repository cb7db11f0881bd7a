"""Read tar, tar.gz and zip archives, or an unpacked folder, file by file; write plain tar.

Nothing is unpacked and no more than one file is in memory. An archive is not trusted: names are
checked, sizes are bounded, links are never followed.
"""

import io
import lzma
import os
import posixpath
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, Literal, cast

from isal import igzip_threaded
from isal.igzip_lib import IsalError

from mtcil.core.errors import UserError
from mtcil.core.files import whole_file

MAX_BYTES = 64 * 1024**2  # of one selected file; the longest official clip has about 2 MiB

Format = Literal["folder", "zip", "tar.gz", "tar"]
Select = Callable[[str], bool]
Member = tuple[str, Callable[[], bytes]]  # name, and a function that reads it if called at once

_UNREADABLE: tuple[type[Exception], ...] = (
    *(OSError, EOFError, ValueError, zlib.error, cast(type[Exception], IsalError)),
    *(tarfile.TarError, zipfile.BadZipFile, lzma.LZMAError),
    *(IndexError, OverflowError, RuntimeError),  # odd headers in tar; passwords in zip
)


def format_of(path: Path) -> Format:
    """Recognise a folder or a kind of archive by its content, whatever the name says.

    Raises:
        UserError: it is neither, or cannot be opened.
    """
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            return "folder"
        if not stat.S_ISREG(mode):  # reading a pipe might never end
            raise UserError(f"{path} is a pipe or device. Point to an archive or a folder.")
        with path.open("rb") as file:
            start = file.read(tarfile.BLOCKSIZE)
    except OSError as error:
        raise UserError(f"{path} cannot be opened ({error.strerror}). Check the path.") from error
    if start.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return "zip"
    if start.startswith(b"\x1f\x8b"):
        return "tar.gz"
    try:
        tarfile.TarInfo.frombuf(start, "utf-8", "surrogateescape")
    except tarfile.TarError as error:
        raise UserError(
            f"{path} is not a tar, tar.gz or zip archive. Point to an archive or a folder."
        ) from error
    return "tar"


def read_members(
    path: Path, select: Select, emptied: Select = lambda name: False
) -> Iterator[tuple[str, bytes]]:
    """Read the selected files of an archive or a folder, one after the other.

    Args:
        path: a tar, tar.gz or zip archive, or a folder.
        select: called with every name, with `/` between its parts and no leading `./`.
        emptied: selected files whose content is not read; it is given as empty.

    Yields:
        (name, content) of each regular file that is selected; in the order of the archive, or
        of the sorted names of a folder.

    Raises:
        UserError: not an archive, or a damaged or truncated one; a selected name that is absolute,
            climbs (`..`), is not text or occurs twice; a link; a file of more than MAX_BYTES.
    """
    seen: set[str] = set()
    with _damage_explained(path):
        for name, read in _members(path, select):
            if name in seen:
                raise UserError(f"{path} contains {name!r} twice. Remove one of them.")
            seen.add(name)
            yield name, b"" if emptied(name) else read()


def names_in(path: Path, select: Select) -> list[str]:
    """Names of the selected files, in the order of `read_members`; no content is read or checked.

    Raises:
        UserError: as in `read_members`, except for what is wrong with one file's content.
    """
    with _damage_explained(path):
        return [name for name, _ in _members(path, select)]


def root_of(names: Iterable[str]) -> str:
    """The folders above all of the files, with a `/` at the end; "" where there are none."""
    folders = [posixpath.dirname(name) for name in names]
    root = posixpath.commonpath(folders) if folders else ""
    return f"{root}/" if root else ""


def _members(path: Path, select: Select) -> Iterator[Member]:
    readers = {"folder": _read_folder, "zip": _read_zip, "tar.gz": _read_tar_gz, "tar": _read_tar}
    return readers[format_of(path)](path, select)


@contextmanager
def _damage_explained(path: Path) -> Iterator[None]:
    try:
        yield
    except _UNREADABLE as error:
        if isinstance(error, OSError) and error.errno:  # the system's, not gzip's
            raise _unreadable(path, error) from error
        raise UserError(
            f"{path} is damaged or cut off, or packed in an unusual way: {error}. "
            "Download it again, or repack it."
        ) from error


def pack(
    folder: Path,
    archive: Path,
    select: Select = lambda name: True,
    emptied: Select = lambda name: False,
) -> int:
    """Write the selected regular files of an unpacked folder as a tar; return how many.

    The same files give the same bytes: names are sorted; times, owners and modes are dropped.
    Files of `emptied` keep their names and lose their content.

    Raises:
        UserError: as in `read_members`.
    """
    return write_tar(archive, read_members(folder, select, emptied))


def pack_below_root(
    source: Path, archive: Path, select: Select, emptied: Select = lambda name: False
) -> int:
    """Write the selected files, without the folders above them all, as a tar; return how many.

    E.g. `my_data/dog/1.wav` and `my_data/cat/1.wav` become `dog/1.wav` and `cat/1.wav`. These names
    must be selected too, and `emptied` is asked with them.

    Raises:
        UserError: as in `read_members`.
    """
    n_dropped = len(root_of(names_in(source, select)))
    files = read_members(
        source,
        lambda name: select(name) and select(name[n_dropped:]),
        lambda name: emptied(name[n_dropped:]),
    )
    return write_tar(archive, ((name[n_dropped:], content) for name, content in files))


def write_tar(archive: Path, files: Iterable[tuple[str, bytes]]) -> int:
    """Write (name, content) pairs as a tar, in the order given; return how many.

    The same pairs give the same bytes. The tar appears whole or not at all.
    """
    with whole_file(archive) as part, tarfile.open(part, "w", format=tarfile.PAX_FORMAT) as tar:
        n_files = 0
        for name, content in files:
            entry = tarfile.TarInfo(name)  # owner 0, time 0, mode 0644
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
            n_files += 1
    return n_files


def _read_folder(folder: Path, select: Select) -> Iterator[Member]:
    """Selected regular files below a folder, sorted by name; folders behind links are left out."""
    files: list[tuple[str, Path]] = []

    def refuse(error: OSError) -> None:
        raise _unreadable(folder, error) from error

    for parent, _, names in os.walk(folder, onerror=refuse):
        paths = [Path(parent, name) for name in names]
        files += [(path.relative_to(folder).as_posix(), path) for path in paths]
    for raw_name, path in sorted(files):
        name = _name_of(folder, raw_name, select)
        if name is None:
            continue
        if not stat.S_ISREG(path.lstat().st_mode):
            raise _link(folder, name)
        n_bytes = path.stat().st_size
        with path.open("rb") as content:
            yield name, partial(_read_bounded, folder, name, n_bytes, content)


def _read_zip(path: Path, select: Select) -> Iterator[Member]:
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            name = None if entry.filename.endswith("/") else _name_of(path, entry.filename, select)
            if name is None:
                continue
            kind = stat.S_IFMT(entry.external_attr >> 16)  # 0 where the packer states none
            if kind not in (0, stat.S_IFREG):
                raise _link(path, name)
            with archive.open(entry) as content:
                yield name, partial(_read_bounded, path, name, entry.file_size, content)


def _read_tar_gz(path: Path, select: Select) -> Iterator[Member]:
    with igzip_threaded.open(path, "rb", threads=1) as stream:  # inflates ahead, in a thread
        yield from _entries(path, stream, select)


def _read_tar(path: Path, select: Select) -> Iterator[Member]:
    with path.open("rb") as stream:
        yield from _entries(path, stream, select)


def _entries(path: Path, stream: IO[bytes], select: Select) -> Iterator[Member]:
    with tarfile.open(fileobj=stream, mode="r|") as tar:
        while (entry := tar.next()) is not None:
            tar.members.clear()  # type: ignore[attr-defined]  # else it keeps every entry
            name = None if entry.isdir() else _name_of(path, entry.name, select)
            if name is not None:
                if not entry.isreg():
                    raise _link(path, name)
                yield name, partial(_read_bounded, path, name, entry.size, _content(tar, entry))
            _skip_to_next_header(tar)
        _check_end(cast(IO[bytes], tar.fileobj))


def _content(tar: tarfile.TarFile, entry: tarfile.TarInfo) -> IO[bytes]:
    """What a file's content is read from.

    Raises:
        ReadError: a region of a sparse file is before its beginning: the next ones could then be
            exabytes away.
    """
    if not entry.issparse():
        return cast(IO[bytes], tar.fileobj)  # stands there; extractfile's own layers take longer
    regions = cast(list[tuple[int, int]], entry.sparse)
    if any(min(region) < 0 for region in regions):
        raise tarfile.ReadError("a region of a sparse file cannot be negative")
    return cast(IO[bytes], tar.extractfile(entry))


def _skip_to_next_header(tar: tarfile.TarFile) -> None:
    """Read on; where an archive of a kilobyte states exabytes, tarfile itself would never end.

    Raises:
        ReadError: the archive ends before.
    """
    stream = cast(IO[bytes], tar.fileobj)
    while (left := tar.offset - stream.tell()) > 0:
        if not stream.read(min(left, 1024**2)):
            raise tarfile.ReadError("unexpected end of data")


def _check_end(rest: IO[bytes]) -> None:
    """Raise ReadError unless `rest`, what follows where tarfile stopped, ends an archive.

    tarfile also stops, without an error, at the end of a shortened file and at a damaged header.
    An archive ends with at least two blocks of zeros, of which tarfile has read the first.
    Reading on to the end also has gzip check its checksum.
    """
    n_zeros = 0
    while content := rest.read(1024**2):
        if content.count(0) != len(content):
            raise tarfile.ReadError("a damaged header, or data after the end of the archive")
        n_zeros += len(content)
    if n_zeros < tarfile.BLOCKSIZE:
        raise tarfile.ReadError("the end of the archive is missing")


def _name_of(path: Path, raw_name: str, select: Select) -> str | None:
    """The name without empty and `.` parts if it is selected, else None.

    Raises:
        UserError: it is selected, and absolute, climbing or not text.
    """
    name = "/".join(part for part in raw_name.split("/") if part not in ("", "."))
    if not name or not select(name):
        return None
    if raw_name.startswith("/") or ".." in name.split("/"):
        raise UserError(f"{path} contains {raw_name!r}, which points outside. Repack it.")
    if not name.isprintable():
        raise UserError(
            f"{path} contains a file name with control characters or invalid UTF-8: {raw_name!r}. "
            "Rename the file."
        )
    return name


def _read_bounded(path: Path, name: str, n_bytes: int, content: IO[bytes]) -> bytes:
    """Read `n_bytes`, as many as the archive states.

    Raises:
        UserError: more than MAX_BYTES are stated.
        ValueError: fewer come, or a negative number is stated.
    """
    if n_bytes > MAX_BYTES:
        raise UserError(
            f"{path} contains {name!r} of more than {MAX_BYTES // 1024**2} MiB, too large to be a "
            "clip. Shorten or remove that file."
        )
    read = content.read(n_bytes) if n_bytes >= 0 else b""
    if len(read) != n_bytes:
        raise ValueError(f"{name!r} should have {n_bytes} bytes, but has {len(read)}")
    return read


def _link(path: Path, name: str) -> UserError:
    return UserError(f"{path} contains {name!r} as a link or device. Use the file itself.")


def _unreadable(path: Path, error: OSError) -> UserError:
    return UserError(f"{path} cannot be read: {error}. Check its permissions and the disk.")
