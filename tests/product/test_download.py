"""A dataset's archive is copied, packed or made; the stage says where it is from."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from mtcil.audio.archives import read_members, write_tar
from mtcil.audio.provide import provide_archive
from mtcil.audio.source import Source
from mtcil.core.errors import UserError
from mtcil.datasets import folders, speech_commands, synthetic_words
from mtcil.settings.sections import DatasetSettings, UpdateSettings, source_variable

ROOT = Path(__file__).parents[2]
WORDS = yaml.safe_load((ROOT / "params.yaml").read_text("utf-8"))["datasets"]["gsc"]["classes"]


def settings_for(kind: str) -> DatasetSettings:
    return DatasetSettings(
        kind=kind,
        classes=("yes", "no"),
        clips_per_class=10,
        steps=(2,),
        exemplars=0,
        updates=UpdateSettings(base=1, head_first=1, then_all=1, compare=1),
        features="any",
        network="small",
        class_order=None,
        folds=None,
        exclude=(),
    )


def provide(tmp_path, dataset, local=None) -> tuple[dict, list[str]]:
    notes: list[str] = []
    kind = getattr(dataset, "__name__", "x.made_up").rpartition(".")[2]
    (tmp_path / "out").mkdir(exist_ok=True)
    (tmp_path / "out" / "left over").touch()
    local = None if local is None else str(local)
    places = (tmp_path / "out", tmp_path / "partial")
    facts = provide_archive("gsc", settings_for(kind), dataset, *places, local, notes.append)
    archive = tmp_path / "out" / facts["file"]
    assert list((tmp_path / "out").iterdir()) == [archive]
    content = archive.read_bytes()
    assert facts["bytes"] == len(content)
    assert facts["sha256"] == hashlib.sha256(content).hexdigest()
    assert str(tmp_path) not in json.dumps(facts)
    return facts, notes


def test_a_local_official_archive_is_copied_and_known_by_its_checksum(tmp_path):
    mine = tmp_path / "mine.bin"
    write_tar(mine, [("yes/a.wav", b"x")])
    digest = hashlib.sha256(mine.read_bytes()).hexdigest()
    source = Source("https://x/data.tar.gz", "data.tar.gz", None, f"sha256:{digest}", "", "")
    dataset = SimpleNamespace(SOURCE=source)
    facts, notes = provide(tmp_path, dataset, mine)
    assert (facts["official"], facts["origin"], notes) == (True, "local archive", [])
    assert facts["file"] == "data.tar.gz"
    assert mine.stat().st_nlink == 1  # no hard link, which DVC would make read-only


def test_another_local_archive_is_taken_with_a_note(tmp_path):
    write_tar(tmp_path / "mine.bin", [(name, b"x") for name in CLIPS])
    facts, notes = provide(tmp_path, speech_commands, tmp_path / "mine.bin")
    assert (facts["official"], facts["file"]) == (False, "gsc.tar")
    assert "not the official archive; it is used" in notes[0]


CLIPS = [f"{word}/0135f3f{k}_nohash_1.wav" for word in ("yes", "no") for k in range(3)]


def make_folder(folder, names) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())


def test_the_clips_of_a_local_folder_are_packed(tmp_path):
    make_folder(tmp_path / "mine", [*CLIPS, "LICENSE", "._x"])
    facts, notes = provide(tmp_path, speech_commands, tmp_path / "mine")
    assert (facts["official"], facts["origin"]) == (False, "local folder")
    packed = dict(read_members(tmp_path / "out" / "gsc.tar", lambda name: True))
    assert packed == {name: name.encode() for name in CLIPS}
    assert "1 without suffix (e.g. LICENSE)" in notes[0]


def test_folders_above_the_classes_are_dropped_from_data_of_ones_own(tmp_path):
    clips = {f"{label}/{k}" for label in ("yes", "no/garden") for k in ("1.wav", "2.flac", "3.AU")}
    make_folder(tmp_path / "mine", [f"my/data/{name}" for name in clips])
    provide(tmp_path, folders, tmp_path / "mine")
    names = {name for name, _ in read_members(tmp_path / "out" / "gsc.tar", lambda name: True)}
    assert names == clips


def test_synthetic_data_are_made(tmp_path):
    facts, notes = provide(tmp_path, synthetic_words)
    assert (facts["official"], facts["origin"], facts["url"]) == (False, "synthetic", None)
    assert notes == []


@pytest.mark.parametrize("where", ["absent", "out", "empty", "text"])
def test_local_data_that_cannot_be_used_are_refused(tmp_path, where):
    for folder in ("out", "empty"):
        (tmp_path / folder).mkdir()
    (tmp_path / "text").write_text("no archive")
    reasons = {
        "absent": "MTCIL_SOURCE_GSC: there is no ",
        "out": "that the pipeline empties",
        "empty": "contains no clip where speech_commands looks",
        "text": "is not a tar, tar.gz or zip archive",
    }
    with pytest.raises(UserError, match=reasons[where]):
        provide(tmp_path, speech_commands, tmp_path / where)


def test_data_of_ones_own_without_a_place_name_the_variable_to_set(tmp_path):
    with pytest.raises(UserError, match=r"Set MTCIL_SOURCE_GSC to the absolute path"):
        provide(tmp_path, folders)


def test_the_variable_of_a_dataset_can_be_set_in_a_shell():
    assert source_variable("my-gsc.2") == "MTCIL_SOURCE_MY_GSC_2"


@pytest.fixture
def study(tmp_path) -> Path:
    """The paper's study, and in it a small synthetic dataset called words."""
    params = yaml.safe_load((ROOT / "params.yaml").read_text("utf-8"))
    words = {"kind": "synthetic_words", "classes": ["yes", "no"], "clips_per_class": 10}
    protocol = {"steps": [2], "class_order": None, "folds": None}
    params["datasets"]["words"] = {**params["datasets"]["gsc"], **words, **protocol}
    params["settings"] = str(ROOT / "settings.yaml")
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "params.yaml").write_text(yaml.safe_dump(params))
    return tmp_path / "study"


def run_stage(study: Path, name: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, ROOT / "pipeline" / "download.py", name],
        cwd=study,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src"), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("origin", ["local archive", "local folder", "synthetic"])
def test_the_stage_writes_one_archive_and_where_it_is_from(study, tmp_path, origin):
    clips = [f"{word}/0135f3f{k}_nohash_1.wav" for word in WORDS for k in range(3)]
    write_tar(tmp_path / "mine.tar", [(clip, b"x") for clip in clips])
    make_folder(tmp_path / "mine", clips)
    local = {"local archive": "mine.tar", "local folder": "mine"}.get(origin)
    name = "gsc" if local else "words"
    environment = {"MTCIL_SOURCE_GSC": str(tmp_path / local)} if local else {}
    done = run_stage(study, name, **environment)
    assert done.returncode == 0, done.stderr
    assert ("not the official archive" in done.stderr) == bool(local)
    folder = study / "data" / "raw" / name
    facts = json.loads((folder / "source.json").read_text())
    assert {file.name for file in folder.iterdir()} == {"source.json", facts["file"]}
    assert (facts["dataset"], facts["origin"]) == (name, origin)
    clips = list(read_members(folder / facts["file"], lambda file: file.endswith(".wav")))
    assert len(clips) == (60 if local else 20)


def test_the_stage_fails_with_a_message_and_no_traceback(study):
    done = run_stage(study, "gsc", MTCIL_SOURCE_GSC="/nowhere")
    assert done.returncode == 1
    assert done.stderr.startswith("error: MTCIL_SOURCE_GSC: there is no")
    assert "Traceback" not in done.stderr
    assert "params.yaml has no datasets.other" in run_stage(study, "other").stderr


def test_the_stage_loads_neither_torch_nor_librosa(study):
    code = "import sys; import download; print({'torch', 'librosa'} & set(sys.modules))"
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT / 'pipeline'}"}
    loaded = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert loaded.stdout.strip() == "set()"
