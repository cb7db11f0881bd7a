"""Archives are read as streams, and one that is damaged or hostile is refused."""

import gzip
import io
import os
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from mtcil.audio import archives
from mtcil.audio.archives import pack, pack_below_root, read_members, write_tar
from mtcil.core.errors import UserError

FILES = {"yes/a.wav": b"A" * 3000, "no/b.wav": b"B" * 10, "README": b"text"}


def is_wav(name: str) -> bool:
    return name.endswith(".wav")


def read_all(path: Path, wanted=is_wav) -> dict[str, bytes]:
    return dict(read_members(path, wanted))


def make(path: Path, kind: str, files: dict[str, bytes] = FILES) -> Path:
    if kind == "folder":
        for name, content in files.items():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_bytes(content)
    elif kind == "zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in files.items():
                archive.writestr(name, content)
    else:
        with tarfile.open(path, "w:gz" if kind == "tar.gz" else "w") as tar:
            for name, content in files.items():
                add(tar, name, content)
    return path


def add(tar: tarfile.TarFile, name: str, content: bytes = b"", **header: object) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    for key, value in header.items():
        setattr(entry, key, value)
    tar.addfile(entry, io.BytesIO(content))


@pytest.mark.parametrize("kind", ["tar", "tar.gz", "zip", "folder"])
def test_the_content_and_not_the_name_tells_the_format(tmp_path, kind):
    path = make(tmp_path / "called.txt", kind)
    assert archives.format_of(path) == kind
    assert read_all(path) == {name: FILES[name] for name in ("yes/a.wav", "no/b.wav")}


@pytest.mark.parametrize("kind", ["tar", "tar.gz", "zip"])
def test_archive_order_is_kept(tmp_path, kind):
    path = make(tmp_path / "archive", kind)
    assert [name for name, _ in read_members(path, is_wav)] == ["yes/a.wav", "no/b.wav"]


def test_a_folder_is_read_in_sorted_order(tmp_path):
    path = make(tmp_path / "folder", "folder")
    assert [name for name, _ in read_members(path, is_wav)] == ["no/b.wav", "yes/a.wav"]


def test_leading_dots_and_empty_parts_are_dropped(tmp_path):
    path = make(tmp_path / "a.tar", "tar", {"./yes//./a.wav": b"x"})
    assert read_all(path) == {"yes/a.wav": b"x"}


@pytest.mark.parametrize("content", [b"", b"RIFF" * 200, bytes(2000)])
def test_a_file_that_is_not_an_archive_is_refused(tmp_path, content):
    path = tmp_path / "x.tar"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"x\.tar is not a tar, tar\.gz or zip archive"):
        read_all(path)


def test_a_missing_archive_is_refused(tmp_path):
    with pytest.raises(UserError, match="cannot be opened"):
        read_all(tmp_path / "none.tar")


@pytest.mark.parametrize("kind", ["tar", "tar.gz", "zip"])
@pytest.mark.parametrize("keep", [0.3, 0.6, 0.9, 0.999])
def test_a_cut_off_archive_is_refused_wherever_it_ends(tmp_path, kind, keep):
    files = {f"yes/{k}.wav": np.random.default_rng(k).bytes(3000) for k in range(10)}
    path = make(tmp_path / "archive", kind, files)
    whole = path.read_bytes()
    end = whole.rfind(b"9.wav") + 100 + 3072 if kind == "tar" else len(whole)  # before padding
    path.write_bytes(whole[: int(keep * end)])
    with pytest.raises(UserError, match="damaged or cut off"):
        read_all(path)


def test_a_tar_cut_between_two_files_is_refused(tmp_path):
    path = make(tmp_path / "a.tar", "tar", {"a.wav": b"x" * 512, "b.wav": b"y" * 512})
    path.write_bytes(path.read_bytes()[:1024])
    with pytest.raises(UserError, match="damaged or cut off"):
        read_all(path)


@pytest.mark.parametrize("kind", ["tar", "tar.gz", "zip"])
def test_a_flipped_bit_is_refused(tmp_path, kind):
    files = {f"yes/{k}.wav": np.random.default_rng(k).bytes(3000) for k in range(4)}
    path = make(tmp_path / "archive", kind, files)
    damaged = bytearray(path.read_bytes())
    # A tar has checksums of its headers only, so its second header is hit.
    place = damaged.find(b"yes/1.wav") + 2 if kind == "tar" else len(damaged) // 2
    damaged[place] ^= 0x10
    path.write_bytes(damaged)
    with pytest.raises(UserError, match="damaged or cut off"):
        read_all(path)


@pytest.mark.parametrize("place", [-6, -2])  # gzip's checksum of the whole, and its length
def test_damage_after_the_last_needed_file_is_noticed(tmp_path, place):
    path = make(tmp_path / "a.tar.gz", "tar.gz")
    damaged = bytearray(path.read_bytes())
    damaged[place] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(UserError, match="damaged or cut off"):
        read_all(path)


def test_no_byte_of_a_gzip_can_be_damaged_so_that_other_sound_comes_out(tmp_path):
    path = make(tmp_path / "a.tar.gz", "tar.gz")
    whole, expected, refused = path.read_bytes(), read_all(path), 0
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :])
        try:
            assert read_all(path) == expected  # e.g. the time in gzip's header
        except UserError:
            refused += 1
    assert refused > 0.9 * len(whole)


def test_a_tar_gz_of_several_parts_is_read_to_the_end(tmp_path):
    tar = make(tmp_path / "a.tar", "tar").read_bytes()
    path = tmp_path / "a.tar.gz"
    path.write_bytes(gzip.compress(tar[:700]) + gzip.compress(tar[700:]) + bytes(99))
    assert set(read_all(path)) == {"yes/a.wav", "no/b.wav"}


def test_a_sparse_file_is_read_with_its_zeros(tmp_path):
    """`tar --sparse` does so. The map of what is packed stands before it, as GNU tar writes it."""
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        packed = b"1\n1024\n512\n".ljust(512, b"\0") + b"x" * 512
        sparse = {"major": "1", "minor": "0", "name": "a.wav", "realsize": "2000"}
        headers = {f"GNU.sparse.{key}": value for key, value in sparse.items()}
        add(tar, "GNUSparseFile.0/a.wav", packed, pax_headers=headers)
        add(tar, "b.wav", b"b")
    assert read_all(path) == {"a.wav": bytes(1024) + b"x" * 512 + bytes(464), "b.wav": b"b"}


@pytest.mark.parametrize("name", ["a.wav", "README"])  # wanted, and passed over
def test_a_header_that_points_back_is_refused(tmp_path, name):
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        add(tar, name, b"x" * 512, pax_headers={"size": "-4096"})
    with pytest.raises(UserError, match="damaged or cut off"):
        read_all(path)


@pytest.mark.parametrize("kind", ["tar", "zip"])
@pytest.mark.parametrize("name", ["../yes/a.wav", "/yes/a.wav", "yes/../../a.wav"])
def test_a_clip_name_that_points_outside_is_refused(tmp_path, kind, name):
    with pytest.raises(UserError, match="points outside"):
        read_all(make(tmp_path / "a", kind, {name: b"x"}))


def test_an_unwanted_name_that_points_outside_is_passed_over(tmp_path):
    path = make(tmp_path / "a.tar", "tar", {"../evil": b"x", "yes/a.wav": b"y"})
    assert read_all(path) == {"yes/a.wav": b"y"}


@pytest.mark.parametrize("name", ["yes/a\n.wav", "yes/\udcff.wav"])
def test_a_name_with_control_characters_or_invalid_utf_8_is_refused(tmp_path, name):
    with pytest.raises(UserError, match="control characters or invalid UTF-8"):
        read_all(make(tmp_path / "a.tar", "tar", {name: b"x"}))


def test_a_duplicate_name_is_refused(tmp_path):
    path = make(tmp_path / "a.tar", "tar", {"yes/a.wav": b"x", "./yes/a.wav": b"y"})
    with pytest.raises(UserError, match="twice"):
        read_all(path)


@pytest.mark.parametrize("kind", ["tar", "tar.gz", "zip", "folder"])
def test_a_file_that_is_too_large_is_refused(tmp_path, monkeypatch, kind):
    path = make(tmp_path / "a", kind)
    monkeypatch.setattr(archives, "MAX_BYTES", 2999)
    with pytest.raises(UserError, match=r"yes/a\.wav.* of more than"):
        read_all(path)
    monkeypatch.setattr(archives, "MAX_BYTES", 3000)
    assert len(read_all(path)) == 2


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_are_refused_as_clips_and_ignored_elsewhere(tmp_path, kind):
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as tar:
        add(tar, "yes/a.wav", type=kind, linkname="/etc/passwd")
        add(tar, "yes/b.wav", b"b")
    with pytest.raises(UserError, match="link or device"):
        read_all(path)
    assert read_all(path, lambda name: name.endswith("b.wav")) == {"yes/b.wav": b"b"}


def test_a_link_in_a_zip_is_refused(tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        entry = zipfile.ZipInfo("a.wav")
        entry.external_attr = 0o120777 << 16
        archive.writestr(entry, "/etc/passwd")
    with pytest.raises(UserError, match="as a link"):
        read_all(path)


def test_links_in_a_folder_are_never_followed(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "secret.wav").write_bytes(b"x")
    folder = make(tmp_path / "folder", "folder")
    (folder / "linked").symlink_to(tmp_path / "elsewhere")
    assert set(read_all(folder)) == {"yes/a.wav", "no/b.wav"}
    (folder / "c.wav").symlink_to(tmp_path / "elsewhere" / "secret.wav")
    with pytest.raises(UserError, match=r"c\.wav' as a link"):
        read_all(folder)


def test_packing_the_same_files_gives_the_same_bytes(tmp_path):
    first, second = make(tmp_path / "1", "folder"), tmp_path / "2"
    make(second, "folder", dict(reversed(FILES.items())))
    for k, file in enumerate(sorted(second.rglob("*.wav"))):
        os.utime(file, (k, k))
        file.chmod(0o600)
    assert pack(first, tmp_path / "1.tar") == pack(second, tmp_path / "2.tar") == 3
    assert (tmp_path / "1.tar").read_bytes() == (tmp_path / "2.tar").read_bytes()
    assert read_all(tmp_path / "1.tar", lambda name: True) == FILES


def test_packing_below_the_root_drops_the_folders_above_all_files(tmp_path):
    below = {f"home/my data/{name}": content for name, content in FILES.items()}
    path = make(tmp_path / "a.tar.gz", "tar.gz", {"home/LIST": b"", **below})
    assert pack_below_root(path, tmp_path / "out.tar", is_wav) == 2
    assert set(read_all(tmp_path / "out.tar")) == {"yes/a.wav", "no/b.wav"}


def test_a_file_that_is_no_clip_without_the_root_is_left_out(tmp_path):
    files = {"my/owl/1.wav": b"1", "my/crow/1.wav": b"2", "my/intro.wav": b"3"}
    path = make(tmp_path / "a.tar", "tar", files)

    def is_clip(name):
        return is_wav(name) and "/" in name

    assert pack_below_root(path, tmp_path / "out.tar", is_clip, is_clip) == 2
    assert read_all(tmp_path / "out.tar") == {"owl/1.wav": b"", "crow/1.wav": b""}


def test_a_tar_appears_whole_or_not_at_all(tmp_path):
    def broken():
        yield "a.wav", b"x"
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        write_tar(tmp_path / "a.tar", broken())
    assert list(tmp_path.iterdir()) == []
