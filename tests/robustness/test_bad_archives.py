"""Archives that are damaged, hostile or of something else, given to the real stages."""

import gzip
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
import zipfile
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import soundfile
from refused import assert_refused, refusal
from tiny_study import ROOT, change, params, run_stage, write_params

from mtcil.audio.archives import pack, read_members, write_tar
from mtcil.audio.extraction import extract
from mtcil.core.errors import UserError
from mtcil.datasets import urbansound8k
from mtcil.settings.sections import DatasetSettings, FeatureSettings, UpdateSettings

WORDS = params(".")["datasets"]["words"]["classes"]
GIB = 1024**3
FEATURES = FeatureSettings(8_000, 0.25, 256, 128, True, 16)
US8K = DatasetSettings(
    kind="urbansound8k", classes=("dog_bark", "siren"), clips_per_class=10, steps=(2,),
    exemplars=0, updates=UpdateSettings(1, 1, 1, 1), features="any", network="any",
    class_order=None, folds=None, exclude=(),
)  # fmt: skip


def wav(seed: int) -> bytes:
    stream = io.BytesIO()
    samples = np.random.default_rng(seed).uniform(-0.5, 0.5, 16_000)
    soundfile.write(stream, samples, 16_000, format="WAV", subtype="PCM_16")
    return stream.getvalue()


CONTENT = wav(0)
NAMES = [f"{word}/{k:08x}_nohash_0.wav" for word in WORDS for k in range(10)]
CLIPS = [(name, CONTENT) for name in NAMES]


def tar(*entries: tuple[str, bytes], **header: object) -> bytes:
    """A tar of entries; `header` is of the last one."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, content in entries:
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            for key, value in header.items() if name == entries[-1][0] else ():
                setattr(entry, key, value)
            archive.addfile(entry, io.BytesIO(content) if entry.isreg() else None)
    return stream.getvalue()


def packed(*entries: tuple[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries:
            archive.writestr(name, content)
    return stream.getvalue()


def claims(name: str, n_bytes: int) -> bytes:
    """A tar.gz whose one entry states `n_bytes` and holds zeros, as far as it goes."""
    entry = tarfile.TarInfo(name)
    entry.size = n_bytes
    return gzip.compress(entry.tobuf(tarfile.GNU_FORMAT) + bytes(10**6))


def lying_zip(name: str, n_bytes: int) -> bytes:
    """A zip whose table states `n_bytes` of a small file."""
    whole = packed((name, bytes(1000)))
    return whole.replace((1000).to_bytes(4, "little"), n_bytes.to_bytes(4, "little"))


GOOD = tar(*CLIPS)
BAD = NAMES[0]
NOT_AN_ARCHIVE = "is not a tar, tar.gz or zip archive"
TOO_LARGE = "of more than 64 MiB, too large to be a clip"
EMPTY = "each class needs at least 3 clips, but the archive has yes 0, no 0, up 0, down 0, left 0"
# Content of the archive, and what extract_features must say of it.
ARCHIVES = {
    "nothing": (b"", NOT_AN_ARCHIVE),
    "a web page": (b"<!DOCTYPE html>\n<title>404</title>" * 99, NOT_AN_ARCHIVE),
    "zeros": (bytes(10_240), NOT_AN_ARCHIVE),
    "a 7z archive": (b"7z\xbc\xaf\x27\x1c" + bytes(600), NOT_AN_ARCHIVE),
    "a bzip2 archive": (b"BZh91AY&SY" + bytes(600), NOT_AN_ARCHIVE),
    "half a tar": (GOOD[: len(GOOD) // 2], "is damaged or cut off"),
    "half a tar.gz": (gzip.compress(GOOD)[:5000], "is damaged or cut off"),
    "half a zip": (packed(*CLIPS)[:5000], "is damaged or cut off"),
    "a tar.gz of nothing": (gzip.compress(b""), "is damaged or cut off"),
    "a tar.gz of no entries": (gzip.compress(bytes(10_240)), EMPTY),
    "a zip of no entries": (packed(), EMPTY),
    "a tar in a tar": (tar(("clips.tar", GOOD)), EMPTY),
    "another dataset": (tar(("UrbanSound8K/audio/fold1/7-3-0-0.wav", CONTENT)), EMPTY),
    "names in capitals": (tar(*[(n.replace(".wav", ".WAV"), c) for n, c in CLIPS]), EMPTY),
    "some classes": (tar(*CLIPS[:20]), "down 0, left 0. All classes in it: no 10, yes 10. Check"),
    "two clips of a class": (tar(*CLIPS[:42]), "has left 2. All classes in it: down 10,"),
    "a clip twice": (tar(*CLIPS, CLIPS[0]), "two files of the archive are the clip yes/00000000"),
    "a clip in two folders": (tar(*CLIPS, (f"x/{BAD}", CONTENT)), "two files of the archive are"),
    "a climbing name": (tar((f"../{BAD}", CONTENT)), f"'../{BAD}', which points outside"),
    "an absolute name": (tar((f"/{BAD}", CONTENT)), f"'/{BAD}', which points outside"),
    "a climbing name in a zip": (packed((f"../{BAD}", CONTENT)), "points outside"),
    "a symbolic link": (
        tar((BAD, b""), type=tarfile.SYMTYPE, linkname="/etc/passwd"), "as a link or device",
    ),
    "a hard link": (
        tar((BAD, b""), type=tarfile.LNKTYPE, linkname=NAMES[1]), "as a link or device",
    ),
    "a pipe": (tar((BAD, b""), type=tarfile.FIFOTYPE), "as a link or device"),
    "a character device": (tar((BAD, b""), type=tarfile.CHRTYPE), "as a link or device"),
    "a block device": (tar((BAD, b""), type=tarfile.BLKTYPE), "as a link or device"),
    "a clip of 10 GiB": (claims(BAD, 10 * GIB), TOO_LARGE),
    "a clip of 3 GiB in a zip": (lying_zip(BAD, 3 * GIB), TOO_LARGE),
    "a clip that states more than it has": (lying_zip(BAD, 2000), "is damaged or cut off"),
    "a clip that states less than it has": (lying_zip(BAD, 10), "is damaged or cut off"),
    "a negative size": (claims(BAD, -4096), "is damaged or cut off"),
}  # fmt: skip


@pytest.fixture
def study(tmp_path):
    values = params(".")
    change(values, "datasets.words.clips_per_class", 10)
    write_params(tmp_path, values)
    return tmp_path


def downloaded(study, content: bytes) -> None:
    """As after the stage download."""
    raw = study / "data" / "raw" / "words"
    raw.mkdir(parents=True)
    (raw / "words.tar").write_bytes(content)
    (raw / "source.json").write_text(json.dumps({"dataset": "words"}))


@pytest.mark.parametrize("case", ARCHIVES)
def test_a_bad_archive_is_refused_by_name(study, case):
    content, says = ARCHIVES[case]
    downloaded(study, content)
    message = refusal(study, "extract_features", "words")
    assert says in message and len(message.splitlines()) == 1
    assert message.startswith(("error: data/raw/words/words.tar ", "error: words: "))


def test_a_process_that_reads_a_bad_archive_ends_with_one_line(study):
    downloaded(study, GOOD[:30_000])
    assert_refused(study, "extract_features", "words", says="words.tar is damaged or cut off")


def test_the_good_archive_passes(study):
    downloaded(study, GOOD)
    done = run_stage(study, "extract_features", "words")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(("text", "says"), [("", "cannot be read as JSON"), ("[]", "a mapping")])
def test_a_broken_note_of_the_source_is_refused_before_the_archive_is_read(study, text, says):
    downloaded(study, b"not read")
    (study / "data/raw/words/source.json").write_text(text)
    message = refusal(study, "extract_features", "words")
    assert f"source.json: {'must hold ' * bool(text)}{says}" in message
    assert "dvc repro --force download@words" in message


@pytest.mark.parametrize(
    ("setting", "value", "says"),
    [
        (
            "exclude",
            ["yes/0_nohash_0"],
            "exclude names 'yes/0_nohash_0', which is not in data/raw",
        ),
        (
            "folds",
            [0, 7],
            "datasets.words.folds names 7, but the clips of data/raw/words/words.tar are "
            "of folds 0.",
        ),
    ],
)
def test_a_class_or_clip_missing_in_the_archive_is_refused(study, setting, value, says):
    values = params(".")
    change(values, f"datasets.words.{setting}", value)
    write_params(study, values)
    downloaded(study, GOOD)
    assert says in refusal(study, "extract_features", "words")


def test_a_clip_of_a_class_that_is_not_used_may_be_excluded(study):
    values = params(".")
    change(values, "datasets.words.exclude", ["wow/00000000_nohash_0"])
    change(values, "datasets.words.clips_per_class", 10)
    write_params(study, values)
    downloaded(study, tar(*CLIPS, ("wow/00000000_nohash_0.wav", b"damaged")))
    assert run_stage(study, "extract_features", "words").returncode == 0


# What a source may be: made at a path, and what the stage download must say of it.
SOURCES = {
    "a pipe": (lambda path: os.mkfifo(path), "is a pipe or device"),
    "a device": (lambda path: path.symlink_to("/dev/zero"), "is a pipe or device"),
    "a link to itself": (lambda path: path.symlink_to(path), "there is no"),
    "a link to nothing": (lambda path: path.symlink_to("gone"), "there is no"),
    "an empty file": (lambda path: path.touch(), NOT_AN_ARCHIVE),
    "an empty folder": (lambda path: path.mkdir(), "contains no clip where folders looks"),
    "a sound file": (lambda path: path.write_bytes(CONTENT), NOT_AN_ARCHIVE),
    "half an archive": (lambda path: path.write_bytes(GOOD[:40_000]), "is damaged or cut off"),
    "a folder with a pipe": (
        lambda path: (path / "a").mkdir(parents=True) or os.mkfifo(path / "a" / "b.wav"),
        "contains 'a/b.wav' as a link or device",
    ),
    "a folder with a link": (
        lambda path: (path / "a").mkdir(parents=True) or (path / "a/b.wav").symlink_to(__file__),
        "contains 'a/b.wav' as a link or device",
    ),
    "a name of two lines": (
        lambda path: (path / "a").mkdir(parents=True) or (path / "a" / "b\nc.wav").touch(),
        "with control characters",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", SOURCES)
def test_a_bad_source_is_refused_and_never_waited_for(study, tmp_path_factory, monkeypatch, case):
    make, says = SOURCES[case]
    source = tmp_path_factory.mktemp("mine") / "data"
    make(source)
    values = params(".")
    change(values, "datasets.words.kind", "folders")
    write_params(study, values)
    monkeypatch.setenv("MTCIL_SOURCE_WORDS", str(source))
    with at_most(seconds=20):
        message = refusal(study, "download", "words")
    assert says in message and str(source) in message


@contextmanager
def at_most(seconds: int):
    def stop(*_: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize(
    "read",
    [
        lambda folder: list(read_members(folder, is_wav)),
        lambda folder: pack(folder, folder.parent / "out.tar", is_wav),
    ],
)
@pytest.mark.parametrize("denied", ["file", "folder"])
def test_a_folder_that_may_not_be_read_is_refused(tmp_path, monkeypatch, read, denied):
    folder = tmp_path / "mine"
    (folder / "a").mkdir(parents=True)
    (folder / "a" / "b.wav").write_bytes(b"x")

    def deny(path, *_: object, **__: object):
        raise PermissionError(13, "Permission denied", str(path))

    if denied == "file":
        monkeypatch.setattr(Path, "open", deny_below(folder, Path.open))
    else:
        monkeypatch.setattr(os, "scandir", deny)
    with pytest.raises(
        UserError, match=r"mine cannot be read: .*Permission denied.*its permissions"
    ):
        read(folder)
    monkeypatch.undo()
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def deny_below(folder: Path, function):
    """As for a user without rights there: tests may run as root, who has them all."""

    def opened(path: Path, *arguments: object):
        if path.is_relative_to(folder):
            raise PermissionError(13, "Permission denied", str(path))
        return function(path, *arguments)

    return opened


def is_wav(name: str) -> bool:
    return name.endswith(".wav")


def grown(path: Path, wanted: str) -> tuple[str, int]:
    """What reading an archive ends in, and by how many MiB the process that reads has grown."""
    code = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from mtcil.audio.archives import read_members\n"
        "from mtcil.core.errors import UserError\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "before, end = peak(), 'read'\n"
        "try:\n"
        "    for _ in read_members(Path(sys.argv[1]), lambda n: n.endswith(sys.argv[2])): pass\n"
        "except UserError as error: end = str(error)\n"
        "print(peak() - before, end)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(
        [sys.executable, "-c", code, str(path), wanted], env=environment, capture_output=True,
        text=True, check=True, timeout=60,
    )  # fmt: skip
    kib, _, end = done.stdout.partition(" ")
    return end, int(kib) // 1024


@pytest.fixture(scope="module")
def zeros() -> bytes:
    """A gzip member of 64 MiB of zeros."""
    return gzip.compress(bytes(64 * 1024**2), 1)


def bomb(path: Path, zeros: bytes, n_members: int) -> Path:
    """A tar.gz of one file, bomb.wav, of so many times 64 MiB, and of last.txt behind it."""
    entry = tarfile.TarInfo("bomb.wav")
    entry.size = n_members * 64 * 1024**2
    start, end = entry.tobuf(tarfile.GNU_FORMAT), tar(("last.txt", b"end"))
    path.write_bytes(gzip.compress(start) + zeros * n_members + gzip.compress(end))
    return path


def test_a_file_that_inflates_to_10_gib_is_refused_before_it_is_inflated(tmp_path, zeros):
    started = time.monotonic()
    end, mib = grown(bomb(tmp_path / "a.tar.gz", zeros, 160), ".wav")
    assert "contains 'bomb.wav' of more than 64 MiB" in end
    assert mib < 100 and time.monotonic() - started < 10


def test_a_large_file_that_is_not_needed_is_skipped_in_little_memory(tmp_path, zeros):
    end, mib = grown(bomb(tmp_path / "a.tar.gz", zeros, 8), ".txt")
    assert (end, mib < 100) == ("read\n", True)


def test_a_zip_that_inflates_to_more_than_it_states_is_refused_in_little_memory(tmp_path):
    n_bytes = 256 * 1024**2
    whole = packed(("a.wav", bytes(n_bytes)))
    path = tmp_path / "a.zip"
    path.write_bytes(whole.replace(n_bytes.to_bytes(4, "little"), (1000).to_bytes(4, "little")))
    end, mib = grown(path, ".wav")
    assert "is damaged or cut off" in end and mib < 100


TABLES = {
    "none": None,
    "right": b"slice_file_name,fsID,fold,classID,class\n1-3-0-0.wav,1,1,3,dog_bark\n",
    "another class and fold": b"slice_file_name,fsID,fold,classID,class\n1-3-0-0.wav,9,7,8,siren\n",
    "no rows": b"slice_file_name,fsID,fold,classID,class\n",
    "no text": bytes(range(256)) * 100,
}


def test_the_table_of_urbansound8k_changes_nothing(tmp_path):
    """A clip is what its path says, as its name is what the publisher made it from."""
    made = set()
    for case, table in TABLES.items():
        folder = tmp_path / case
        clips = [
            (f"UrbanSound8K/audio/fold{1 + k % 2}/{k}-{label}-0-0.wav", CONTENT)
            for label in (3, 8)
            for k in range(10)
        ]
        if table is not None:
            clips.insert(7, ("UrbanSound8K/metadata/UrbanSound8K.csv", table))
        folder.mkdir()
        write_tar(folder / "a.tar", clips)
        extract(folder / "a.tar", urbansound8k, "us8k", US8K, FEATURES, folder / "out")
        made.add(tuple((folder / "out" / n).read_bytes() for n in ("features.npy", "clips.csv")))
    assert len(made) == 1
    rows = made.pop()[1].decode().splitlines()
    assert rows[1:3] == ["0-3-0-0,dog_bark,0,1,1.0000", "1-3-0-0,dog_bark,1,2,1.0000"]
