"""Read tar, tar.gz and zip archives, or an unpacked folder, file by file; write plain tar.

Nothing is unpacked to disk and no more than one file is held in memory. An archive comes from
elsewhere and is not trusted: names are checked, sizes are bounded, links are never followed.
"""

import functools
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
from pathlib import Path
from typing import IO, Any, Literal, cast

from isal import igzip_threaded
from isal.igzip_lib import IsalError

from mtcil.core.errors import UserError
from mtcil.core.files import whole_file

MAX_BYTES = 64 * 1024**2  # of one wanted file; the longest official clip has about 2 MiB
MAX_NAME_BYTES = 64 * 1024  # of an extra header that holds a long name
MAX_HEADER_BYTES = 4 * MAX_NAME_BYTES  # of all headers before a file
MAX_REGIONS = 256  # of a file of which only parts are packed
MAX_GLOBALS = 64  # fields of headers that hold for all files that follow

Format = Literal["folder", "zip", "tar.gz", "tar"]
Wanted = Callable[[str], bool]
Reader = Callable[[Path, Wanted], Iterator[tuple[str, bytes]]]

_UNREADABLE: tuple[type[Exception], ...] = (
    *(OSError, EOFError, ValueError, zlib.error, cast(type[Exception], IsalError)),
    *(tarfile.TarError, zipfile.BadZipFile, lzma.LZMAError),
)


def format_of(path: Path) -> Format:
    """Tell a folder and the kinds of archive apart by content, whatever the name says.

    Raises:
        UserError: it is neither, or cannot be opened.
    """
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            return "folder"
        if not stat.S_ISREG(mode):  # a pipe would be waited for without end
            raise _refusal(path, "is a pipe or device. Give an archive, or a folder")
        with path.open("rb") as file:
            start = file.read(tarfile.BLOCKSIZE)
    except OSError as error:
        raise _refusal(path, f"cannot be opened ({error.strerror}). Check the path") from error
    if start.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return "zip"
    if start.startswith(b"\x1f\x8b"):
        return "tar.gz"
    try:
        _StrictEntry.frombuf(start, "utf-8", "surrogateescape")
    except tarfile.TarError as error:
        raise _refusal(path, "is no tar, tar.gz or zip archive. Give one, or a folder") from error
    return "tar"


def read_members(path: Path, wanted: Wanted, ahead: bool = False) -> Iterator[tuple[str, bytes]]:
    """Read the wanted files of an archive or a folder, one after the other.

    Args:
        path: a tar, tar.gz or zip archive, or a folder.
        wanted: asked with every name, with `/` between its parts and no leading `./`.
        ahead: decompress a tar.gz in a thread, a few megabytes ahead: for callers that have
            more to do meanwhile, and a core to do it on.

    Yields:
        (name, content) of each regular file that is wanted; in the order of the archive, or
        of the sorted names of a folder.

    Raises:
        UserError: no archive, or a damaged or truncated one; a wanted name that is absolute,
            climbs (`..`), is not Unicode or stands twice; a wanted link; a wanted file of more
            than MAX_BYTES.
    """
    readers: dict[Format, Reader] = {
        "folder": _read_folder,
        "zip": _read_zip,
        "tar.gz": functools.partial(_read_tar_gz, ahead=ahead),
        "tar": _read_tar,
    }
    reader = readers[format_of(path)]
    seen: set[str] = set()
    try:
        for name, content in reader(path, wanted):
            if name in seen:
                raise _refusal(path, f"holds {name!r} twice. Keep one of them")
            seen.add(name)
            yield name, content
    except _UNREADABLE as error:
        if isinstance(error, OSError) and error.errno:  # the system's, not gzip's
            raise _unreadable(path, error) from error
        raise _refusal(
            path, f"is damaged or cut off: {error}. Fetch it again, or repack it"
        ) from error


def pack(folder: Path, archive: Path, wanted: Wanted = lambda name: True) -> int:
    """Write the wanted regular files of an unpacked folder as a tar; say how many.

    The same files give the same bytes: names are sorted; times, owners and modes are dropped.

    Raises:
        UserError: a wanted file is a link or cannot be opened, or its name cannot stand in
            an archive.
    """
    n_files = 0
    with _new_tar(archive) as tar:
        for name, file in _files_in(folder, wanted):
            n_files += 1
            with _open(folder, file) as content:
                tar.addfile(_plain_entry(name, os.fstat(content.fileno()).st_size), content)
    return n_files


def pack_below_root(source: Path, archive: Path, wanted: Wanted) -> int:
    """Write the wanted files, without the folders above them all, as a tar; say how many.

    E.g. `my_data/dog/1.wav` and `my_data/cat/1.wav` become `dog/1.wav` and `cat/1.wav`.

    Raises:
        UserError: as of `read_members`.
    """
    folders = [posixpath.dirname(name) for name, _ in read_members(source, wanted)]
    root = posixpath.commonpath(folders) if folders else ""
    n_dropped = len(root) + 1 if root else 0
    files = read_members(source, wanted)
    write_tar(archive, ((name[n_dropped:], content) for name, content in files))
    return len(folders)


def write_tar(archive: Path, files: Iterable[tuple[str, bytes]]) -> None:
    """Write (name, content) pairs as a tar, in the order given; the same pairs, the same bytes."""
    with _new_tar(archive) as tar:
        for name, content in files:
            tar.addfile(_plain_entry(name, len(content)), io.BytesIO(content))


@contextmanager
def _new_tar(archive: Path) -> Iterator[tarfile.TarFile]:
    """Open a tar to write to, which appears whole or not at all."""
    with whole_file(archive) as part, tarfile.open(part, "w", format=tarfile.PAX_FORMAT) as tar:
        yield tar


def _plain_entry(name: str, n_bytes: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)  # owner 0, time 0, mode 0644
    entry.size = n_bytes
    return entry


def _read_folder(folder: Path, wanted: Wanted) -> Iterator[tuple[str, bytes]]:
    for name, file in _files_in(folder, wanted):
        with _open(folder, file) as content:
            declared = os.fstat(content.fileno()).st_size
            yield name, _read_bounded(folder, name, declared, content)


def _files_in(folder: Path, wanted: Wanted) -> Iterator[tuple[str, Path]]:
    """Wanted regular files below a folder, sorted by name; folders behind links are left out."""
    found: list[tuple[str, Path]] = []

    def refuse(error: OSError) -> None:
        raise _unreadable(folder, error) from error

    for parent, _, files in os.walk(folder, onerror=refuse):
        paths = [Path(parent, file) for file in files]
        found += [(path.relative_to(folder).as_posix(), path) for path in paths]
    for raw_name, path in sorted(found):
        name = _wanted_name(folder, raw_name, wanted)
        if name is not None:
            if not stat.S_ISREG(path.lstat().st_mode):
                raise _refusal(
                    folder, f"holds {name!r} as a link or device. Put the file itself there"
                )
            yield name, path


def _open(folder: Path, file: Path) -> IO[bytes]:
    try:
        return file.open("rb")
    except OSError as error:
        raise _unreadable(folder, error) from error


def _read_zip(path: Path, wanted: Wanted) -> Iterator[tuple[str, bytes]]:
    try:
        archive = zipfile.ZipFile(path)
    except NotImplementedError as error:  # a later version of the format
        raise _refusal(path, f"cannot be read: {error}. Repack it plainly") from error
    with archive:
        for entry in archive.infolist():
            is_folder = entry.filename.endswith("/")
            name = None if is_folder else _wanted_name(path, entry.filename, wanted)
            if name is None:
                continue
            kind = stat.S_IFMT(entry.external_attr >> 16)  # 0 where the packer states none
            if kind not in (0, stat.S_IFREG):
                raise _refusal(path, f"holds {name!r} as a link. Pack the file itself")
            try:
                content = archive.open(entry)
            except (RuntimeError, NotImplementedError) as error:  # a password, a rare compression
                raise _refusal(path, f"holds {name!r} so: {error}. Repack it plainly") from error
            with content:
                yield name, _read_bounded(path, name, entry.file_size, content)


def _read_tar_gz(path: Path, wanted: Wanted, ahead: bool) -> Iterator[tuple[str, bytes]]:
    with igzip_threaded.open(path, "rb", threads=int(ahead)) as stream:
        yield from _entries(path, stream, wanted)


def _read_tar(path: Path, wanted: Wanted) -> Iterator[tuple[str, bytes]]:
    with path.open("rb") as stream:
        yield from _entries(path, stream, wanted)


def _entries(path: Path, stream: IO[bytes], wanted: Wanted) -> Iterator[tuple[str, bytes]]:
    forward = _Forward(stream)
    tar = tarfile.TarFile(fileobj=cast(IO[bytes], forward), tarinfo=_StrictEntry)
    while (entry := tar.next()) is not None:
        tar.members.clear()  # type: ignore[attr-defined]  # else it keeps every entry
        if len(tar.pax_headers) > MAX_GLOBALS or len(entry.sparse or ()) > MAX_REGIONS:
            raise tarfile.ReadError("headers hold more than any packer writes")
        name = None if entry.isdir() else _wanted_name(path, entry.name, wanted)
        if name is not None:
            if not entry.isreg():
                raise _refusal(path, f"holds {name!r} as a link or device. Pack the file itself")
            content = tar.extractfile(entry) if entry.issparse() else forward
            forward.left = MAX_BYTES
            yield name, _read_bounded(path, name, entry.size, cast(IO[bytes], content))
        forward.left = MAX_HEADER_BYTES
    while rest := stream.read(1024**2):  # to the end, where gzip keeps its checksum
        if rest.count(0) != len(rest):  # e.g. zeros in place of a header, or two archives in one
            raise tarfile.ReadError("there is more behind its end mark")


class _Forward:
    """A stream with the place that tarfile asks for. It is never wound back, as a header could
    ask for, again and again; reading through tarfile's own such stream ("r|") takes longer.

    Attributes:
        left: bytes that may be read (those passed over do not count): headers can go on for ever.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream, self._place, self.left = stream, 0, MAX_HEADER_BYTES

    def tell(self) -> int:
        return self._place

    def read(self, n_bytes: int) -> bytes:
        if n_bytes > self.left:
            raise tarfile.ReadError(f"headers of more than {MAX_HEADER_BYTES} bytes")
        self.left -= n_bytes
        return self._take(n_bytes)

    def _take(self, n_bytes: int) -> bytes:
        content = self._stream.read(n_bytes)
        self._place += len(content)
        return content

    def seek(self, place: int) -> None:
        """Read up to a place, or to the end where that comes first.

        Raises:
            tarfile.ReadError: the place lies behind.
        """
        if place < self._place:
            raise tarfile.ReadError(f"a header points back, from byte {self._place} to {place}")
        while self._place < place and self._take(min(place - self._place, 1024**2)):
            pass


class _StrictEntry(tarfile.TarInfo):
    """A tar entry whose damaged header is an error; tarfile takes it for the archive's end."""

    @classmethod
    def frombuf(cls, buf: Any, encoding: str, errors: str) -> "_StrictEntry":
        entry = super().frombuf(buf, encoding, errors)
        if entry.size < 0 or (_holds_a_name(entry) and entry.size > MAX_NAME_BYTES):
            raise tarfile.ReadError(f"a header states {entry.size} bytes")
        return entry

    @classmethod
    def fromtarfile(cls, tar: tarfile.TarFile) -> "_StrictEntry":
        end_mark: type[Exception] = tarfile.EOFHeaderError  # type: ignore[attr-defined]
        try:
            entry = super().fromtarfile(tar)
        except end_mark:
            raise
        except (tarfile.HeaderError, IndexError, OverflowError, RecursionError) as error:
            raise tarfile.ReadError(str(error)) from error
        if entry.size < 0:  # by an extra header
            raise tarfile.ReadError(f"a header states {entry.size} bytes")
        return entry


def _holds_a_name(entry: tarfile.TarInfo) -> bool:
    """Whether tarfile would read this entry into memory as a header of the next one."""
    long_names = (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)
    return entry.type in (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE, *long_names)


def _wanted_name(path: Path, raw_name: str, wanted: Wanted) -> str | None:
    """The name without empty and `.` parts if it is wanted, else None.

    Raises:
        UserError: it is wanted, and absolute, climbing or not Unicode.
    """
    name = "/".join(part for part in raw_name.split("/") if part not in ("", "."))
    if not name or not wanted(name):
        return None
    if raw_name.startswith("/") or ".." in name.split("/"):
        raise _refusal(path, f"holds {raw_name!r}, which points outside. Repack it")
    if not name.isprintable():  # control characters, or bytes that are no UTF-8
        raise _refusal(path, f"holds the name {raw_name!r}, which is no text. Rename the file")
    return name


def _read_bounded(path: Path, name: str, declared: int, content: IO[bytes]) -> bytes:
    """Read as many bytes as declared, which may not be more than MAX_BYTES.

    Raises:
        UserError: more are declared.
        ValueError: fewer come, or fewer than none are declared.
    """
    if declared > MAX_BYTES:
        raise _refusal(
            path,
            f"holds {name!r} of more than {MAX_BYTES // 1024**2} MiB, which is no clip. "
            "Cut or leave out that file",
        )
    read = content.read(declared) if declared >= 0 else b""
    if len(read) != declared:
        raise ValueError(f"{name!r} should have {declared} bytes, but has {len(read)}")
    return read


def _unreadable(path: Path, error: OSError) -> UserError:
    return _refusal(path, f"cannot be read: {error}. Check who may read it, and the disk")


def _refusal(path: Path, what: str) -> UserError:
    return UserError(f"{path} {what}.")
