"""dvc.yaml and the studies: every stage names exactly what its result depends on."""

import ast
import copy
import dataclasses
import functools
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from dvc.utils.serialize import modify_yaml

from mtcil import lookup
from mtcil.study import read_study

ROOT = Path(__file__).resolve().parents[1]
PIPELINE = ROOT / "pipeline"
STUDIES = [ROOT, ROOT / "demo", *sorted(p.parent for p in ROOT.glob("studies/*/params.yaml"))]
STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text("utf-8"))["stages"]
ROWS = (
    *("base_models", "exemplar_sweeps", "loss_ablations", "epoch_sweeps", "heads_timings"),
    *("tunings", "comparisons", "comparison", "base_probes", "probes"),
    *("datasets", "features", "networks", "methods"),
)  # what stands in these sections is free
TORCH_FREE = ("download", "extract_features", "summarise", "draw_figures")

# What a stage finds by name. A file named here but not found by the code, or found by the code
# but neither here nor excused, fails.
LOOKUPS = {
    "download": "datasets",
    "extract_features": "datasets",
    "learn_steps": "methods",
    "sweep_exemplars": "methods",
    "ablate_losses": "methods",
    "sweep_epochs": "methods",
    "tune_methods": "methods",
    "compare_methods": "methods",
    "probe_base": "probes",
    "summarise": "figures",
    "draw_figures": "figures",
}
# They import mtcil.runs, of which they use no method.
EXCUSED = {("train_base", "methods"), ("probe_base", "methods")}
# DVC takes the whole folder, so that a new figure counts, and these stages use any method or probe.
WHOLE_FOLDER = {
    "summarise": "figures", "draw_figures": "figures", "tune_methods": "methods",
    "compare_methods": "methods", "probe_base": "probes",
}  # fmt: skip


def params(study: Path) -> dict:
    return yaml.safe_load((study / "params.yaml").read_text("utf-8"))


def rows_of(stage: dict, values: dict) -> list[tuple[str, dict]]:
    """(key, item) of each stage that `foreach` makes; one without a name where there is none."""
    if "foreach" not in stage:
        return [("", {})]
    section = stage["foreach"].removeprefix("${").removesuffix("}")
    return list(values[section].items())


def body(stage: dict) -> dict:
    return stage.get("do", stage)


def filled(text: str, values: dict, key: str, item: dict) -> str:
    """`text` with DVC's ${...} replaced."""

    def value(match: re.Match) -> str:
        name = match[1]
        if name.startswith("item."):
            return str(item[name.removeprefix("item.")])
        return key if name == "key" else str(values[name])

    return re.sub(r"\$\{([^}]+)\}", value, text)


def listed(entries: list) -> list[str]:
    """Paths of `outs`, `deps` or `metrics`, whether or not they have options."""
    return [entry if isinstance(entry, str) else next(iter(entry)) for entry in entries]


def files_of_stage(name: str) -> list[Path]:
    """The stage's file and the `_*.py` of pipeline/ that it imports, directly or not."""
    waiting, found = [PIPELINE / f"{name}.py"], []
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.append(path)
            modules = {name.split(".")[0] for name in imported(path)}
            waiting += [PIPELINE / f"{m}.py" for m in modules if m.startswith("_")]
    return [path for path in found if path.is_file()]


@functools.cache
def imported(path: Path) -> frozenset[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
    return frozenset(names)


@functools.cache
def code_wanted(name: str, method: str | None) -> frozenset[str]:
    """What a stage must list of pipeline/ and src/, relative to the root."""
    starts, kind = files_of_stage(name), LOOKUPS.get(name)
    folder = WHOLE_FOLDER.get(name)
    if kind == "methods" and not folder:
        starts.append(lookup.PACKAGE_DIR / "methods" / f"{method}.py")
    elif kind:
        starts += [lookup.PACKAGE_DIR / kind / f"{found}.py" for found in lookup.names(kind)]
    wanted = {path.relative_to(ROOT).as_posix() for path in lookup.files_reached(starts)}
    if folder:
        wanted = {f"src/mtcil/{folder}" if f"/{folder}/" in path else path for path in wanted}
    return frozenset(wanted)


def differences(name: str, stage: dict, values: dict) -> set[str]:
    """Lines of `deps` that a stage lacks ("- file") or has too many ("+ file")."""
    found: set[str] = set()
    for key, item in rows_of(stage, values):
        deps = [dep for dep in listed(body(stage)["deps"]) if dep.startswith("${root}/")]
        have = [filled(dep.removeprefix("${root}/"), values, key, item) for dep in deps]
        wanted = code_wanted(name, item.get("method"))
        found |= {f"- {path}" for path in wanted - set(have)}
        found |= {f"+ {path}" for path in have if path not in wanted or have.count(path) > 1}
    return found


def test_the_package_under_test_is_the_one_beside_these_tests():
    assert lookup.PACKAGE_DIR.resolve() == ROOT / "src" / "mtcil"


@pytest.mark.parametrize("study", STUDIES[1:], ids=lambda study: study.name)
def test_a_study_holds_a_regular_copy_of_the_stages(study):
    copied = study / "dvc.yaml"
    assert copied.is_file() and not copied.is_symlink(), "Run `make sync`."
    assert copied.read_bytes() == (ROOT / "dvc.yaml").read_bytes(), "Run `make sync`."


@pytest.mark.parametrize("study", STUDIES, ids=lambda study: study.name)
def test_a_studys_params_are_accepted_and_say_where_the_code_lies(study):
    read_study(study / "params.yaml")
    assert (study / params(study)["root"]).resolve() == ROOT


@pytest.mark.parametrize("study", STUDIES[1:], ids=lambda study: study.name)
def test_a_study_has_the_roots_sections_and_keys(study):
    def keys(values: object) -> object:
        return {k: keys(v) for k, v in values.items()} if isinstance(values, dict) else None

    wanted, have = keys(params(ROOT)), keys(params(study))
    assert list(have) == list(wanted)
    for section in (name for name in wanted if name not in ROWS):
        assert have[section] == wanted[section], section


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_lists_exactly_the_code_that_it_reaches(name):
    found = set().union(*(differences(name, STAGES[name], params(study)) for study in STUDIES))
    assert not found, f"dvc.yaml, {name}: add the lines with -, remove those with +."


@pytest.mark.parametrize("name", STAGES)
def test_a_missing_and_a_superfluous_line_are_both_noticed(name):
    values, stage = params(ROOT), STAGES[name]
    for index, dep in enumerate(body(stage)["deps"]):
        if dep.startswith("${root}/"):
            less = copy.deepcopy(stage)
            del body(less)["deps"][index]
            assert any(line.startswith("- ") for line in differences(name, less, values)), dep
    more = copy.deepcopy(stage)
    body(more)["deps"].append("${root}/src/mtcil/figures/_style.py")
    assert "+ src/mtcil/figures/_style.py" in differences(name, more, values)


@pytest.mark.parametrize("name", STAGES)
def test_every_look_up_by_name_is_known_to_these_tests(name):
    kinds = set()
    for path in lookup.files_reached(files_of_stage(name)):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                known = node.func.id in ("find", "names") and node.args
                if known and isinstance(node.args[0], ast.Constant):
                    kinds.add(node.args[0].value)
    kinds -= {kind for stage, kind in EXCUSED if stage == name}
    assert kinds == {LOOKUPS[name]} if name in LOOKUPS else not kinds


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_has_its_file_and_runs_the_studys_own_package(name):
    script, key = f"${{root}}/pipeline/{name}.py", ' "$DVC_STAGE"' * ("foreach" in STAGES[name])
    assert (PIPELINE / f"{name}.py").is_file()
    assert body(STAGES[name])["cmd"] == f"PYTHONPATH=${{root}}/src python {script}{key}"


@pytest.mark.parametrize("study", STUDIES, ids=lambda study: study.name)
@pytest.mark.parametrize("name", STAGES)
def test_a_stages_params_exist_and_leave_the_machine_out(name, study):
    values = params(study)
    for key, item in rows_of(STAGES[name], values):
        for text in body(STAGES[name])["params"]:
            place: object = values
            for part in filled(text, values, key, item).split("."):
                assert isinstance(place, dict) and part in place, f"{name}@{key}: {text}"
                place = place[part]
            allowed = name == "time_heads" and text == "machine.device"
            assert allowed or not text.startswith(("machine", "root")), f"{name}: {text}"


@pytest.mark.parametrize("study", STUDIES, ids=lambda study: study.name)
def test_what_a_stage_reads_another_stage_writes(study):
    values, writes, reads = params(study), set(), set()
    for stage in STAGES.values():
        for key, item in rows_of(stage, values):
            outs = listed(body(stage).get("outs", []) + body(stage).get("metrics", []))
            writes |= {Path(filled(out, values, key, item)) for out in outs}
            deps = [dep for dep in body(stage)["deps"] if not dep.startswith("${root}/")]
            reads |= {Path(filled(dep, values, key, item)) for dep in deps}
    for path in reads:
        assert any(out.is_relative_to(path) for out in writes), path


@pytest.mark.parametrize("name", STAGES)
def test_records_stay_in_git_and_outlive_a_refused_parameter(name):
    stage = body(STAGES[name])
    for out in itertools.chain(stage.get("outs", []), stage.get("metrics", [])):
        (path,) = listed([out])
        if not path.startswith(("data/", "models/")):
            assert out == {path: {"cache": False, "persist": True}}


def test_a_pipeline_file_is_short_and_has_a_stage():
    for path in PIPELINE.glob("*.py"):
        assert len(path.read_text("utf-8").splitlines()) <= 45, path.name
        assert path.stem.startswith("_") or path.stem in STAGES, f"{path.name}: no such stage"
        assert path.stem not in sys.stdlib_module_names, f"{path.name} hides Python's own"


def test_stages_that_fetch_extract_summarise_and_draw_never_import_torch():
    code = (
        "import importlib, json, sys; sys.path.insert(0, sys.argv[1]); seen = {}\n"
        "from mtcil.lookup import find, names\n"
        "for stage, kind in json.loads(sys.argv[2]).items():\n"
        "    importlib.import_module(stage)\n"
        "    for name in names(kind): find(kind, name)\n"
        "    seen[stage] = 'torch' in sys.modules\n"
        "print(json.dumps(seen))\n"
    )
    kinds = json.dumps({stage: LOOKUPS[stage] for stage in TORCH_FREE})
    done = subprocess.run(
        [sys.executable, "-c", code, str(PIPELINE), kinds],
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert json.loads(done.stdout) == dict.fromkeys(TORCH_FREE, False)


@pytest.mark.parametrize("study", STUDIES, ids=lambda study: study.name)
def test_params_mean_the_same_after_dvc_has_rewritten_them(study, tmp_path):
    # `dvc exp run -S` writes the whole file anew, and drops quotes that YAML 1.2 does not need.
    file = tmp_path / "params.yaml"
    shutil.copyfile(study / "params.yaml", file)
    with modify_yaml(file) as values:
        values["exemplars"] = 7
        values["base_training"]["sgd"]["weight_decay"] = 0.00001
    before, after = read_study(study / "params.yaml"), read_study(file)
    assert (after.exemplars, after.base_training.sgd.weight_decay) == (7, 0.00001)
    same = {"exemplars": before.exemplars, "base_training": before.base_training}
    assert dataclasses.replace(after, **same) == before
