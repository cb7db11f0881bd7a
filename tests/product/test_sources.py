"""`sources/<dataset>.csv`: a change of the audio is noticed, named, and accepted by a command."""

import unicodedata
from pathlib import Path

import pytest
from tiny_study import ROOT, STUDIES, files_in, params, run_script, run_stage, write_params

from mtcil.audio.provide import check_classes, check_local
from mtcil.audio.sources import check_list, list_text, official_list, own_list, read_list
from mtcil.core.errors import UserError
from mtcil.core.lookup import find
from mtcil.datasets import folders, speech_commands, synthetic_words, urbansound8k
from mtcil.settings.files import read_study

CLIPS = [f"{label}/{k}.wav" for label in ("cat", "dog") for k in range(4)]


def make(folder: Path, names=CLIPS) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())
    return folder


def settings(**changes):
    values = {"classes": ("cat", "dog"), "kind": "folders", "exclude": ()} | changes
    return type("Settings", (), values)


@pytest.mark.parametrize("study", STUDIES, ids=lambda study: study.name)
def test_every_dataset_of_a_study_has_its_list(study):
    datasets = read_study(study / "params.yaml").datasets
    assert {file.stem for file in (study / "sources").glob("*.csv")} == set(datasets)
    for name, of in datasets.items():
        expected = official_list(find("datasets", of.kind).SOURCE)
        assert of.kind == "folders" or read_list(study / f"sources/{name}.csv") == expected


def test_a_list_is_read_back_and_says_bytes_and_checksum(tmp_path):
    rows = own_list(folders, make(tmp_path / "mine", [*CLIPS, "notes.txt", "cat/,odd.wav"]))
    (tmp_path / "list.csv").write_text(list_text(rows), "utf-8")
    assert read_list(tmp_path / "list.csv") == rows and len(rows) == 9
    n_bytes, checksum = rows["cat/0.wav"]
    assert n_bytes == "9" and checksum.startswith("sha256:") and len(checksum) == 7 + 64
    assert read_list(tmp_path / "absent.csv") == {}


def test_a_damaged_list_is_refused(tmp_path):
    for text in ("", "name,bytes\n", "name,bytes,checksum\na,1\n"):
        (tmp_path / "list.csv").write_text(text)
        with pytest.raises(UserError, match=r"list\.csv: cannot be read .* make sources"):
            read_list(tmp_path / "list.csv")


def test_files_added_removed_and_changed_are_named_with_how_to_accept_them(tmp_path):
    mine = make(tmp_path / "mine")
    listed = own_list(folders, mine)
    check_list("zoo", listed, folders, mine, ())
    make(mine, ["cat/new.wav", "dog/notes.txt"])
    (mine / "cat/0.wav").unlink()
    (mine / "dog/1.wav").write_bytes(b"other")
    with pytest.raises(UserError) as refused:
        check_list("zoo", listed, folders, mine, ())
    message = str(refused.value)
    assert "1 added (cat/new.wav), 1 removed (cat/0.wav), 1 changed (dog/1.wav)" in message
    assert "`make sources STUDY=" in message


def test_clips_left_out_by_name_do_not_count(tmp_path):
    mine = make(tmp_path / "mine")
    listed = own_list(folders, mine)
    (mine / "cat/0.wav").write_bytes(b"other")
    check_list("zoo", listed, folders, mine, ("cat/0.wav",))


def test_a_list_made_on_macos_holds_elsewhere(tmp_path):
    label = "V\xf6gel"
    mine = make(tmp_path / "a", [f"{label}/1.wav", "cat/1.wav"])
    there = tmp_path / "b"
    for file in mine.rglob("*.wav"):
        name = unicodedata.normalize("NFD", file.relative_to(mine).as_posix())
        (there / name).parent.mkdir(parents=True)
        (there / name).write_bytes(file.read_bytes())
    check_list("zoo", own_list(folders, there), folders, mine, ())


def test_audio_of_ones_own_that_is_listed_is_not_replaced_by_the_official_archive(tmp_path):
    listed = {"yes/1.wav": ("1", "sha256:0")}
    with pytest.raises(UserError, match=r"lists 1 files of your own\. Set MTCIL_SOURCE_GSC"):
        check_list("gsc", listed, speech_commands, None, ())
    check_list("gsc", official_list(speech_commands.SOURCE), speech_commands, None, ())
    check_list("words", {}, synthetic_words, None, ())


def test_unknown_classes_are_refused_before_a_download_and_the_known_ones_are_listed():
    of = settings(classes=("yes", "_silence_"), kind="speech_commands")
    with pytest.raises(UserError, match=r"names _silence_, but .* has only backward, bed"):
        check_classes("gsc", of, speech_commands)
    check_classes("zoo", settings(), folders)


REFUSED = {
    "train/<class>": (
        ["train/cat/1.wav", "test/cat/1.wav"],
        {},
        "All classes in it: test 1, train",
    ),
    "too few": ([*CLIPS[:4], "dog/1.wav"], {}, "has dog 1. All classes in it: cat 4, dog 1"),
    "other formats": (["cat/1.m4a", "dog/2.m4a"], {}, r"It contains 2 \.m4a \(e\.g\. cat/1"),
    "an unknown exclude": (CLIPS, {"exclude": ("cat/9.wav",)}, "names 'cat/9.wav', which is not"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_ones_own_folder_is_checked_by_names_before_it_is_copied(tmp_path, case):
    files, changes, says = REFUSED[case]
    with pytest.raises(UserError, match=says):
        check_local("zoo", settings(**changes), folders, make(tmp_path / "a", files), print)


def test_clips_left_out_are_counted_in_the_message(tmp_path):
    notes = []
    make(tmp_path, [*CLIPS, "cow/1.wav", "cow/2.wav", "cat/a.m4a", "cat/b.m4a", "x.txt"])
    check_local("zoo", settings(), folders, tmp_path, notes.append)
    assert "2 .m4a, 1 .txt" in notes[0] and "not used: cow 2" in notes[1]


def test_a_link_that_is_not_a_clip_is_ignored(tmp_path):
    make(tmp_path, CLIPS)
    (tmp_path / "latest").symlink_to(tmp_path / "cat" / "0.wav")
    check_local("zoo", settings(), folders, tmp_path, lambda text: None)


def test_urban_sounds_are_found_from_any_folder_of_the_archive(tmp_path):
    files = [f"fold{k}/10{k}-{label}-0-0.wav" for k in range(1, 5) for label in (0, 1)]
    of = settings(classes=("air_conditioner", "car_horn"), kind="urbansound8k")
    for copy, root in enumerate(("UrbanSound8K/audio", "audio", ".")):
        make(tmp_path / str(copy) / root, files)
        check_local("us8k", of, urbansound8k, tmp_path / str(copy), lambda text: None)
    with pytest.raises(UserError, match=r"It contains 8 \.wav \(e\.g\. 101-0-0-0\.wav"):
        flat = make(tmp_path / "flat", [name.partition("/")[2] for name in files])
        check_local("us8k", of, urbansound8k, flat, print)


@pytest.fixture
def study(tmp_path, monkeypatch) -> Path:
    """A study of a folder with 8 clips, one of which is a very large file left out by name."""
    values = params(".")
    words = values["datasets"]["words"]
    words |= {"kind": "folders", "classes": ["cat", "dog"], "steps": [2]}
    words |= {"exclude": ["cat/huge.wav"], "clips_per_class": 10}
    values["base_models"] = {"words": {"single": {"heads": "2"}}}
    values |= {"headline": "single", "base_probes": {}, "heads_timings": {}}
    sections = ("exemplar_sweeps", "loss_ablations", "epoch_sweeps", "tunings", "comparisons")
    values |= {section: {} for section in sections}
    mine = make(tmp_path / "mine", [*CLIPS, "cat/huge.wav"])
    with (mine / "cat/huge.wav").open("wb") as file:
        file.truncate(65 * 1024**2)
    monkeypatch.setenv("MTCIL_SOURCE_WORDS", str(mine))
    (tmp_path / "study").mkdir()
    write_params(tmp_path / "study", values)
    return tmp_path / "study"


def test_the_stages_refuse_changed_audio_until_it_is_listed_again(study):
    lister = ROOT / "pipeline" / "_list_sources.py"
    done = run_script(study, lister)
    assert done.stdout == "sources/words.csv: 8 files, changed.\n", done.stderr
    assert "8 files, as before" in run_script(study, lister).stdout
    assert run_stage(study, "download", "words").returncode == 0
    assert (study / "data/raw/words/words.tar").stat().st_size < 10**6  # without the huge file
    make(study.parent / "mine", ["dog/new.wav"])
    before = files_in(study)
    done = run_stage(study, "download", "words")
    assert done.returncode == 1 and "1 added (dog/new.wav)" in done.stderr
    assert files_in(study) == before
    run_script(study, lister)
    assert run_stage(study, "download", "words").returncode == 0


def test_a_folder_without_clips_does_not_empty_the_list(study, monkeypatch):
    lister = ROOT / "pipeline" / "_list_sources.py"
    run_script(study, lister)
    listed = (study / "sources/words.csv").read_bytes()
    (study.parent / "nothing").mkdir()
    monkeypatch.setenv("MTCIL_SOURCE_WORDS", str(study.parent / "nothing"))
    done = run_script(study, lister)
    assert done.returncode == 1 and f"{study.parent}/nothing holds no clip of words" in done.stderr
    assert (study / "sources/words.csv").read_bytes() == listed
