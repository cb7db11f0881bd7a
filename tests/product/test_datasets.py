"""Every dataset file keeps the contract of `mtcil.datasets`, and synthetic ones are of use."""

import collections
import io
from pathlib import Path

import numpy as np
import pytest
import soundfile

from mtcil.audio import waves
from mtcil.audio.archives import read_members
from mtcil.audio.source import ClipInfo, Source
from mtcil.core import lookup
from mtcil.core.errors import UserError
from mtcil.settings.sections import DatasetSettings, UpdateSettings

SYNTHETIC = [n for n in lookup.names("datasets") if hasattr(lookup.find("datasets", n), "make")]
WORDS = ("yes", "no", "seven")
SOUNDS = ("dog_bark", "gun_shot", "siren")


def settings_for(kind: str, classes=None, n_clips: int = 40) -> DatasetSettings:
    if classes is None:
        classes = SOUNDS if lookup.find("datasets", kind).CLASSES else WORDS
    return DatasetSettings(
        kind=kind,
        classes=tuple(classes),
        clips_per_class=n_clips,
        steps=(len(classes),),
        exemplars=0,
        updates=UpdateSettings(base=1, head_first=1, then_all=1, compare=1),
        features="any",
        network="small",
        class_order=None,
        folds=None,
        exclude=(),
    )


@pytest.fixture(scope="module", params=SYNTHETIC)
def made(request, tmp_path_factory) -> tuple[str, Path]:
    archive = tmp_path_factory.mktemp("made") / "archive.tar"
    lookup.find("datasets", request.param).make(archive, settings_for(request.param))
    return request.param, archive


def clips_in(kind: str, archive: Path) -> list[tuple[ClipInfo, bytes]]:
    clip_of = lookup.find("datasets", kind).clip_of
    files = read_members(archive, lambda name: clip_of(name) is not None)
    return [(clip_of(name), content) for name, content in files]


@pytest.mark.parametrize("kind", lookup.names("datasets"))
def test_a_dataset_file_keeps_the_contract(kind):
    dataset = lookup.find("datasets", kind)
    assert dataset.SOURCE is None or isinstance(dataset.SOURCE, Source)
    assert dataset.CLASSES is None or len(set(dataset.CLASSES)) == len(dataset.CLASSES) >= 2
    assert dataset.__doc__ and dataset.clip_of.__doc__
    for no_clip in ("", "README.md", "LICENSE", "a/b/c.csv", "._a.wav", ".DS_Store"):
        assert dataset.clip_of(no_clip) is None
    if dataset.SOURCE:
        source = dataset.SOURCE
        algorithm, _, digest = source.checksum.partition(":")
        assert source.url.startswith("https://") and source.url.endswith(source.file_name)
        assert (algorithm, len(digest)) in {("sha256", 64), ("md5", 32)} and int(digest, 16)
        assert source.licence and source.citation
        assert not hasattr(dataset, "make")


EXAMPLES = [
    ("speech_commands", "yes/0135f3f2_nohash_1.wav", ("yes", "0135f3f2", 0)),
    ("speech_commands", "./deep/er/yes/0135f3f2_nohash_1.wav", ("yes", "0135f3f2", 0)),
    ("speech_commands", "_background_noise_/pink_noise.wav", None),
    ("speech_commands", "chair/0135f3f2_nohash_1.wav", None),
    ("speech_commands", "yes/._0135f3f2_nohash_1.wav", None),
    ("synthetic_words", "chair/0135f3f2_nohash_1.wav", ("chair", "0135f3f2", 0)),
    ("arabic_speech_commands", "dataset/zoom in/00000012_NO_07.wav", ("zoom_in", "00000012", 0)),
    ("arabic_speech_commands", "dataset/zoom out/00000030_NO_10.wav", ("zoom_out", "00000030", 0)),
    ("arabic_speech_commands", "./yes/00000001_NO_01.wav", ("yes", "00000001", 0)),
    ("arabic_speech_commands", "00000012_NO_07.wav", None),
    ("arabic_speech_commands", "dataset/zoom/00000012_NO_07.wav", None),
    ("arabic_speech_commands", "dataset/go/00000012_NO_07.wav", None),
    ("arabic_speech_commands", "dataset/yes/._00000012_NO_07.wav", None),
    ("arabic_speech_commands", "dataset/yes/12_NO_07.wav", None),
    ("arabic_speech_commands", "dataset/yes/00000012_NO_7.wav", None),
    ("arabic_speech_commands", "dataset/yes/00000012_NO_07.wav.txt", None),
    ("arabic_speech_commands", "background_noise/white_noise.wav", None),
    ("arabic_speech_commands", "train.csv", None),
    ("urbansound8k", "UrbanSound8K/audio/fold10/100648-1-0-2.wav", ("car_horn", "100648", 10)),
    ("urbansound8k", "audio/fold3/7-9-11-12.wav", ("street_music", "7", 3)),
    ("urbansound8k", "UrbanSound8K/metadata/UrbanSound8K.csv", None),
    ("urbansound8k", "UrbanSound8K/audio/fold11/100648-1-0-2.wav", None),
    ("urbansound8k", "UrbanSound8K/audio/fold1/._100648-1-0-2.wav", None),
    ("urbansound8k", "fold3/7-9-11-12.wav", ("street_music", "7", 3)),
    ("folders", "dog/rex.wav", ("dog", "dog/rex", 0)),
    ("folders", "dog/rex.opus", ("dog", "dog/rex", 0)),
    ("folders", "dog/rex.AIFF", ("dog", "dog/rex", 0)),
    ("folders", "dog/rex.m4a", None),
    ("folders", "Vo\u0308gel/Bu\u0308lbu\u0308l/1.wav", ("V\xf6gel", "B\xfclb\xfcl", 0)),
    ("folders", "dog/farm/1.FLAC", ("dog", "farm", 0)),
    ("folders", "dog/farm/left/1.ogg", ("dog", "farm", 0)),
    ("folders", "dog/notes.txt", None),
    ("folders", "loose.wav", None),
    ("folders", "__MACOSX/dog/rex.wav", None),
    ("folders", "dog/._rex.wav", None),
]


@pytest.mark.parametrize(("kind", "member", "expected"), EXAMPLES)
def test_a_path_tells_what_a_clip_is(kind, member, expected):
    clip = lookup.find("datasets", kind).clip_of(member)
    assert (clip and (clip.label, clip.group, clip.fold)) == expected


def test_ids_of_official_clips_are_short():
    clip_of = lookup.find("datasets", "speech_commands").clip_of
    assert clip_of("./yes/0135f3f2_nohash_1.wav").id == "yes/0135f3f2_nohash_1"
    clip_of = lookup.find("datasets", "arabic_speech_commands").clip_of
    assert clip_of("dataset/zoom in/00000012_NO_07.wav").id == "zoom_in/00000012_NO_07"
    clip_of = lookup.find("datasets", "urbansound8k").clip_of
    assert clip_of("UrbanSound8K/audio/fold10/100648-1-0-2.wav").id == "100648-1-0-2"


def test_every_arabic_word_has_its_folder():
    """40 words; the two that are two words have a space in the name of their folder."""
    dataset = lookup.find("datasets", "arabic_speech_commands")
    assert len(dataset.CLASSES) == 40
    folders = [word.replace("zoom_", "zoom ") for word in dataset.CLASSES]
    assert [f for f in folders if " " in f] == ["zoom in", "zoom out"]
    found = [dataset.clip_of(f"dataset/{folder}/00000001_NO_01.wav") for folder in folders]
    assert [clip.label for clip in found] == list(dataset.CLASSES)
    assert len({clip.id for clip in found}) == 40


def test_two_formats_of_one_file_are_two_clips():
    clip_of = lookup.find("datasets", "folders").clip_of
    assert clip_of("dog/rex.wav").id != clip_of("dog/rex.mp3").id


def test_making_twice_in_one_process_gives_the_same_bytes(made, tmp_path):
    kind, archive = made
    other = settings_for(kind, n_clips=11)  # moves whatever global state there is
    lookup.find("datasets", kind).make(tmp_path / "other.tar", other)
    lookup.find("datasets", kind).make(tmp_path / "again.tar", settings_for(kind))
    assert (tmp_path / "again.tar").read_bytes() == archive.read_bytes()


def test_synthetic_clips_have_unique_ids_and_the_requested_classes(made):
    kind, archive = made
    clips = [clip for clip, _ in clips_in(kind, archive)]
    counts = collections.Counter(clip.label for clip in clips)
    assert len({clip.id for clip in clips}) == len(clips)
    assert set(counts) == set(settings_for(kind).classes)
    assert max(counts.values()) == 40
    assert min(counts.values()) == (15 if kind == "synthetic_urban" else 40)


def test_every_made_class_has_many_groups_of_several_clips(made):
    kind, archive = made
    for label in settings_for(kind).classes:
        sizes = collections.Counter(
            clip.group for clip, _ in clips_in(kind, archive) if clip.label == label
        )
        assert len(sizes) >= 10
        assert max(sizes.values()) >= 2


def test_synthetic_clips_decode_and_are_neither_silent_nor_clipped(made):
    for _, content in clips_in(*made):
        wave, rate = soundfile.read(io.BytesIO(content))
        assert 0.5 <= len(wave) / rate <= 4
        assert np.abs(wave).max() < 0.96
        assert np.sqrt(np.mean(wave**2)) > 0.003


def test_no_made_clip_holds_the_time_of_day(made):
    assert not any(b"PEAK" in content[:200] for _, content in clips_in(*made))


def test_no_two_synthetic_clips_are_equal(made):
    contents = [content for _, content in clips_in(*made)]
    assert len(set(contents)) == len(contents)


def test_city_sounds_come_in_the_mixed_formats_of_the_official_archive(tmp_path):
    archive = tmp_path / "a.tar"
    settings = settings_for("synthetic_urban", ("siren", "dog_bark"), n_clips=60)
    lookup.find("datasets", "synthetic_urban").make(archive, settings)
    headers = [soundfile.info(io.BytesIO(c)) for _, c in clips_in("synthetic_urban", archive)]
    assert {h.samplerate for h in headers} == {22_050, 44_100}
    assert {h.channels for h in headers} == {1, 2}
    assert {h.subtype for h in headers} == {"PCM_16", "PCM_24", "FLOAT"}
    folds = collections.defaultdict(set)
    for clip, _ in clips_in("synthetic_urban", archive):
        folds[clip.group].add(clip.fold)
    assert set.union(*folds.values()) == set(range(1, 11))
    assert all(len(of_recording) == 1 for of_recording in folds.values())


def test_the_table_of_city_sounds_agrees_with_the_files(tmp_path):
    archive = tmp_path / "a.tar"
    settings = settings_for("synthetic_urban", n_clips=10)
    lookup.find("datasets", "synthetic_urban").make(archive, settings)
    ((_, table),) = read_members(archive, lambda name: name.endswith(".csv"))
    rows = [line.split(",") for line in table.decode().splitlines()[1:]]
    clips = [clip for clip, _ in clips_in("synthetic_urban", archive)]
    assert [(f"{c.id}.wav", c.group, str(c.fold), c.label) for c in clips] == [
        (row[0], row[1], row[2], row[4]) for row in rows
    ]


@pytest.mark.parametrize(
    ("kind", "classes"),
    [("synthetic_words", ("yes", "n0")), ("synthetic_urban", ("a", "siren"))],
)
def test_classes_that_cannot_be_made_are_refused(tmp_path, kind, classes):
    with pytest.raises(UserError, match=r"params\.yaml"):
        lookup.find("datasets", kind).make(tmp_path / "a.tar", settings_for(kind, classes))


def test_noise_has_unit_power_inside_its_band():
    noise = waves.band_noise(16_000, 16_000, 500, 1000, np.random.default_rng(0))
    assert np.sqrt(np.mean(noise**2)) == pytest.approx(1, rel=1e-4)
    # Gain 1 / (1 + (500 / f)^2) / (1 + (f / 1000)^2): 4/9 at 707 Hz, 0.0298 at 5,700 Hz.
    power = np.abs(np.fft.rfft(noise)) ** 2  # one bin per Hz
    inside, outside = power[650:770].mean(), power[5500:5900].mean()
    assert inside / outside == pytest.approx((4 / 9 / 0.0298) ** 2, rel=0.3)
