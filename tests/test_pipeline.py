"""A tiny study through the real `dvc repro` and `dvc exp run`, in a repository of its own."""

import csv
import json
import re
import shutil
import sys
from pathlib import Path

import pytest
import torch
import yaml
from tiny_study import (
    ROOT,
    Repository,
    files_in,
    params,
    run_script,
    run_stage,
    write_params,
)

pytestmark = pytest.mark.slow

STAGES = {
    "download@words", "extract_features@words", "train_base@words_3", "train_base@words_3-2",
    "learn_steps@words_3", "learn_steps@words_3-2", "sweep_exemplars@words_3-2",
    "train_base@words_3_longer", "learn_steps@words_3_longer", "ablate_losses@words_3-2",
    "sweep_epochs@words_3-2", "time_heads@words", "tune_methods@words",
    "compare_methods@words_3-2", "probe_base@words_3", "probe_base@words_3-2", "summarise",
    "draw_figures",
}  # fmt: skip
RECORDS = Path("metrics", "records")
# Says on stderr which copy of the package a process uses.
WHERE = "\nimport sys\nprint('mtcil from', __file__, file=sys.stderr)\n"


def ran(output: str) -> set[str]:
    """Names of the stages that DVC ran."""
    return set(re.findall(r"^Running stage '([^']+)'", output, re.MULTILINE))


def rows_of(table: Path) -> list[dict[str, str]]:
    with table.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """The study after its first `dvc repro`; `main~1` is before it, `main` after it."""
    root = tmp_path_factory.mktemp("pipeline") / "project"
    without = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for folder in ("src", "pipeline"):
        shutil.copytree(ROOT / folder, root / folder, ignore=without)
    for name in ("dvc.yaml", "params.yaml", ".gitignore", ".dvcignore", ".dvc/.gitignore"):
        (root / name).parent.mkdir(exist_ok=True)
        shutil.copyfile(ROOT / name, root / name)
    shutil.copyfile(ROOT / ".dvc" / "config", root / ".dvc" / "config")
    for folder in (".dvc/plots", ".dvc/page"):
        shutil.copytree(ROOT / folder, root / folder)
    repository = Repository(root)
    repository.study.mkdir(parents=True)
    shutil.copyfile(ROOT / "dvc.yaml", repository.study / "dvc.yaml")
    write_params(repository.study, params("../.."))
    with (root / "src" / "mtcil" / "__init__.py").open("a") as package:
        package.write(WHERE)
    repository.git("init", "--quiet", "--initial-branch=main", str(root))
    repository.commit("Before the first run")
    assert ran(repository.dvc("repro")) == STAGES
    repository.untracked = repository.git("status", "--porcelain", "-uall", str(root))
    repository.commit("After the first run")
    return repository


@pytest.fixture(scope="module")
def experiments(repository):
    """What `dvc exp run` said of "seven" (K = 7) and of "alone" (another headline, --temp).

    Branch `other` holds the results of "seven".
    """
    seven = repository.dvc("exp", "run", "--name", "seven", "--set-param", "exemplars=7")
    repository.git("checkout", "--quiet", "-b", "other")
    repository.commit("Seven exemplars")
    repository.git("checkout", "--quiet", "main")
    alone = repository.dvc("exp", "run", "--temp", "--name", "alone", "-S", "headline=single")
    return {"seven": seven, "alone": alone}


def test_the_whole_chain_ends_with_a_table_and_a_picture(repository):
    study = repository.study
    assert (study / "plots" / "steps.png").read_bytes().startswith(b"\x89PNG")
    lines = (study / "metrics" / "tables" / "steps.md").read_text().splitlines()
    assert len(lines) == 5 and "| 3-2 |" in lines[3] and "| longer |" in lines[4]
    headline = json.loads((study / "metrics" / "headline.json").read_text())
    assert headline["words"]["seeds"] == 2
    records = rows_of(study / RECORDS / "learn_steps" / "words_3" / "records.csv")
    found = [(row["seed"], row["classes_seen"]) for row in records]
    assert found == [(seed, seen) for seed in "01" for seen in "345"]


def test_git_sees_the_results_and_nothing_else(repository):
    new = {line[3:] for line in repository.untracked.splitlines()}
    assert all(line.startswith("??") for line in repository.untracked.splitlines())
    allowed = ("studies/tiny/metrics/", "studies/tiny/plots/", "studies/tiny/dvc.lock")
    assert not {path for path in new if not path.startswith(allowed)}
    assert not {path for path in new if Path(path).name.startswith(".")}


def test_a_second_repro_runs_nothing_and_changes_nothing(repository):
    assert ran(repository.dvc("repro")) == set()
    assert repository.git("status", "--porcelain", str(repository.root)) == ""


def test_another_k_reruns_what_follows_it_and_no_more(repository, experiments):
    assert ran(experiments["seven"]) == {
        "learn_steps@words_3", "learn_steps@words_3-2", "learn_steps@words_3_longer",
        "ablate_losses@words_3-2", "sweep_epochs@words_3-2", "tune_methods@words",
        "compare_methods@words_3-2", "summarise", "draw_figures",
    }  # fmt: skip
    path = f"{repository.study.relative_to(repository.root)}/metrics/records/learn_steps"
    text = repository.git("show", f"other:{path}/words_3/records.csv")
    for row in csv.DictReader(text.splitlines()):
        n_old = int(row["classes_seen"]) - 1 if row["step"] != "0" else 0
        clips = 7 // n_old * n_old if n_old else 0
        assert (row["exemplars"], int(row["memory_bytes"])) == ("7", clips * 32 * 32 * 4)


def test_a_temporary_run_uses_its_own_code_and_does_not_fetch_or_train(repository, experiments):
    assert ran(experiments["alone"]) == {"summarise", "draw_figures"}
    places = [Path(p) for p in re.findall(r"^mtcil from (.+)$", experiments["alone"], re.MULTILINE)]
    assert len(places) == 2  # one per stage
    assert all(p.is_relative_to(repository.root / ".dvc" / "tmp" / "exps") for p in places)


@pytest.mark.parametrize("pair", [("main", "other"), ("seven", "alone")], ids="-".join)
def test_two_commits_or_experiments_can_be_compared(repository, experiments, tmp_path, pair):
    values, file = {}, "studies/tiny/metrics/headline.json"
    for name in pair:
        commit = name if name in ("main", "other") else f"refs/exps/{name}"
        if commit.startswith("refs"):
            refs = repository.git("for-each-ref", "--format=%(refname)", "refs/exps").split()
            (commit,) = (ref for ref in refs if ref.endswith(f"/{name}"))
        values[name] = json.loads(repository.git("show", f"{commit}:{file}"))["words"]
    metrics = repository.dvc("metrics", "diff", "--all", "--md", *pair)
    for name in ("single_average", "multitask_average", "headline_average"):
        (line,) = (line for line in metrics.splitlines() if f"words.{name} " in line)
        assert [float(x) for x in line.split("|")[3:5]] == [values[p][name] for p in pair]
    changed = repository.dvc("params", "diff", "--md", *pair)
    assert re.search(r"\| exemplars +\| ", changed) and " 7 " in changed
    repository.dvc("plots", "diff", "--out", str(tmp_path), *pair)
    page = (tmp_path / "index.html").read_text("utf-8")
    assert all(f'"rev": "{name}"' in page for name in pair)


def test_experiments_are_listed_with_their_params_and_metrics(repository, experiments):
    table = repository.dvc("exp", "show", "--csv")
    rows = {row["Experiment"]: row for row in csv.DictReader(table.splitlines())}
    assert {"seven", "alone"} <= set(rows)
    (k,) = (name for name in rows["seven"] if name.endswith("tiny/params.yaml:exemplars"))
    (headline,) = (name for name in rows["seven"] if name.endswith("tiny/params.yaml:headline"))
    assert (rows["seven"][k], rows["alone"][headline]) == ("7", "single")
    assert float(rows["seven"]["words.single_average"]) >= 0


@pytest.mark.parametrize("value", ["abc", "-3"])
def test_a_refused_override_leaves_the_old_records(repository, value):
    before = files_in(repository.study / "metrics")
    done = repository.run(sys.executable, "-m", "dvc", "exp", "run", "-S", f"exemplars={value}")
    said, kept = done.stdout + done.stderr, files_in(repository.study / "metrics")
    repository.git("checkout", "--", str(repository.root))
    assert done.returncode != 0
    assert said.count("exemplars must be") == 1 and "Traceback" not in said
    assert kept == before


def test_two_jobs_give_the_bytes_of_one(repository, tmp_path):
    study = repository.copy(tmp_path / "two", machine__jobs=2, machine__fresh=True)
    for stage in ("train_base", "learn_steps"):
        shutil.rmtree(study / RECORDS / stage / "words_3-2")
    shutil.rmtree(study / "models" / "words_3-2")
    both = "import _study, train_base\n_study.run(train_base.main)"  # one process: faster
    done = run_stage(study, "learn_steps", "words_3-2", root=repository.root, before=both)
    assert done.returncode == 0, done.stderr
    assert files_in(study / RECORDS) == files_in(repository.study / RECORDS)
    for seed in (0, 1):
        file = Path("models", "words_3-2", f"seed{seed}.pt")
        one, two = (
            torch.load(place / file, weights_only=True)["network"]
            for place in (repository.study, study)
        )
        assert two.keys() == one.keys()
        assert all(torch.equal(two[name], one[name]) for name in one)


DIES_AFTER_A_SAVE = """
import os
from mtcil.checkpoints import Checkpoint
save = Checkpoint.save
def save_and_die(self, content):
    save(self, content)
    os._exit(9)
Checkpoint.save = save_and_die
"""
TELLS_WHAT_IT_LEARNS = """
import mtcil.runs
advance = mtcil.runs.advance
def told(state, data, plan, method, seed, report):
    print(f"{seed}:{len(state.results)}", end=" ")
    return advance(state, data, plan, method, seed, report)
mtcil.runs.advance = told
"""


def test_a_killed_stage_goes_on_where_it_was(repository, tmp_path):
    study = repository.copy(tmp_path / "killed")
    shutil.rmtree(study / ".checkpoints")
    shutil.rmtree(study / RECORDS / "learn_steps" / "words_3-2")
    stage = ("learn_steps", "words_3-2")
    done = run_stage(study, *stage, root=repository.root, before=DIES_AFTER_A_SAVE)
    assert done.returncode == 9 and not (study / RECORDS / "learn_steps" / "words_3-2").exists()
    done = run_stage(study, *stage, root=repository.root, before=TELLS_WHAT_IT_LEARNS)
    assert (done.returncode, done.stdout) == (0, "0:2 1:1 1:2 "), done.stderr
    assert files_in(study / RECORDS) == files_in(repository.study / RECORDS)


@pytest.mark.parametrize(("fresh", "learnt"), [(False, ""), (True, "0:1 0:2 1:1 1:2 ")])
def test_finished_runs_are_taken_up_unless_fresh_is_asked_for(repository, tmp_path, fresh, learnt):
    study = repository.copy(tmp_path / "again", machine__fresh=fresh)
    shutil.rmtree(study / RECORDS / "learn_steps" / "words_3")
    stage = ("learn_steps", "words_3")
    done = run_stage(study, *stage, root=repository.root, before=TELLS_WHAT_IT_LEARNS)
    assert (done.returncode, done.stdout) == (0, learnt), done.stderr
    assert files_in(study / RECORDS) == files_in(repository.study / RECORDS)


def test_records_of_a_row_that_is_gone_are_not_read(repository, tmp_path):
    rows = {"words_3-2": params(".")["base_models"]["words_3-2"]}
    probes = {"words_3-2": params(".")["base_probes"]["words_3-2"]}
    study = repository.copy(
        tmp_path / "less", base_models=rows, base_probes=probes, tunings={}, comparisons={}
    )
    for file in (study / RECORDS / "learn_steps" / "words_3").iterdir():
        file.write_text("no table", "utf-8")
    for stage in ("summarise", "draw_figures"):
        done = run_stage(study, stage, root=repository.root)
        assert done.returncode == 0, done.stderr
    table = rows_of(study / "metrics" / "tables" / "steps.csv")
    assert {row["row"] for row in table} == {"words_3-2"}
    assert set(json.loads((study / "metrics/summary.json").read_text())["base_models"]) == set(rows)


# DVC notices these because another line of the stage's params is named by them.
NOTICED = {"extract_features": ["datasets.words.features"]}


def test_a_stage_lists_every_parameter_that_it_reads(repository, tmp_path):
    study = repository.copy(tmp_path / "spied", machine__fresh=True)
    locked = yaml.safe_load((repository.study / "dvc.lock").read_text("utf-8"))["stages"]
    script = Path(__file__).with_name("spy_on_params.py")
    done = run_script(study, script, *locked, root=repository.root)
    assert done.returncode == 0, done.stderr
    for name, read in json.loads(done.stdout).items():
        listed = {*locked[name]["params"]["params.yaml"], *NOTICED.get(name.split("@")[0], ())}
        missing = {p for p in read if not any(f"{p}.".startswith(f"{at}.") for at in listed)}
        assert not missing, f"dvc.yaml, params of {name}: {missing}"
