"""From an archive to features.npy and clips.csv: which clips, in which order, whole or not."""

import csv
import hashlib
import io
from dataclasses import replace

import numpy as np
import pytest
import soundfile

from mtcil.audio import extraction, features, workers
from mtcil.audio.archives import write_tar
from mtcil.audio.auxiliary import extract_words
from mtcil.audio.decode import decode, decode_timed
from mtcil.core.errors import UserError
from mtcil.datasets import folders, synthetic_words
from mtcil.settings.sections import AuxiliaryWords, DatasetSettings, FeatureSettings, UpdateSettings

FEATURES = FeatureSettings(
    sample_rate=8_000, seconds=0.25, n_fft=256, hop_length=128, centred=True, log_mel=16
)
CLASSES = ("wolf", "cat", "owl")


def settings(clips_per_class=10, exclude=()):
    return DatasetSettings(
        kind="folders",
        classes=CLASSES,
        clips_per_class=clips_per_class,
        steps=(2, 1),
        exemplars=4,
        updates=UpdateSettings(base=1, head_first=1, then_all=1, compare=1),
        features="small",
        network="small",
        class_order=None,
        folds=None,
        exclude=exclude,
    )


def clip(seed, seconds=0.3):
    stream = io.BytesIO()
    samples = np.random.default_rng(seed).uniform(-0.5, 0.5, round(8_000 * seconds))
    soundfile.write(stream, samples, 8_000, format="WAV", subtype="PCM_16")
    return stream.getvalue()


def files(n=13, classes=(*CLASSES, "not_asked_for")):
    """Name and content of `n` clips of each class, and of a file that is no clip."""
    made = [
        (f"{label}/{k:02}.wav", clip([place, k], 0.1 + k / 50))
        for place, label in enumerate(classes)
        for k in range(n)
    ]
    return [*made, ("README.txt", b"hello")]


def extract(folder, members, asked=None, jobs=1):
    write_tar(folder / "clips.tar", members)
    return extraction.extract(
        folder / "clips.tar", folders, "zoo", asked or settings(), FEATURES, folder / "out", jobs
    )


def results(folder):
    with (folder / "out/clips.csv").open(newline="") as table:
        return np.load(folder / "out/features.npy"), list(csv.DictReader(table))


def test_each_row_holds_the_features_of_the_clip_that_the_table_names(tmp_path):
    members = files(10)
    facts = extract(tmp_path, members)
    array, table = results(tmp_path)
    assert array.shape == (30, 16, 16)
    assert array.dtype == np.float32
    for row, line in zip(array, table, strict=True):
        content = dict(members)[line["id"]]
        waveform = decode(content, FEATURES, line["id"])
        np.testing.assert_array_equal(row, features.compute(waveform, FEATURES))
        assert line["class"] == line["id"].split("/")[0]
        assert line["group"] == line["id"].removesuffix(".wav")
        assert line["fold"] == "0"
        assert float(line["seconds"]) == pytest.approx(0.1 + int(line["group"][-2:]) / 50)
    assert facts == {
        "clips": {"wolf": 10, "cat": 10, "owl": 10},
        "clips_sha256": hashlib.sha256((tmp_path / "out/clips.csv").read_bytes()).hexdigest(),
        "n_frames": 16,
        "n_bins": 16,
    }


def test_rows_are_sorted_by_class_in_the_order_of_the_settings_then_by_id(tmp_path):
    extract(tmp_path, files(10))
    ids = [line["id"] for line in results(tmp_path)[1]]
    assert ids == [f"{label}/{k:02}.wav" for label in ("wolf", "cat", "owl") for k in range(10)]


def test_the_clips_of_lowest_rank_are_taken_whatever_the_order_of_the_archive(tmp_path):
    members = files(15)
    taken = []
    for place, order in enumerate([members, members[::-1], sorted(members, key=lambda m: m[1])]):
        folder = tmp_path / str(place)
        folder.mkdir()
        extract(folder, order)
        array, table = results(folder)
        taken.append((array.tobytes(), table))
    assert taken[0] == taken[1] == taken[2]
    by_rank = sorted(
        (f"owl/{k:02}.wav" for k in range(15)), key=lambda id: hashlib.sha256(id.encode()).digest()
    )
    assert [line["id"] for line in taken[0][1] if line["class"] == "owl"] == sorted(by_rank[:10])


def test_asking_for_fewer_clips_keeps_a_part_of_those_taken_before(tmp_path):
    members = files(20)
    extract(tmp_path, members, settings(15))
    many = {line["id"] for line in results(tmp_path)[1]}
    extract(tmp_path, members, settings(10))
    few = {line["id"] for line in results(tmp_path)[1]}
    assert len(few) == 30
    assert few < many


def test_two_jobs_write_the_same_bytes_as_one(tmp_path, monkeypatch):
    monkeypatch.setattr(workers, "BATCH_CLIPS", 3)
    facts, written = [], []
    for jobs in (1, 2):
        folder = tmp_path / str(jobs)
        folder.mkdir()
        facts.append(extract(folder, files(15), jobs=jobs))
        written.append([path.read_bytes() for path in sorted((folder / "out").iterdir())])
    assert facts[0] == facts[1]
    assert len(written[0]) == 2
    assert written[0] == written[1]


@pytest.mark.parametrize(("jobs", "n_batches"), [(1, 1), (2, 5)])
def test_clips_come_in_order_and_only_a_few_batches_are_read_ahead(monkeypatch, jobs, n_batches):
    monkeypatch.setattr(workers, "BATCH_CLIPS", 3)
    read, content = [], clip(0)

    def members():
        for k in range(60):
            read.append(k)
            yield f"{k}", content

    outcomes = workers.compute_all(members(), FEATURES, jobs)
    ahead = {id: len(read) - k for k, (id, _) in enumerate(outcomes)}
    assert list(ahead) == [f"{k}" for k in range(60)]
    assert max(ahead.values()) <= 3 * n_batches


def test_a_class_with_too_few_clips_runs_with_a_warning_that_counts_them(tmp_path, capsys):
    members = [m for m in files(12) if m[0] not in ("cat/00.wav", "cat/01.wav", "cat/02.wav")]
    facts = extract(tmp_path, members, settings(11))
    assert facts["clips"] == {"wolf": 11, "cat": 9, "owl": 11}
    warning = capsys.readouterr().err
    assert "zoo has fewer than 11 clips" in warning
    assert "datasets.zoo.clips_per_class" in warning
    assert "cat 9." in warning
    assert "wolf" not in warning


def test_enough_clips_give_no_word_at_all(tmp_path, capsys):
    extract(tmp_path, files(10))
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("n_owls", [0, 2])
def test_a_class_of_fewer_than_three_clips_is_refused(tmp_path, n_owls):
    members = [m for m in files(10) if not m[0].startswith("owl")] + files(n_owls, ("owl",))
    with pytest.raises(
        UserError,
        match=rf"owl {n_owls}\. All classes in it: cat 10, .* Check .* datasets\.zoo\.classes",
    ):
        extract(tmp_path, members)
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("jobs", [1, 2])
def test_all_damaged_clips_are_listed_at_once_and_nothing_is_written(tmp_path, jobs):
    broken = {"wolf/03.wav": b"nonsense", "owl/00.wav": b"", "owl/09.wav": clip(0, seconds=0)}
    members = [(name, broken.get(name, content)) for name, content in files(10)]
    with pytest.raises(UserError) as refused:
        extract(tmp_path, members, jobs=jobs)
    message = str(refused.value)
    assert "3 of 30 clips" in message
    assert "wolf/03.wav: is not a readable audio file" in message
    assert "owl/00.wav: is not a readable audio file" in message
    assert "owl/09.wav: contains no samples" in message
    assert "datasets.zoo.exclude" in message
    assert list((tmp_path / "out").iterdir()) == []


def test_clips_that_can_no_longer_be_taken_are_not_decoded(tmp_path, monkeypatch):
    decoded = []

    def noted(content, settings, name):
        decoded.append(name)
        return decode_timed(content, settings, name)

    monkeypatch.setattr(workers, "decode_timed", noted)
    members = sorted(files(20)[:-1], key=lambda member: extraction.rank(member[0]))
    extract(tmp_path, members)
    assert sorted(decoded) == sorted(line["id"] for line in results(tmp_path)[1])


def test_damage_of_a_clip_that_is_not_taken_stops_nothing(tmp_path):
    ranked = sorted((f"cat/{k:02}.wav" for k in range(13)), key=extraction.rank)
    members = [(name, b"" if name in ranked[10:] else content) for name, content in files(13)]
    extract(tmp_path, members)
    assert [line["id"] for line in results(tmp_path)[1][10:20]] == sorted(ranked[:10])


def test_excluded_clips_are_left_out_and_others_take_their_places(tmp_path):
    members = [(n, b"" if n == "cat/03.wav" else content) for n, content in files(11)]
    extract(tmp_path, members, settings(10, exclude=("cat/03.wav", "owl/01.wav")))
    ids = {line["id"] for line in results(tmp_path)[1]}
    assert len(ids) == 30
    assert not ids & {"cat/03.wav", "owl/01.wav"}


def test_only_the_given_folds_are_used(tmp_path):
    class WithFolds:
        @staticmethod
        def clip_of(member):
            info = folders.clip_of(member)
            return info and replace(info, fold=int(info.group[-2:]) % 2 + 1)

    write_tar(tmp_path / "clips.tar", files(20))
    asked = replace(settings(), folds=(2,))
    extraction.extract(tmp_path / "clips.tar", WithFolds, "zoo", asked, FEATURES, tmp_path / "out")
    table = results(tmp_path)[1]
    assert [line["id"] for line in table[:3]] == ["wolf/01.wav", "wolf/03.wav", "wolf/05.wav"]
    assert {line["fold"] for line in table} == {"2"}


def test_two_files_of_one_id_are_refused(tmp_path):
    class Flat:
        @staticmethod
        def clip_of(member):
            return folders.clip_of(member.removeprefix("copy/"))

    members = [*files(10), ("copy/cat/00.wav", clip(1))]
    write_tar(tmp_path / "clips.tar", members)
    with pytest.raises(UserError, match=r"zoo: two files of the archive are the clip cat/00\.wav"):
        extraction.extract(
            tmp_path / "clips.tar", Flat, "zoo", settings(), FEATURES, tmp_path / "out"
        )


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_damaged_archive_is_refused_and_leaves_nothing_behind(tmp_path, jobs, monkeypatch):
    monkeypatch.setattr(workers, "BATCH_CLIPS", 3)
    write_tar(tmp_path / "whole.tar", files(10))
    content = (tmp_path / "whole.tar").read_bytes()
    (tmp_path / "cut.tar").write_bytes(content[: len(content) // 2 + 700])
    with pytest.raises(UserError, match="damaged or cut off"):
        extraction.extract(
            tmp_path / "cut.tar", folders, "zoo", settings(), FEATURES, tmp_path / "out", jobs
        )
    assert list((tmp_path / "out").iterdir()) == []


def test_results_of_an_earlier_run_stay_whole_when_a_later_one_fails(tmp_path):
    extract(tmp_path, files(10))
    before = [path.read_bytes() for path in sorted((tmp_path / "out").iterdir())]
    with pytest.raises(UserError):
        extract(tmp_path, [("owl/00.wav", b"")])
    assert [path.read_bytes() for path in sorted((tmp_path / "out").iterdir())] == before


def test_settings_without_features_are_refused_before_the_archive_is_read(tmp_path):
    odd = FeatureSettings(8_000, 0.25, 255, 128, True, 16)
    with pytest.raises(UserError, match="n_fft must be even"):
        extraction.extract(tmp_path / "none.tar", folders, "zoo", settings(), odd, tmp_path)


def test_auxiliary_words_are_spoken_and_have_the_features_of_the_dataset(tmp_path):
    words = AuxiliaryWords(("winter", "apple"), 10)
    own = replace(settings(), folds=(3,), exclude=("x",), class_order=CLASSES, group="(.)")
    facts = extract_words(words, synthetic_words, "owls", own, FEATURES, tmp_path)
    assert facts["clips"] == {"winter": 10, "apple": 10}
    spoken = tmp_path / "auxiliary"
    found = np.load(spoken / "features.npy")
    assert found.shape == (20, FEATURES.n_frames, 16)
    assert np.isfinite(found).all() and found.std() > 0
    table = list(csv.DictReader((spoken / "clips.csv").read_text().splitlines()))
    assert [row["class"] for row in table] == 10 * ["winter"] + 10 * ["apple"]
    again = tmp_path / "again"
    assert extract_words(words, synthetic_words, "owls", own, FEATURES, again) == facts
    assert (again / "auxiliary" / "features.npy").read_bytes() == (
        spoken / "features.npy"
    ).read_bytes()
