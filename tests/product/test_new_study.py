"""`make study`: from a folder of one's own audio to a study that runs as it is."""

import io
import shutil
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import soundfile
from tiny_study import ROOT, run_script

from mtcil.audio import new_study
from mtcil.audio.proposal import Proposal, heads_for, propose, steps_for, updates_for
from mtcil.audio.sources import list_text, own_list
from mtcil.audio.study_text import study_text
from mtcil.audio.survey import Survey, survey
from mtcil.core.errors import UserError
from mtcil.datasets import folders
from mtcil.settings.files import read_study
from mtcil.settings.sections import SplitShares

SHARES = SplitShares(train=0.7, test=0.2, validation=0.1)
NOISE = np.random.default_rng(0).uniform(-0.5, 0.5, 48_000)


def sound(seconds=1.0, rate=16_000, container="WAV", level=1.0) -> bytes:
    stream = io.BytesIO()
    subtype = "OPUS" if container == "OPUS" else None
    container = "OGG" if container == "OPUS" else container
    wave = level * NOISE[: round(seconds * rate)]
    soundfile.write(stream, wave, rate, format=container, subtype=subtype)
    return stream.getvalue()


def make(folder: Path, names, content=None) -> Path:
    for k, name in enumerate(names):
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(sound(level=1 - k / 1000) if content is None else content)
    return folder


def clips(*classes: str, n: int = 4, suffix: str = ".wav") -> list[str]:
    return [f"{label}/{k}{suffix}" for label in classes for k in range(n)]


def looked_at(folder: Path, pattern: str | None = None) -> Survey:
    return survey(folders, folder, pattern)


def proposed(found: Survey, can_divide=lambda labels, groups: True) -> Proposal:
    return propose(found, SHARES, can_divide)


def why(proposal: Proposal, what: str) -> str:
    return next(f"{value} {why}" for name, value, why in proposal.reasons if name == what)


def test_formats_that_libsndfile_reads_are_clips_and_others_are_counted(tmp_path):
    make(tmp_path, clips("cat", "dog"))
    for k, container in enumerate(["FLAC", "OGG", "MP3", "OPUS", "AIFF", "AU", "CAF", "W64"]):
        rate = 48_000 if container == "OPUS" else 16_000
        content = sound(rate=rate, container=container, level=0.5 + k / 100)
        make(tmp_path, [f"cat/x.{container.lower()}"], content)
    make(tmp_path, ["cat/1.m4a", "dog/2.m4a", "notes.txt", "cat/._0.wav"], b"x")
    found = looked_at(tmp_path)
    assert found.counts == {"cat": 12, "dog": 4}
    assert found.left_out == "2 .m4a, 1 .txt (e.g. cat/1.m4a)"
    assert "2 .m4a" in new_study.findings(found, tmp_path)


def test_names_of_classes_are_composed_and_speakers_are_sub_folders(tmp_path):
    birds = unicodedata.normalize("NFD", "Vögel")
    names = [f"{label}/{who}/{k}.wav" for label in (birds, "Kühe") for who in "abc" for k in (1, 2)]
    found = looked_at(make(tmp_path, names))
    assert list(found.counts) == [unicodedata.normalize("NFC", n) for n in ("Kühe", "Vögel")]
    assert found.has_groups and found.groups["Kühe"] == {"a", "b", "c"}
    assert proposed(found).splits == ("random", "group")
    assert "3 occur in several classes" in why(proposed(found), "splits")
    assert proposed(found, lambda labels, groups: False).splits == ("random",)


def test_equal_file_names_in_two_classes_are_different_recordings(tmp_path):
    found = looked_at(make(tmp_path, clips("cat", "dog")))
    groups = [clip.group for clip, _ in found.clips]
    assert len(set(groups)) == len(groups) == 8
    assert not found.has_groups and proposed(found).splits == ("random",)


def test_a_pattern_finds_speakers_in_file_names(tmp_path):
    names = [f"{label}/{who}_{k}.wav" for label in ("cat", "dog") for who in "xyz" for k in "12"]
    found = looked_at(make(tmp_path, names), "^([^_]+)_")
    assert found.groups == {"cat": {"x", "y", "z"}, "dog": {"x", "y", "z"}}
    assert proposed(found).splits == ("random", "group")
    make(tmp_path, ["dog/other.wav"])
    with pytest.raises(UserError, match=r"finds nothing in the file name 'dog/other\.wav'"):
        looked_at(tmp_path, "^([^_]+)_")


def test_a_class_with_two_speakers_is_named_where_group_is_left_out(tmp_path):
    names = [f"cat/{who}/{k}.wav" for who in "abc" for k in "12"]
    names += [f"dog/{who}/{k}.wav" for who in "ab" for k in "12"]
    proposal = proposed(looked_at(make(tmp_path, names)))
    assert proposal.splits == ("random",)
    assert "but: dog 2" in why(proposal, "splits")


LAYOUTS = {
    "parts of a split": (
        ["train/cat/1.wav", "test/cat/1.wav"],
        "the folders test, train look like",
    ),
    "one flat folder": (["1.wav", "2.wav"], r"Found 0 such folders .* 2 \.wav \(e\.g\. 1\.wav\)"),
    "one class": (["cat/1.wav", "cat/2.wav"], r"Found 0 such folders .* 2 \.wav"),
    "no sound": (["cat/1.m4a", "dog/1.m4a"], r"2 \.m4a"),
    "one clip": ([*clips("cat", "dog"), "owl/1.wav"], r"Too few: owl 1\."),
    "a space at the end": (clips("cat", "dog "), "the folder 'dog ' cannot be a class"),
    "case": (clips("cat", "Cat", "dog"), "the folders Cat, cat differ only in case"),
    "101 classes": (clips(*(f"c{k}" for k in range(101)), n=1), "holds 101 classes, more than 100"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_folder_that_cannot_be_a_study_is_refused_with_what_it_contains(tmp_path, layout):
    names, says = LAYOUTS[layout]
    make(tmp_path / "audio", names, sound(0.1))
    with pytest.raises(UserError, match=says) as refused:
        looked_at(tmp_path / "audio")
    assert len(str(refused.value).splitlines()) == 1


def test_clips_that_cannot_be_read_are_left_out_by_name_or_refused_if_many(tmp_path):
    make(tmp_path, clips("cat", "dog"))
    make(tmp_path, ["cat/broken.wav"], b"RIFF")
    found = looked_at(tmp_path)
    assert list(found.damaged) == ["cat/broken.wav"]
    assert "cat/broken.wav" not in found.listed
    text = study_text("birds", "MTCIL_SOURCE_BIRDS", proposed(found), found.damaged, None)
    assert '["cat/broken.wav"]' in text
    make(tmp_path, clips("dog", n=30, suffix=".flac"), b"x")
    with pytest.raises(UserError, match="31 clips cannot be used, among them"):
        looked_at(tmp_path)


def test_equal_files_are_counted(tmp_path):
    make(tmp_path, clips("cat", "dog"), sound())
    assert looked_at(tmp_path).n_twins == 7
    assert "7 files equal an earlier one" in new_study.findings(looked_at(tmp_path), tmp_path)


def test_steps_are_a_base_step_of_about_45_percent_and_equal_ones():
    found = {n: steps_for(n) for n in range(2, 101)}
    assert found[2] == (2,) and found[3] == (2, 1)
    assert found[10] == (4, 2, 2, 2)  # the paper's for UrbanSound8K
    for n, steps in found.items():
        assert sum(steps) == n and steps[0] >= 2 and len(set(steps[1:])) <= 1
        assert n < 8 or 0.38 <= steps[0] / n <= 0.52, steps
        assert n < 8 or 3 <= len(steps) - 1 <= 7, steps


def test_heads_are_the_papers_for_its_base_steps_and_few_for_large_ones():
    assert [heads_for(n) for n in (2, 4, 5, 8)] == ["2-2", "4-3-2", "5-4-3-2", "8-6-4-2"]
    for n in range(2, 51):
        sizes = [int(size) for size in heads_for(n).split("-")]
        assert sizes[0] == n and min(sizes) >= 2 and len(sizes) <= 4


def test_updates_are_those_of_the_committed_studies_for_as_much_data():
    ten_words = read_study(ROOT / "studies/ten_words/params.yaml").datasets["gsc"]
    assert updates_for(ten_words.steps, 0.7 * ten_words.clips_per_class) == ten_words.updates
    root = read_study(ROOT / "params.yaml").datasets["gsc"]
    assert updates_for(root.steps, 0.7 * root.clips_per_class) == root.updates
    assert updates_for((2, 1), 3).base == 200  # a few clips


@pytest.mark.parametrize(
    ("seconds", "rate", "n_bins", "network"),
    [(1.0, 16_000, 32, "gsc"), (0.3, 8_000, 32, "gsc"), (2.2, 16_000, 64, "us8k")],
)
def test_features_have_the_size_that_the_network_is_made_for(
    tmp_path, seconds, rate, n_bins, network
):
    make(tmp_path, clips("cat", "dog"), sound(seconds, rate))
    proposal = proposed(looked_at(tmp_path))
    settings = proposal.features
    assert (settings.log_mel, proposal.network) == (n_bins, network)
    assert settings.n_frames == (32 if network == "gsc" else 128)
    assert settings.sample_rate <= rate and settings.seconds >= seconds
    known = read_study(ROOT / "params.yaml").features["gsc"]
    assert seconds != 1.0 or settings == known  # the paper's


def test_lengths_are_counted_where_the_header_states_none(tmp_path):
    content = bytearray(sound(2.0, container="FLAC"))
    content[21] &= 0xF0
    content[22:26] = bytes(4)  # total samples: not known
    make(tmp_path, clips("cat", "dog"), bytes(content))
    assert {sound.seconds for _, sound in looked_at(tmp_path).clips} == {2.0}


ODD = ["yes", "null", "d&b", "crow (old)", "owl's", 'a "b"', "Vögel", "鴉", "1", "a: b #c"]


def test_the_text_is_short_and_read_back_as_it_was_meant(tmp_path):
    found = looked_at(
        make(tmp_path / "audio", clips(*ODD, *(f"class {k}" for k in range(90)), n=3))
    )
    proposal = proposed(found)
    text = study_text("birds", "MTCIL_SOURCE_BIRDS", proposal, ["a/b.wav"], r"^(\d+)-")
    assert len(text.splitlines()) <= 70 and max(map(len, text.splitlines())) <= 100
    (tmp_path / "x" / "y").mkdir(parents=True)
    (tmp_path / "settings.yaml").write_text((ROOT / "settings.yaml").read_text("utf-8"), "utf-8")
    (tmp_path / "x/y/params.yaml").write_text(text, "utf-8")
    study = read_study(tmp_path / "x/y/params.yaml")
    birds = study.datasets["birds"]
    assert birds.classes == proposal.classes and set(ODD) < set(birds.classes)
    assert (birds.steps, birds.exemplars) == (proposal.steps, proposal.exemplars)
    assert (birds.group, birds.exclude) == (r"^(\d+)-", ("a/b.wav",))
    assert study.features[birds.features] == proposal.features
    assert birds.updates == proposal.updates
    compared = study.comparisons["birds"]
    assert compared.bases == ("single", "multitask")
    assert compared.splits == (("group",) if "group" in proposal.splits else ("random",))


def test_the_command_writes_a_study_once_and_says_what_to_type(tmp_path):
    root, audio = tmp_path / "root", make(tmp_path / "my audio", clips("cat", "dog", "owl", n=6))
    shutil.copytree(ROOT / "pipeline", root / "pipeline")
    for name in ("params.yaml", "settings.yaml", "dvc.yaml"):
        shutil.copyfile(ROOT / name, root / name)
    study, script = root / "studies" / "birds", root / "pipeline" / "_new_study.py"
    done = run_script(tmp_path, script, "birds", str(audio), "")
    assert done.returncode == 0, done.stderr
    command = f"MTCIL_SOURCE_BIRDS='{audio}' dvc repro studies/birds/dvc.yaml"
    assert f"  {command}\n" in done.stdout
    assert "git add studies/birds && git commit" in done.stdout
    assert {file.name for file in study.iterdir()} == {"dvc.yaml", "params.yaml", "sources"}
    assert [folder.name for folder in study.parent.iterdir()] == ["birds"]
    assert (study / "dvc.yaml").read_bytes() == (ROOT / "dvc.yaml").read_bytes()
    listed = (study / "sources" / "birds.csv").read_text("utf-8")
    assert listed == list_text(own_list(folders, audio)) and len(listed.splitlines()) == 19
    assert len((study / "params.yaml").read_text("utf-8").splitlines()) <= 60
    (study / "params.yaml").write_text("mine")
    again = run_script(tmp_path, script, "birds", str(audio), "")
    assert again.returncode == 1 and "exists already; nothing was changed" in again.stderr
    assert (study / "params.yaml").read_text() == "mine"


BAD = {
    "no name": (("", "x", None), "NAME is missing"),
    "no audio": (("birds", "", None), "AUDIO is missing"),
    "an umlaut": (("vögel", "x", None), "NAME=vögel cannot be used"),
    "a word of YAML": (("null", "x", None), "NAME=null cannot be used"),
    "a word of YAML in capitals": (("NO", "x", None), "NAME=NO cannot be used"),
    "a path": (("../x", "x", None), "cannot be used"),
    "a dot": (("v0.1", "x", None), "cannot be used"),
    "a pattern without a group": (("birds", "x", "^a"), "one pair of parentheses"),
    "no pattern": (("birds", "x", "("), "one pair of parentheses"),
}


@pytest.mark.parametrize("case", BAD)
def test_an_unusable_setting_is_refused_before_the_audio_is_read(tmp_path, case):
    arguments, says = BAD[case]
    with pytest.raises(UserError, match=says):
        new_study.check_new(*arguments, tmp_path / "absent")
