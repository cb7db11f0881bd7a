"""dvc.yaml and the studies: every stage names what its result depends on, and nothing else."""

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
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from dvc.utils.serialize import modify_yaml
from tiny_study import STUDIES

from mtcil.core import lookup
from mtcil.settings.files import read_study

ROOT = Path(__file__).resolve().parents[2]
PIPELINE = ROOT / "pipeline"
STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text("utf-8"))["stages"]
TORCH_FREE = ("download", "extract_features", "summarise", "draw_figures", "write_report")

# The plug-in folder of which a stage finds files by name.
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
    "summarise": "tables",
    "draw_figures": "figures",
    "write_report": "figures",
}
# They import mtcil.running.run, of which they learn no step.
EXCUSED = {("train_base", "methods"), ("probe_base", "methods")}
# What a stage reaches and does not list: what only reads the settings, starts the stage, and writes
# its files. A change there would ask for the network again (download), or measure times again.
LEFT_OUT = {
    "download": {
        *("pipeline/_study.py", "src/mtcil/settings"),
        *(f"src/mtcil/core/{file}.py" for file in ("__init__", "errors", "files", "lookup")),
        *(f"src/mtcil/core/{file}.py" for file in ("processes", "progress")),
    },
    "time_heads": {
        *("pipeline/_study.py", "src/mtcil/core", "src/mtcil/settings", "src/mtcil/records"),
        "src/mtcil/running/device.py",
    },
}
# Most lines of a file, not counting rows of plug-ins, which users add. None is wider than 100
# characters.
PLUG_INS = {"methods", "comparison.tuned", "comparison.grids", "probes", "base_parts", "plots"}
LINES = {"dvc.yaml": 356, "settings.yaml": 70, "params.yaml": 150}
LINES |= {f"{study.relative_to(ROOT)}/params.yaml": 60 for study in STUDIES[1:]}
LINES["studies/base_search/params.yaml"] = 105  # a row for each training that was tried
LINES["studies/general_base/params.yaml"] = 80  # three datasets


def without_plug_ins(lines: list[str]) -> list[str]:
    """The lines of a YAML file that are not in the sections of plug-ins."""
    kept, section, subsection = [], "", ""
    for line in lines:
        if key := re.match(r"(\w+):", line):
            section, subsection = key[1], ""
        elif key := re.match(r"  (\w+):", line):
            subsection = key[1]
        if not {section, f"{section}.{subsection}"} & PLUG_INS:
            kept.append(line)
    return kept


def params(study: Path) -> dict:
    return yaml.safe_load((study / "params.yaml").read_text("utf-8"))


def settings_file(study: Path) -> Path:
    return study / params(study)["settings"]


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


def code_of(stage: dict) -> list[str]:
    """The code that a stage lists, relative to the root."""
    deps = body(stage)["deps"]
    return [dep.removeprefix("${root}/") for dep in deps if dep.startswith("${root}/")]


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


def holds_code(path: Path) -> bool:
    """Whether there is more in a file than its docstring."""
    return len(ast.parse(path.read_text("utf-8")).body) > 1


@functools.cache
def reached(name: str) -> frozenset[str]:
    """Files of pipeline/ and src/ that a stage reaches by imports, or finds by name."""
    starts, kind = files_of_stage(name), LOOKUPS.get(name)
    if kind:
        starts += [lookup.PACKAGE_DIR / kind / f"{found}.py" for found in lookup.names(kind)]
    files = {path for path in lookup.files_reached(starts) if holds_code(path)}
    return frozenset(path.relative_to(ROOT).as_posix() for path in files)


def below(file: str, places: set[str] | list[str]) -> bool:
    return any(Path(file).is_relative_to(place) for place in places)


def differences(name: str, stage: dict) -> set[str]:
    """Code that a stage reaches and does not list ("- file"), or the other way round ("+ file")."""
    have, found = code_of(stage), reached(name)
    lacking = {file for file in found if not below(file, [*have, *LEFT_OUT.get(name, ())])}
    idle = {place for place in have if not any(below(file, [place]) for file in found)}
    twice = {place for place in have if below(place, [other for other in have if other != place])}
    again = {place for place in have if have.count(place) > 1}
    return {f"- {file}" for file in lacking} | {f"+ {place}" for place in idle | twice | again}


def params_of(study: Path, name: str) -> Iterator[tuple[str, str, str]]:
    """(key, file, parameter) of each parameter that a stage lists, with DVC's ${...} replaced."""
    values = params(study)
    for key, item in rows_of(STAGES[name], values):
        for entry in body(STAGES[name])["params"]:
            for file, texts in entry.items():
                for text in texts:
                    yield key, filled(file, values, key, item), filled(text, values, key, item)


def test_the_package_under_test_is_the_one_beside_these_tests():
    assert lookup.PACKAGE_DIR.resolve() == ROOT / "src" / "mtcil"


@pytest.mark.parametrize("study", STUDIES[1:], ids=lambda study: study.name)
def test_a_study_holds_a_regular_copy_of_the_stages(study):
    copied = study / "dvc.yaml"
    assert copied.is_file() and not copied.is_symlink(), "Run `make sync`."
    assert copied.read_bytes() == (ROOT / "dvc.yaml").read_bytes(), "Run `make sync`."


@pytest.mark.parametrize("study", STUDIES, ids=lambda study: study.name)
def test_a_studys_params_are_accepted_and_say_where_code_and_settings_are(study):
    read_study(study / "params.yaml")
    assert (study / params(study)["root"]).resolve() == ROOT
    assert settings_file(study).resolve() == ROOT / "settings.yaml"


@pytest.mark.parametrize("study", STUDIES, ids=lambda study: study.name)
def test_a_study_has_the_roots_sections_in_their_order(study):
    assert list(params(study)) == list(params(ROOT))
    assert list(params(study)["machine"]) == list(params(ROOT)["machine"])


def test_a_stage_lists_exactly_the_code_that_it_reaches():
    found = {name: differences(name, stage) for name, stage in STAGES.items()}
    bad = {name: sorted(lines) for name, lines in found.items() if lines}
    assert not bad, "dvc.yaml: add the lines with -, remove those with +."


def test_every_exception_of_a_stage_is_code_that_it_reaches():
    for name, places in LEFT_OUT.items():
        for place in places:
            assert any(below(file, [place]) for file in reached(name)), f"{name}: {place}"
            assert not below(place, code_of(STAGES[name])), f"{name}: {place}"


def test_only_stages_that_do_all_their_work_again_list_single_files():
    def single(stage: dict) -> list[str]:
        return [place for place in code_of(stage) if place.startswith("src/") and ".py" in place]

    assert {name for name, stage in STAGES.items() if single(stage)} == set(LEFT_OUT)


def test_a_missing_and_a_superfluous_line_are_both_noticed():
    for name, stage in STAGES.items():
        for index, dep in enumerate(body(stage)["deps"]):
            if dep.startswith("${root}/"):
                less = copy.deepcopy(stage)
                del body(less)["deps"][index]
                lines = differences(name, less)
                place = dep.removeprefix("${root}/")
                assert any(line.startswith(f"- {place}") for line in lines), (name, dep)
        more, other = copy.deepcopy(stage), "figures" if "figures" not in str(stage) else "probes"
        body(more)["deps"] += [f"${{root}}/src/mtcil/{other}", body(stage)["deps"][0]]
        first = body(stage)["deps"][0].removeprefix("${root}/")
        assert differences(name, more) == {f"+ src/mtcil/{other}", f"+ {first}"}


def test_every_look_up_by_name_is_known_to_these_tests():
    for name in STAGES:
        kinds = set()
        for path in lookup.files_reached(files_of_stage(name)):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                    known = node.func.id in ("find", "names") and node.args
                    if known and isinstance(node.args[0], ast.Constant):
                        kinds.add(node.args[0].value)
        excused = {kind for stage, kind in EXCUSED if stage == name}
        assert kinds == excused | ({LOOKUPS[name]} if name in LOOKUPS else set()), name


def test_a_stage_has_its_file_and_runs_the_studys_own_package():
    for name, stage in STAGES.items():
        key = ' "$DVC_STAGE"' * ("foreach" in stage)
        assert (PIPELINE / f"{name}.py").is_file()
        assert body(stage)["cmd"] == (
            f'PYTHONPATH="${{root}}/src" python "${{root}}/pipeline/{name}.py"{key}'
        )


@pytest.mark.parametrize("study", STUDIES, ids=lambda study: study.name)
def test_a_stages_params_exist_and_leave_the_machine_out(study):
    files = {"params.yaml": params(study)}
    files[files["params.yaml"]["settings"]] = yaml.safe_load(settings_file(study).read_text())
    for name in STAGES:
        for key, file, text in params_of(study, name):
            place: object = files[file]
            for part in text.split("."):
                assert isinstance(place, dict) and part in place, f"{name}@{key}: {file}: {text}"
                place = place[part]
            allowed = name == "time_heads" and text == "machine.device"
            assert allowed or not text.startswith(("machine", "root")), f"{name}: {text}"


def test_a_stage_that_reads_settings_yaml_lists_it_or_parts_of_it_and_the_overrides():
    for name, stage in STAGES.items():
        entries = {file: texts for entry in body(stage)["params"] for file, texts in entry.items()}
        if name in ("download", "draw_figures"):  # they read params.yaml alone
            assert "${settings}" not in [*entries, *body(stage)["deps"]]
        else:
            parts = name in ("extract_features", "time_heads")
            assert ("${settings}" in entries) == parts, name
            assert ("${settings}" in body(stage)["deps"]) == (not parts), name
        needs = name not in ("download", "draw_figures")
        assert ("overrides" in entries["params.yaml"]) == needs, name


@pytest.mark.parametrize("study", STUDIES, ids=lambda study: study.name)
def test_every_input_of_a_stage_is_written_by_exactly_one_other(study):
    values, writes, reads = params(study), [], set()
    for stage in STAGES.values():
        for key, item in rows_of(stage, values):
            outs = listed(body(stage).get("outs", []) + body(stage).get("metrics", []))
            writes += [Path(filled(out, values, key, item)) for out in outs]
            deps = [dep for dep in body(stage)["deps"] if not dep.startswith("${root}/")]
            reads |= {Path(filled(dep, values, key, item)) for dep in deps}
    lists = {Path("sources", f"{name}.csv") for name in values["datasets"]}
    assert lists <= reads
    for path in reads - lists - {Path(values["settings"])}:
        assert any(out.is_relative_to(path) for out in writes), path
    for one, other in itertools.permutations(writes, 2):
        assert not one.is_relative_to(other), f"{one} is written by two stages"


def test_records_stay_in_git_and_outlive_a_refused_parameter():
    for name, stage in STAGES.items():
        for out in itertools.chain(body(stage)["outs"], body(stage).get("metrics", [])):
            (path,) = listed([out])
            if not path.startswith(("data/", "models/")):
                assert out == {path: {"cache": False, "persist": True}}, name
            elif path.startswith("models/"):  # finished models save the others' time
                assert out == {path: {"persist": True}}, name


def test_files_that_people_read_are_short():
    found = {name: (ROOT / name).read_text("utf-8").splitlines() for name in LINES}
    counted = {name: len(without_plug_ins(lines)) for name, lines in found.items()}
    assert not {name: n for name, n in counted.items() if n > LINES[name]}
    wide = {name: line for name, lines in found.items() for line in lines if len(line) > 100}
    assert not wide


def test_a_pipeline_file_is_short_and_has_a_stage():
    for path in PIPELINE.glob("*.py"):
        assert len(path.read_text("utf-8").splitlines()) <= 45, path.name
        assert path.stem.startswith("_") or path.stem in STAGES, f"{path.name}: no such stage"
        assert path.stem not in sys.stdlib_module_names, f"{path.name} hides Python's own"


def test_stages_that_fetch_extract_summarise_and_draw_never_import_torch():
    code = (
        "import importlib, json, sys; sys.path.insert(0, sys.argv[1]); seen = {}\n"
        "from mtcil.core.lookup import find, names\n"
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
def test_both_files_mean_the_same_after_dvc_has_rewritten_them(study, tmp_path):
    # `dvc exp run -S` writes the whole file and drops quotes that YAML 1.2 does not need.
    file = tmp_path / study.relative_to(ROOT) / "params.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(study / "params.yaml", file)
    shutil.copyfile(ROOT / "settings.yaml", tmp_path / "settings.yaml")
    with modify_yaml(file) as values:
        values["exemplars"] = 7
        values["machine"]["device"] = "cpu"
    with modify_yaml(tmp_path / "settings.yaml") as values:
        values["base_training"]["sgd"]["weight_decay"] = 0.00001
    before, after = read_study(study / "params.yaml"), read_study(file)
    assert (after.exemplars, after.machine.device) == (7, "cpu")
    assert after.base_training.sgd.weight_decay == 0.00001
    for section in ("exemplars", "machine", "base_training"):
        after = dataclasses.replace(after, **{section: getattr(before, section)})
    assert after == before
