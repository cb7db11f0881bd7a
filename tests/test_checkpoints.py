"""mtcil.checkpoints, mtcil.files and mtcil.lookup: whole files, names that follow their inputs."""

import dataclasses
import os

import pytest
import torch
from conftest import NETWORK

from mtcil.checkpoints import Checkpoint, code_digest, digest
from mtcil.files import file_digest, whole_file, write_text
from mtcil.lookup import PACKAGE_DIR, files_reached
from mtcil.runs import _model_digest, save_base


class Payload:
    """Unpickling it would make a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_a_checkpoint_gives_back_what_was_saved(tmp_path):
    place = Checkpoint(tmp_path / "folder", "key")
    assert place.load() is None
    place.save({"x": torch.arange(3), "n": 2})
    loaded = place.load()
    assert torch.equal(loaded["x"], torch.arange(3)) and loaded["n"] == 2
    assert dataclasses.replace(place, fresh=True).load() is None
    assert dataclasses.replace(place, key="other").load() is None


@pytest.mark.parametrize("damage", [b"", b"not a checkpoint", None])
def test_a_damaged_checkpoint_counts_as_none(tmp_path, damage):
    place = Checkpoint(tmp_path, "key")
    place.save({"x": torch.zeros(1000)})
    place.file.write_bytes(place.file.read_bytes()[:500] if damage is None else damage)
    assert place.load() is None


def test_loading_a_checkpoint_executes_nothing(tmp_path):
    place = Checkpoint(tmp_path, "key")
    torch.save({"x": Payload(tmp_path / "made")}, place.file)
    assert place.load() is None
    assert not (tmp_path / "made").exists()


def test_the_name_follows_every_value():
    names = {
        digest(NETWORK, 1),
        digest(NETWORK, 2),
        digest(NETWORK, "1"),
        digest(dataclasses.replace(NETWORK, dropout=0.4), 1),
        digest(NETWORK, [1, None]),
    }
    assert len(names) == 5
    assert digest(NETWORK, 1) == digest(NETWORK, 1)


def test_what_has_no_plain_form_is_refused():
    with pytest.raises(TypeError, match="no plain form"):
        digest({1, 2}, object())


def test_the_code_digest_follows_imports():
    reached = {
        f.relative_to(PACKAGE_DIR).as_posix() for f in files_reached([PACKAGE_DIR / "base.py"])
    }
    assert {"base.py", "losses.py", "models.py", "training.py", "__init__.py"} <= reached
    assert "methods/ccil.py" not in reached and "features.py" not in reached
    assert code_digest([PACKAGE_DIR / "base.py"]) != code_digest([PACKAGE_DIR / "metrics.py"])


def test_a_file_appears_whole_or_not_at_all(tmp_path):
    target = tmp_path / "sub" / "x.txt"
    write_text(target, "old\n")
    with pytest.raises(RuntimeError), whole_file(target) as part:
        part.write_text("half")
        assert target.read_text() == "old\n"
        raise RuntimeError
    assert target.read_text() == "old\n"
    assert [f.name for f in target.parent.iterdir()] == ["x.txt"]


def test_file_digest_is_sha256(tmp_path):
    (tmp_path / "x").write_bytes(b"abc")
    assert file_digest(tmp_path / "x").startswith("ba7816bf8f01cfea")


def test_equal_weights_after_other_epochs_are_another_base_model(tmp_path):
    keys = []
    for name, epochs in (("a", 2), ("b", 2), ("c", 3)):
        weights = {"head.bias": torch.zeros(3)}
        save_base({"network": weights, "epochs": {"base": epochs}}, tmp_path / name)
        keys.append(_model_digest(tmp_path / name))
    assert keys[0] == keys[1] != keys[2]
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
