"""A tiny study through the real `dvc repro` and `dvc exp run`, in a repository of its own."""

import csv
import json
import re
import shutil
import sys
from collections import Counter
from pathlib import Path

import pytest
import yaml
from tiny_study import (
    Repository,
    files_in,
    new_repository,
    params,
    run_script,
    run_stage,
    write_params,
)

from mtcil.settings.files import SHARED

pytestmark = pytest.mark.slow

FROM_BASES = {
    "sweep_exemplars@words", "ablate_losses@words", "sweep_epochs@words", "compare_methods@words",
    "probe_base@words",
}  # fmt: skip
TRAINING = {"train_base@words", "learn_steps@words", "tune_methods@words", *FROM_BASES}
REPORTS = {"summarise", "draw_figures", "write_report"}
STAGES = {
    "download@words", "extract_features@words", "time_heads@words", *TRAINING, *REPORTS,
}  # fmt: skip
RECORDS = Path("metrics", "records")
HEADLINE = "studies/tiny/metrics/headline.json"
RATE = "../../settings.yaml:base_training.fit.learning_rate"
# Says on stderr which copy of the package a process uses, and when a base model is probed.
WHERE = "\nimport sys\nprint('mtcil from', __file__, file=sys.stderr)\n"
PROBES = """
import sys as _sys
_probe_one_base = probe_one_base
def probe_one_base(job):
    print("1 base models, 1 of them to probe", file=_sys.stderr)
    return _probe_one_base(job)
"""


def ran(output: str) -> set[str]:
    """Names of the stages that DVC ran."""
    return set(re.findall(r"^Running stage '([^']+)'", output, re.MULTILINE))


def work(output: str) -> Counter[str]:
    """How much the stages had to "train", "learn" and "probe"."""
    found: Counter[str] = Counter()
    for count, what in re.findall(r"\d+ (?:runs|base models), (\d+) of them to (\w+)", output):
        found[what] += int(count)
    return +found


def rows_of(table: Path) -> list[dict[str, str]]:
    with table.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def replace_in(file: Path, old: str, new: str) -> None:
    text = file.read_text("utf-8")
    assert text.count(old) == 1, f"{file.name}: {old!r} is there {text.count(old)} times"
    file.write_text(text.replace(old, new), "utf-8")


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """The study after its first `dvc repro`; `main~1` is before it, `main` after it."""
    root = tmp_path_factory.mktemp("pipeline") / "project"
    repository = new_repository(root, params("../.."))
    for name, code in (("__init__.py", WHERE), ("running/probe.py", PROBES)):
        with (root / "src" / "mtcil" / name).open("a") as file:
            file.write(code)
    repository.commit("Before the first run")
    repository.said = repository.dvc("repro")
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


@pytest.fixture
def clone(repository, tmp_path):
    """A fresh clone of the finished study that shares its DVC cache."""
    return repository.clone(tmp_path / "clone" / "project", cache=True)


def show(repository: Repository, experiment: str, path: str) -> str:
    """A file as an experiment left it."""
    refs = repository.git("for-each-ref", "--format=%(refname)", "refs/exps").split()
    (commit,) = (ref for ref in refs if ref.endswith(f"/{experiment}"))
    return repository.git("show", f"{commit}:{path}")


# --- repro


def test_the_whole_chain_ends_with_a_table_and_a_picture(repository):
    assert ran(repository.said) == STAGES
    study = repository.study
    assert (study / "plots" / "steps.png").read_bytes().startswith(b"\x89PNG")
    lines = (study / "metrics" / "tables" / "steps.md").read_text().splitlines()
    assert len(lines) == 7 and "| 3-2 |" in lines[5] and "| longer |" in lines[6]
    headline = json.loads((study / "metrics" / "headline.json").read_text())
    assert headline["words"]["seeds"] == 2
    records = rows_of(study / RECORDS / "learn_steps" / "words.csv")
    found = [(row["base"], row["seed"], row["classes_seen"]) for row in records]
    bases = ("single", "multitask", "single_longer")
    assert found == [(base, seed, seen) for base in bases for seed in "01" for seen in "345"]


def test_git_sees_the_results_and_nothing_else(repository):
    new = {line[3:] for line in repository.untracked.splitlines()}
    assert all(line.startswith("??") for line in repository.untracked.splitlines())
    results = ("metrics/", "plots/", "report.html", "dvc.lock")
    allowed = tuple(f"studies/tiny/{name}" for name in results)
    assert not {path for path in new if not path.startswith(allowed)}
    assert not {path for path in new if Path(path).name.startswith(".")}


def test_a_second_repro_runs_nothing_and_changes_nothing(repository):
    assert ran(repository.dvc("repro")) == set()
    assert repository.git("status", "--porcelain", str(repository.root)) == ""


def test_no_checkpoint_is_left_of_runs_that_are_in_the_records(repository):
    assert list((repository.study / ".checkpoints").glob("*.json")) == []


# --- experiments


def test_another_k_reruns_what_follows_it_and_no_more(repository, experiments):
    assert ran(experiments["seven"]) == {
        "learn_steps@words", "ablate_losses@words", "sweep_epochs@words", "tune_methods@words",
        "compare_methods@words", *REPORTS,
    }  # fmt: skip
    assert work(experiments["seven"])["train"] == 0
    text = repository.git("show", "other:studies/tiny/metrics/records/learn_steps/words.csv")
    for row in csv.DictReader(text.splitlines()):
        n_old = int(row["classes_seen"]) - 1 if row["step"] != "0" else 0
        clips = 7 // n_old * n_old if n_old else 0
        assert (row["exemplars"], int(row["memory_bytes"])) == ("7", clips * 32 * 32 * 4)


def test_a_temporary_run_uses_its_own_code_and_does_not_fetch_or_train(repository, experiments):
    assert ran(experiments["alone"]) == REPORTS
    places = [Path(p) for p in re.findall(r"^mtcil from (.+)$", experiments["alone"], re.MULTILINE)]
    assert len(places) == len(REPORTS)  # one per stage
    assert all(p.is_relative_to(repository.root / ".dvc" / "tmp" / "exps") for p in places)


def test_another_headline_changes_what_is_shown(repository, experiments):
    before = json.loads((repository.root / HEADLINE).read_text("utf-8"))["words"]
    after = json.loads(show(repository, "alone", HEADLINE))["words"]
    assert before["headline_average"] == before["multitask_average"]
    assert after["headline_average"] == after["single_average"] != before["headline_average"]
    shown = show(repository, "alone", "studies/tiny/plots/headline_steps.csv")
    assert shown == (repository.study / "plots" / "single_steps.csv").read_text("utf-8")


@pytest.mark.parametrize("where", ["workspace", "temp"])
def test_an_experiment_can_change_a_number_of_settings_yaml(clone, where):
    options = ["--temp"] if where == "temp" else []
    before = rows_of(clone.study / RECORDS / "train_base" / "words.csv")
    command = ("exp", "run", *options, "--name", "rate", "-S", f"{RATE}=0.03", "train_base")
    said = clone.dvc(*command)
    assert ran(said) == {"train_base@words"} and work(said) == {"train": 4}
    text = show(clone, "rate", "studies/tiny/metrics/records/train_base/words.csv")
    rows = list(csv.DictReader(text.splitlines()))
    assert len(rows) == len(before) == 6
    old = {row["key"] for row in before}
    assert {row["base"] for row in rows if row["key"] in old} == {"multitask"}  # has its own rate
    assert "learning_rate: 0.03" in show(clone, "rate", "settings.yaml")
    changed = set(re.findall(r"^([\w@]+):$", clone.dvc("status", "dvc.yaml"), re.MULTILINE))
    # The pictures follow the tables, which are as they were until summarise runs.
    same = {"train_base@words", "download@words", "extract_features@words", "draw_figures"}
    assert changed == (STAGES - same if where == "workspace" else set())


def test_a_queued_experiment_is_run_with_all_others(clone):
    clone.dvc("exp", "run", "--queue", "--name", "queued", "-S", "headline=single")
    said = clone.dvc("exp", "run", "--run-all")
    assert ran(said) == REPORTS and work(said) == {}
    headline = json.loads(show(clone, "queued", HEADLINE))["words"]
    assert headline["headline_average"] == headline["single_average"]
    assert clone.git("status", "--porcelain", str(clone.root)) == ""


@pytest.mark.parametrize("pair", [("main", "other"), ("seven", "alone")], ids="-".join)
def test_two_commits_or_experiments_can_be_compared(repository, experiments, tmp_path, pair):
    values = {}
    for name in pair:
        is_branch = name in ("main", "other")
        text = (
            repository.git("show", f"{name}:{HEADLINE}")
            if is_branch
            else show(repository, name, HEADLINE)
        )
        values[name] = json.loads(text)["words"]
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


def test_refused_overrides_leave_the_old_records(clone):
    before = files_in(clone.study / "metrics")
    for override, says in [
        ("exemplars=abc", "params.yaml: exemplars"),
        ("exemplars=-3", "params.yaml: exemplars"),
        (f"{RATE}=none", "../../settings.yaml: base_training.fit.learning_rate"),
        ("headline=h9", "params.yaml: headline"),
    ]:
        done = clone.run(sys.executable, "-m", "dvc", "exp", "run", "-S", override)
        said, kept = done.stdout + done.stderr, files_in(clone.study / "metrics")
        clone.git("checkout", "--", str(clone.root))
        assert done.returncode != 0
        assert said.count(f"error: {says}") == 1 and "Traceback" not in said, said
        assert kept == before


# --- finished runs are known by their key


def test_another_copy_of_the_project_learns_a_new_method_only(clone):
    before = rows_of(clone.study / RECORDS / "compare_methods" / "words.csv")
    methods = clone.root / "src" / "mtcil" / "methods"
    shutil.copyfile(methods / "er_ace.py", methods / "mine.py")
    replace_in(methods / "mine.py", "return learnt + replayed", "return learnt + 0.5 * replayed")
    replace_in(clone.root / "settings.yaml", "\nmethods:\n", "\nmethods:\n  mine: {}\n")
    values = clone.params()
    values["comparisons"]["words"]["methods"].append("mine")
    write_params(clone.study, values)
    said = clone.dvc("repro")
    assert ran(said) == TRAINING | REPORTS
    assert work(said) == {"learn": 2}
    after = rows_of(clone.study / RECORDS / "compare_methods" / "words.csv")
    mine = [row for row in after if row["method"] == "mine"]
    assert {row["seed"] for row in mine} == {"0", "1"}
    assert [row for row in after if row not in mine] == before
    assert "mine" in (clone.study / "metrics" / "tables" / "methods.md").read_text("utf-8")


def test_without_any_cache_base_models_are_trained_again_but_no_run_is_learnt(repository, tmp_path):
    clone = repository.clone(tmp_path / "clone" / "project", cache=False)
    assert not any((clone.study / folder).exists() for folder in ("data", "models"))
    said = clone.dvc("repro")
    assert {"train_base@words", "tune_methods@words"} <= ran(said)
    assert work(said) == {"train": 7}
    assert clone.git("status", "--porcelain", str(clone.root)) == ""
    said = clone.dvc("repro", "--force", "--single-item", "--no-run-cache", "learn_steps@words")
    assert "6 runs, 0 of them to learn" in said
    assert clone.git("status", "--porcelain", str(clone.root)) == ""


def test_edits_train_no_more_than_what_they_change(clone):
    source = clone.root / "src" / "mtcil"
    with (source / "figures" / "steps.py").open("a") as file:
        file.write("\n\ndef unused() -> None:\n    pass\n")
    assert ran(clone.dvc("repro")) == {"draw_figures", "write_report"}, "a figure was edited"
    with (source / "tables" / "steps.py").open("a") as file:
        file.write("\n\ndef unused() -> None:\n    pass\n")
    assert ran(clone.dvc("repro")) == {"summarise"}, "a table was edited, its numbers are the same"

    losses = source / "learning" / "losses.py"
    _, _, code = losses.read_text("utf-8").split('"""', 2)
    losses.write_text(f'"""Other words."""\n# And these.\n{code}')
    said = clone.dvc("repro")
    assert ran(said) >= TRAINING and work(said) == {}, "a docstring was edited"

    values = clone.params()
    values["base_models"]["words"]["mine"] = {"heads": "3-3"}
    write_params(clone.study, values)
    said = clone.dvc("repro")
    assert "8 base models, 2 of them to train" in said and "8 runs, 2 of them to learn" in said
    assert work(said) == {"train": 2, "learn": 2}, "a base model was added"

    replace_in(losses, "log_softmax(new_logits", "log_softmax(2 * new_logits")
    done = run_stage(clone.study, "train_base", "words", root=clone.root)
    assert work(done.stderr) == {"train": 8}, "a loss was edited"


def test_a_dataset_that_is_removed_from_one_section_is_named_with_all_others(repository, tmp_path):
    clone = repository.clone(tmp_path / "clone" / "project", cache=False)
    values = clone.params()
    for section in ("base_models", "comparisons", "base_probes"):
        values[section]["city"] = values[section]["words"]
    write_params(clone.study, values)
    line = (
        "error: params.yaml: base_models.city: there is no datasets.city. "
        "Remove city from base_models, comparisons, base_probes, or add it."
    )
    done = run_stage(clone.study, "summarise", root=clone.root)
    assert done.returncode == 1
    _, first, undo = done.stderr.splitlines()  # the first one: WHERE
    assert first == line and undo.startswith("  Correct it there.")
    # A whole repro may begin with a stage of city, of which DVC itself says what is missing.
    done = clone.run(sys.executable, "-m", "dvc", "repro", "download@words")
    assert done.returncode != 0 and done.stderr.count(line) == 1
    assert done.stderr.count("city") == line.count("city") and "Traceback" not in done.stderr


# --- parts of the chain in a copy of the study


def forget(study: Path, *stages: str) -> None:
    for stage in stages:
        shutil.rmtree(study / RECORDS / stage)


def test_two_jobs_give_the_bytes_of_one(repository, tmp_path):
    study = repository.copy(tmp_path / "two", machine__jobs=2, machine__fresh=True)
    forget(study, "train_base", "learn_steps")
    shutil.rmtree(study / "models" / "base")
    both = "import _study, train_base\n_study.run(train_base.main)"  # one process: faster
    done = run_stage(study, "learn_steps", "words", root=repository.root, before=both)
    assert done.returncode == 0, done.stderr
    assert work(done.stderr) == {"train": 6, "learn": 6}
    assert files_in(study / RECORDS) == files_in(repository.study / RECORDS)
    assert files_in(study / "models") == files_in(repository.study / "models")


DIES_AFTER_A_RUN = """
import os
import mtcil.running.run as running
learn = running.learn_one_run
def learn_and_die(job):
    learn(job)
    os._exit(9)
running.learn_one_run = learn_and_die
"""
TELLS_WHAT_IT_LEARNS = """
import mtcil.running.run as running
learn = running.learn_one_run
def told(job):
    print(f"{job.run.base}:{job.run.seed}", end=" ")
    return learn(job)
running.learn_one_run = told
"""
SINGLE, MULTITASK, LONGER = (
    f"{base}:0 {base}:1 " for base in ("single", "multitask", "single_longer")
)


def test_a_killed_stage_resumes(repository, tmp_path):
    study = repository.copy(tmp_path / "killed")
    forget(study, "learn_steps", "sweep_exemplars", "sweep_epochs")  # these have the same runs
    stage = ("learn_steps", "words")
    done = run_stage(study, *stage, root=repository.root, before=DIES_AFTER_A_RUN)
    assert done.returncode == 9 and not (study / RECORDS / "learn_steps").exists()
    (finished,) = (study / ".checkpoints").glob("*.json")
    done = run_stage(study, *stage, root=repository.root, before=TELLS_WHAT_IT_LEARNS)
    assert (done.returncode, done.stdout) == (0, f"single:1 {MULTITASK}{LONGER}"), done.stderr
    written = files_in(study / RECORDS / "learn_steps")
    assert written == files_in(repository.study / RECORDS / "learn_steps")
    assert not finished.exists()


@pytest.mark.parametrize(
    ("fresh", "forgotten", "learnt"),
    [
        (False, [], ""),
        (False, ["learn_steps"], f"{SINGLE}{LONGER}"),  # sweep_exemplars has learnt the others
        (True, [], f"{SINGLE}{MULTITASK}{LONGER}"),
    ],
    ids=["in its records", "in another stage's records", "fresh"],
)
def test_finished_runs_are_reused_unless_fresh_is_set(
    repository, tmp_path, fresh, forgotten, learnt
):
    study = repository.copy(tmp_path / "again", machine__fresh=fresh)
    forget(study, *forgotten)
    stage = ("learn_steps", "words")
    done = run_stage(study, *stage, root=repository.root, before=TELLS_WHAT_IT_LEARNS)
    assert (done.returncode, done.stdout) == (0, learnt), done.stderr
    assert files_in(study / RECORDS) == files_in(repository.study / RECORDS)


def test_records_of_a_dataset_that_is_gone_are_not_read(repository, tmp_path):
    study = repository.copy(tmp_path / "gone")
    for folder in (study / RECORDS).iterdir():
        for name in ("gone.csv", "gone.matrix.csv", "gone.confusion.csv", "gone.json"):
            (folder / name).write_text("no table", "utf-8")
    (study / "metrics" / "tables" / "gone.csv").write_text("no table", "utf-8")
    for stage in ("summarise", "draw_figures", "write_report"):
        done = run_stage(study, stage, root=repository.root)
        assert done.returncode == 0, done.stderr
    for folder in ("metrics/tables", "plots"):
        assert files_in(study / folder) == files_in(repository.study / folder)


def test_a_row_that_is_gone_leaves_models_records_and_tables(repository, tmp_path):
    rows = dict(repository.params()["base_models"]["words"])
    del rows["single_longer"]
    study = repository.copy(tmp_path / "less", base_models={"words": rows})
    for stage in ("train_base", "learn_steps", "summarise"):
        dataset = () if stage == "summarise" else ("words",)
        done = run_stage(study, stage, *dataset, root=repository.root)
        assert done.returncode == 0 and work(done.stderr) == {}, done.stderr
    folders = {path.name for path in (study / "models" / "base" / "words").iterdir()}
    assert folders == {f"{row}-random" for row in rows}
    for table in ("records/train_base/words", "records/learn_steps/words", "tables/steps"):
        found = rows_of(study / "metrics" / f"{table}.csv")
        assert {row["base"] for row in found} == set(rows), table
    summary = json.loads((study / "metrics" / "summary.json").read_text("utf-8"))
    assert set(summary["base_models"]["words"]["random"]) == set(rows)


# DVC notices these because another line of the stage's params is named by them.
NOTICED = {"extract_features": ["datasets.words.features"]}


def test_a_stage_lists_every_parameter_that_it_reads(repository, tmp_path):
    study = repository.copy(tmp_path / "spied", machine__fresh=True)
    locked = yaml.safe_load((repository.study / "dvc.lock").read_text("utf-8"))["stages"]
    script = Path(__file__).parents[1] / "spy_on_params.py"
    done = run_script(study, script, *locked, root=repository.root)
    assert done.returncode == 0, done.stderr
    for name, read in json.loads(done.stdout).items():
        stage = locked[name]
        listed = {place for places in stage["params"].values() for place in places}
        listed |= set(NOTICED.get(name.split("@")[0], ()))
        if any(dep["path"] == "../../settings.yaml" for dep in stage["deps"]):
            listed |= set(SHARED)  # the whole file
        missing = {p for p in read if not any(f"{p}.".startswith(f"{at}.") for at in listed)}
        assert read or name.startswith("download@"), f"{name}: no value was read"
        assert not missing, f"dvc.yaml, params of {name}: {missing}"
        if not name.startswith("download@"):  # what it reads of settings.yaml a study may change
            assert "overrides" in listed or not {p.split(".")[0] for p in read} & set(SHARED), name
