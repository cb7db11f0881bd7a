"""Damaged input ends in our own error: a short run of what `make fuzz` does, and what it found.

The targets in fuzz/ hold what must be true of any input; here they get valid files that are
damaged, and inputs that once broke them.
"""

import gzip
import importlib
import io
import random
import sys
import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from mtcil.audio.archives import read_members
from mtcil.core.errors import UserError
from mtcil.records.tables import file_of, known_runs, read_stage
from mtcil.running.jobs import method_settings

FUZZ = Path(__file__).resolve().parents[2] / "fuzz"
sys.path.insert(0, str(FUZZ))
TARGETS = {path.stem: importlib.import_module(path.stem) for path in sorted(FUZZ.glob("*_*.py"))}
BOUNDED = settings(
    derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.generate],  # a smaller number is not a simpler damage
)  # fmt: skip
BLOCK = tarfile.BLOCKSIZE
END = bytes(2 * BLOCK)


def run(target: Any, seed: int, number: int) -> None:
    """Damage the target's seed `number` as `seed` says, and check it."""
    seeds = target.seeds()
    target.check(target.damaged(seeds[number % len(seeds)], random.Random(seed)))


seed, number = st.integers(0, 2**32), st.integers(0, 1000)


@settings(BOUNDED, max_examples=1000)
@given(seed, number)
def test_a_damaged_archive_is_read_or_refused(seed, number):
    run(TARGETS["archive_bytes"], seed, number)


# libsndfile asks for places before the beginning, and soundfile lets Python print its own error.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@settings(BOUNDED, max_examples=1000)
@given(seed, number)
def test_a_damaged_clip_is_decoded_or_refused(seed, number):
    run(TARGETS["clip_bytes"], seed, number)


@settings(BOUNDED, max_examples=300)
@given(seed, number)
def test_damaged_params_are_read_or_refused(seed, number):
    run(TARGETS["params_text"], seed, number)


@settings(BOUNDED, max_examples=150)
@given(seed, number)
def test_damaged_records_are_read_or_refused(seed, number):
    run(TARGETS["records_text"], seed, number)


@settings(BOUNDED, max_examples=200)
@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(data):
    for target in TARGETS.values():
        target.check(data)


@pytest.mark.parametrize("name", TARGETS)
def test_every_seed_is_read_or_refused(name):
    for data in TARGETS[name].seeds():
        TARGETS[name].check(data)


def test_a_target_fails_where_another_error_comes_out(monkeypatch):
    def broken(path, wanted):
        raise KeyError("not ours")

    target = TARGETS["archive_bytes"]
    monkeypatch.setattr(target.archives, "read_members", broken)
    with pytest.raises(KeyError, match="not ours"):
        target.check(target.seeds()[0])


# What fuzzing found. Each of these ended in another error, in silence or not at all.


def header(name: str, kind: bytes, n_bytes: int) -> bytes:
    entry = tarfile.TarInfo(name)
    entry.type, entry.size = kind, n_bytes
    return entry.tobuf(tarfile.USTAR_FORMAT)


def packed(name: str, content: bytes = b"x", kind: bytes = tarfile.REGTYPE) -> bytes:
    """An entry of a tar: its header and its content, which fills whole blocks."""
    return header(name, kind, len(content)) + content + bytes(-len(content) % BLOCK)


def extra(fields: bytes, kind: bytes = tarfile.XHDTYPE) -> bytes:
    """A header that says more of the entry behind it, or of all that follow."""
    return packed("extra", fields, kind)


def field(key: bytes, value: bytes) -> bytes:
    """A field of an extra header: its own length, key and value."""
    rest, length = b" " + key + b"=" + value + b"\n", 0
    while length != len(str(length)) + len(rest):
        length = len(str(length)) + len(rest)
    return str(length).encode() + rest


def sparse(n_regions: int) -> bytes:
    """A file of which only the given number of regions, each of one byte, is packed."""
    about = {b"major": b"1", b"minor": b"0", b"name": b"s.wav", b"realsize": b"2000"}
    fields = b"".join(field(b"GNU.sparse." + key, value) for key, value in about.items())
    regions = b"%d\n" % n_regions + b"0\n1\n" * n_regions
    return extra(fields) + packed("s.wav", regions + bytes(-len(regions) % BLOCK) + bytes(BLOCK))


def old_sparse(first_region: bytes) -> bytes:
    """The older kind of such a file, with its first region behind the header as given."""
    made = bytearray(TARGETS["archive_bytes"]._old_sparse_tar()[: 3 * BLOCK])
    made[BLOCK : BLOCK + len(first_region)] = first_region
    return bytes(made)


def sparse_of_bytes(n_packed: int) -> bytes:
    """A header that says how much of an empty file is packed."""
    entry = tarfile.TarInfo("s.wav")
    entry.type, entry.size = tarfile.GNUTYPE_SPARSE, n_packed
    return entry.tobuf(tarfile.GNU_FORMAT)


def sparse_before_its_beginning() -> bytes:
    """A file of two regions, the first of them before the file: the second is then far away."""
    about = {b"map": b"-2305843009213693952,1152921504606846976,0,512", b"size": b"512"}
    fields = b"".join(field(b"GNU.sparse." + key, value) for key, value in about.items())
    return extra(fields) + packed("s.wav", bytes(BLOCK))


A, B = packed("a.wav"), packed("b.wav")
TARS = {
    "an extra header without length, taken for the end": A + extra(b"0 path=x\n") + B + END,
    "an extra header of a huge length": extra(b"9" * 20 + b" path=x\n") + B + END,
    "an extra header of negative size": A + extra(field(b"size", b"-1024")) + B + END,
    "extra headers without end": header("h", tarfile.XHDTYPE, 0) * 1000 + A + END,
    "long names without end": packed("h", b"n\0", tarfile.GNUTYPE_LONGNAME) * 1000 + A + END,
    "a region that is not a number, taken for the end": A + old_sparse(b"zzzzzzzzzzz\0") + B + END,
    "regions that are cut off": old_sparse(b"")[: BLOCK + 100],
    "exabytes that are not there": sparse_of_bytes(2**60) + B + END,
    "a region before the beginning": sparse_before_its_beginning() + B + END,
    "zeros in place of a header": A + bytes(BLOCK) + packed("b.wav"),
    "two archives in one": A + END + B + END,
}  # fmt: skip


@pytest.mark.parametrize("tar", TARS.values(), ids=TARS)
@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["tar", "tar.gz"])
def test_a_tar_of_this_kind_is_refused(tmp_path, tar, pack):
    (tmp_path / "x.tar").write_bytes(pack(tar))
    with pytest.raises(UserError, match="damaged or cut off"):
        list(read_members(tmp_path / "x.tar", lambda name: True))


@pytest.mark.parametrize("n_regions", [1, 200])
def test_a_sparse_file_of_some_regions_is_still_read(tmp_path, n_regions):
    (tmp_path / "x.tar").write_bytes(A + sparse(n_regions) + B + END)
    sizes = {name: len(content) for name, content in read_members(tmp_path / "x.tar", bool)}
    assert sizes == {"a.wav": 1, "s.wav": 2000, "b.wav": 1}


def zipped(place: int, value: bytes, compression: int = zipfile.ZIP_LZMA, start: int = 0) -> bytes:
    """A zip of one file with other bytes at a place, counted from its beginning or its list."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as archive:
        archive.writestr("a.wav", b"x" * 1000)
    made = bytearray(stream.getvalue())
    at = place + (made.find(b"PK\1\2") if start else 0)
    made[at : at + len(value)] = value
    return bytes(made)


ZIPS = {
    "a later version of the format": zipped(6, b"\x63", start=1),
    "damaged LZMA": zipped(43, b"\xff\xff\xff\xff\xff"),
    "LZMA with settings that cannot be": zipped(39, b"\xff"),
}


@pytest.mark.parametrize("content", ZIPS.values(), ids=ZIPS)
def test_a_zip_of_this_kind_is_refused(tmp_path, content):
    (tmp_path / "x.zip").write_bytes(content)
    with pytest.raises(UserError, match=r"damaged or cut off|cannot be read"):
        list(read_members(tmp_path / "x.zip", bool))


def test_a_file_without_a_name_in_a_zip_is_left_out(tmp_path):
    (tmp_path / "x.zip").write_bytes(zipped(46, b"\0", start=1))
    assert list(read_members(tmp_path / "x.zip", bool)) == []


CELLS = {  # column, what stands there, and what is said of it
    "a number beyond 64 bits": ("records", "step", "9" * 25, "cannot be read"),
    "a number beyond all": ("records", "seed", "1e999", "cannot be read"),
    "classes that another run has not": ("records", "classes_seen", "7", "each step once"),
    "another dataset": ("records", "dataset", "urban", "runs of a dataset other"),
    "no accuracy": ("matrix", "accuracy", "", "an accuracy"),
    "no counts": ("confusion", "counts", "", "impossible counts"),
    "counts of other classes": ("confusion", "counts", "1 0;0 1", "impossible counts"),
    "counts below 0": ("confusion", "counts", "0 0 0 -1;" * 3 + "1 1 1 1", "cannot be"),
    "counts beyond all": ("confusion", "counts", "0 0 0 9999999999;" * 3 + "1 1 1 1", "cannot be"),
}


@pytest.mark.parametrize(("name", "column", "value", "says"), CELLS.values(), ids=CELLS)
def test_records_of_this_kind_are_refused(tmp_path, name, column, value, says):
    target = TARGETS["records_text"]
    place = list(target.TABLES).index(name)
    header, first, *rest = target.seeds()[place].decode().splitlines()
    cells = first.split(",")
    cells[header.split(",").index(column)] = value
    stage = tmp_path / "learn_steps"
    stage.mkdir()
    for table, content in zip(target.TABLES, target.seeds(), strict=True):
        file_of(stage, target.DATASET, table).write_bytes(content)
    assert len(known_runs([stage], target.DATASET)) == 4
    file_of(stage, target.DATASET, name).write_text("\n".join([header, ",".join(cells), *rest]))
    with pytest.raises(UserError, match=says):
        read_stage(tmp_path, "learn_steps", [target.DATASET], name)
    assert known_runs([stage], target.DATASET) == {}


@pytest.mark.parametrize("text", ["x: !!int ''", "x: !!bool a", "x: !!float a", "!!timestamp a"])
def test_params_that_say_a_type_that_their_value_is_not_of_are_refused(text):
    with pytest.raises(UserError, match=r"cannot be read as YAML|must hold sections"):
        TARGETS["params_text"]._read(text.encode())


@pytest.mark.parametrize(
    "kind", [None, 3, 1 << 20_000, ["ccil"], {}], ids=lambda k: type(k).__name__
)
def test_a_method_whose_kind_is_not_a_name_is_refused(kind):
    target = TARGETS["params_text"]
    study = target._changed(b"")
    study = replace(study, methods=study.methods | {"mine": {"kind": kind}})
    with pytest.raises(UserError, match=r"methods\.mine\.kind must be a file of"):
        method_settings(study, "mine")


def test_a_message_about_params_is_short_however_long_the_value():
    with pytest.raises(UserError) as caught:
        TARGETS["params_text"]._read(b"x: " + b"f" * 5000 + b"\nx: 1\n")
    assert "duplicate key" in str(caught.value) and len(str(caught.value)) < 600
