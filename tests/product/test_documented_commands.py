"""The commands of README.md's code blocks, run as they stand there in a fresh copy of the project.

The studies in the copy are cut down to seconds. What is replaced in a command is listed here.
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml
from tiny_study import ROOT, Repository, params, run_stage, write_params

BLOCKS = re.findall(r"^```\n(.*?)^```", (ROOT / "README.md").read_text("utf-8"), re.M | re.S)
SETUP, PAPER, OWN_AUDIO, RESULTS = range(4)
REPLACED = {
    "make test": "make --dry-run test",  # this test is one of them
    "dvc queue status": (
        "timeout 600 sh -c 'until [ $(dvc queue status | grep -c Success) = 2 ]; do sleep 2; done'"
    ),
}
LEFT_OUT = (
    *("exemplar_sweeps", "loss_ablations", "epoch_sweeps", "heads_timings"),
    *("tunings", "comparisons", "base_probes"),
)
pytestmark = pytest.mark.slow


def commands_of(block: int) -> list[str]:
    """The block's lines without comments, as a user copies them."""
    lines = [line.split(" #")[0].rstrip() for line in BLOCKS[block].splitlines()]
    for command, other in REPLACED.items():
        lines = [line.replace(command, other) for line in lines]
    return [line for line in lines if line]


@pytest.fixture(scope="module")
def copy(tmp_path_factory) -> Repository:
    """The project as git has it, on branch main; its root and demo are tiny studies."""
    root = tmp_path_factory.mktemp("documented") / "project"
    names = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for name in filter(None, names.stdout.split("\0")):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, root / name)
    for folder, code, settings in (
        (root, ".", "settings.yaml"),
        (root / "demo", "..", "../settings.yaml"),
    ):
        values = params(code) | {"settings": settings}
        values |= {section: {} for section in LEFT_OUT}
        write_params(folder, values)
        for made in ("metrics", "plots", "dvc.lock", "report.html"):
            shutil.rmtree(folder / made, ignore_errors=True)
            (folder / made).unlink(missing_ok=True)
        (folder / "sources").mkdir(exist_ok=True)
        (folder / "sources/words.csv").write_text("name,bytes,checksum\n", "utf-8")
    environment = root / ".venv"
    environment.mkdir()
    for name in ("bin", "lib", "pyvenv.cfg"):
        (environment / name).symlink_to(Path(sys.prefix) / name)
    repository = Repository(root)
    repository.study.mkdir(parents=True, exist_ok=True)
    repository.git("init", "--quiet", "--initial-branch=main", str(root))
    repository.commit("the project")
    (environment / ".installed").touch()  # after requirements.txt, so that make installs nothing
    return repository


def run(copy: Repository, folder: Path, commands: list[str]) -> str:
    """Run commands in one shell; the first that fails ends it."""
    script = "\n".join(["set -e", *commands])
    done = subprocess.run(
        ["bash", "-c", script], cwd=folder, env=copy.environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout + done.stderr


def test_every_block_is_run():
    pages = [(ROOT / name).read_text("utf-8") for name in ("README.md", "RESULTS.md")]
    assert len(BLOCKS) == 4
    assert [page.count("```") for page in pages] == [2 * len(BLOCKS), 0]


def test_setup_and_demo(copy):
    text = run(copy, copy.root, commands_of(SETUP))
    assert "Page:   demo/report.html" in text
    assert (copy.root / "demo/report.html").is_file()
    copy.commit("demo")


def test_looking_at_results(copy):
    demo = copy.root / "demo"
    try:
        run(copy, demo, commands_of(RESULTS))
        assert copy.dvc("queue", "status").count("Success") == 2
    finally:
        copy.dvc("queue", "stop")
    assert_as_one_after_the_other(copy)
    page = (demo / "dvc_plots/index.html").read_text("utf-8")
    assert '"rev": "one"' in page
    run(copy, copy.root, ["git checkout --quiet ."])


def assert_as_one_after_the_other(copy: Repository) -> None:
    """Two workers' experiments have the records that a stage in this folder makes, to the byte."""
    demo, records = copy.root / "demo", "metrics/records/learn_steps/words.csv"
    refs = copy.git("for-each-ref", "--format=%(refname)", "refs/exps").split()
    settings = {ref: copy.git("show", f"{ref}:demo/params.yaml") for ref in refs}
    queued = {yaml.safe_load(text)["exemplars"]: ref for ref, text in settings.items()}
    for exemplars in (20, 40):
        (demo / "params.yaml").write_text(settings[queued[exemplars]], "utf-8")
        run_stage(demo, "train_base", "words", root=copy.root)  # the folder's are of another rate
        done = run_stage(demo, "learn_steps", "words", root=copy.root)
        assert done.returncode == 0 and ", 0 of them" not in done.stderr, done.stderr
        of_queue = copy.git("show", f"{queued[exemplars]}:demo/{records}")
        assert (demo / records).read_text("utf-8") == of_queue
        assert f",{exemplars}," in of_queue


def test_the_papers_study(copy):
    run(copy, copy.root, commands_of(PAPER))
    assert (copy.root / "metrics/tables/steps.md").is_file()
    page = (copy.root / "dvc_plots/index.html").read_text("utf-8")
    assert '"rev": "main"' in page and '"rev": "single"' in page
    assert "single" in copy.dvc("exp", "list", "--name-only")
    run(copy, copy.root, ["git checkout --quiet ."])


def test_own_audio(copy, tmp_path):
    rng = np.random.default_rng(0)
    for label in ("wren", "tit", "owl", "crow"):
        (tmp_path / label).mkdir()
        for i in range(20):
            wave = rng.normal(0, 0.1, 8_000).astype(np.float32)
            soundfile.write(tmp_path / label / f"{i}.wav", wave, 16_000)
    make, *others = [line.replace("/path", str(tmp_path)) for line in commands_of(OWN_AUDIO)]
    run(copy, copy.root, [make])
    study = copy.root / "studies/birds"
    values = yaml.safe_load((study / "params.yaml").read_text("utf-8"))
    values["seeds"] = [0, 1]
    few = {"base": 4, "head_first": 2, "then_all": 2, "compare": 4}
    values["datasets"]["birds"]["updates"] = few
    for section in ("exemplar_sweeps", "comparisons"):
        values[section] = {}
    write_params(study, values)
    run(copy, copy.root, others)
    assert (study / "report.html").is_file()
