"""Any bytes as an archive: files of clean names come out of it, or our own error."""

import functools
import gzip
import io
import random
import tarfile
import tempfile
import zipfile
import zlib
from pathlib import Path

from mutations import mutated

from mtcil.audio import archives
from mtcil.core import lookup
from mtcil.core.errors import UserError

MAX_BYTES = 16 * 1024  # of an input
BLOCK = tarfile.BLOCKSIZE
MAX_UNPACKED = 1 << 20  # of a tar.gz that is mutated from within


@functools.cache
def seeds() -> list[bytes]:
    """Small archives of every kind that is read, and of some that are not."""
    files = {"yes/0a1b2c3d_nohash_0.wav": b"A" * 700, "b/c.wav": b"B" * 10, "README": b"text"}
    tars = [_tar(files, form) for form in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT)]
    long_name = {f"{'long/' * 40}\N{LATIN SMALL LETTER E WITH ACUTE}.wav": b"C" * 600}
    tars += [_tar(long_name | files, form) for form in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)]
    tars += [_sparse_tar(), _old_sparse_tar()]
    kinds = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
    return [*tars, *(gzip.compress(tar, mtime=0) for tar in tars), *(_zip(files, k) for k in kinds)]


def _tar(files: dict[str, bytes], form: int) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=form) as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
        link = tarfile.TarInfo("link.txt")
        link.type, link.linkname = tarfile.SYMTYPE, "/elsewhere"
        tar.addfile(link)
    return stream.getvalue()


def _sparse_tar() -> bytes:
    """A file of which only a part is packed, as `tar --sparse` writes it (version 1.0)."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as tar:
        entry = tarfile.TarInfo("GNUSparseFile.0/a.wav")
        packed = b"2\n512\n512\n1500\n10\n".ljust(BLOCK, b"\0") + b"x" * 522
        about = {"major": "1", "minor": "0", "name": "a.wav", "realsize": "2000"}
        entry.pax_headers = {f"GNU.sparse.{key}": value for key, value in about.items()}
        entry.size = len(packed)
        tar.addfile(entry, io.BytesIO(packed))
    return stream.getvalue()


def _old_sparse_tar() -> bytes:
    """The same in the older form: regions in the header, and more in the block behind it."""
    entry = tarfile.TarInfo("a.wav")
    entry.type, entry.size = tarfile.GNUTYPE_SPARSE, 512
    header = bytearray(entry.tobuf(tarfile.GNU_FORMAT))
    header[386:410] = b"%011o\0%011o\0" % (512, 256)
    header[482] = 1  # more regions follow
    header[483:495] = b"%011o\0" % 2000
    more = (b"%011o\0%011o\0" % (1024, 256)).ljust(BLOCK, b"\0")
    return with_checksums(bytes(header)) + more + b"x" * 512 + bytes(2 * BLOCK)


def _zip(files: dict[str, bytes], compression: int) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content, compression)
    return stream.getvalue()


def with_checksums(tar: bytes) -> bytes:
    """The same with every header's checksum right, so that what it says is read."""
    whole = bytearray(tar)
    for start in range(0, len(whole) - BLOCK + 1, BLOCK):
        header = whole[start : start + BLOCK]
        if header[257:262] == b"ustar":
            total = 256 + sum(header[:148]) + sum(header[156:])
            whole[start + 148 : start + 156] = b"%06o\0 " % total
    return bytes(whole)


def damaged(data: bytes, rng: random.Random) -> bytes:
    """Damage that gets past the checksums: within a tar.gz, with right checksums of headers."""
    inner = _unpacked(data)
    others = seeds()
    if inner is not None and rng.random() < 0.7:
        return gzip.compress(_damaged_tar(inner, others[:6], rng), 1, mtime=0)
    return _damaged_tar(data, others, rng)


def _damaged_tar(data: bytes, others: list[bytes], rng: random.Random) -> bytes:
    data = mutated(data, others, rng)
    return with_checksums(data) if rng.random() < 0.8 else data


def _unpacked(data: bytes) -> bytes | None:
    if not data.startswith(b"\x1f\x8b"):
        return None
    try:
        return zlib.decompressobj(31).decompress(data, MAX_UNPACKED)
    except zlib.error:
        return None


def check(data: bytes) -> None:
    """Read an archive made of `data`; only our own error may come of it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "archive")
        path.write_bytes(data)
        try:
            found = list(archives.read_members(path, _wanted))
        except UserError:
            return
    for name, content in found:
        assert len(content) <= archives.MAX_BYTES
        assert name and not name.startswith("/") and ".." not in name.split("/")
        assert name.isprintable()


def _wanted(name: str) -> bool:
    """Also ask every dataset what it makes of the name."""
    for kind in lookup.names("datasets"):
        lookup.find("datasets", kind).clip_of(name)
    return not name.endswith((".txt", "README"))
