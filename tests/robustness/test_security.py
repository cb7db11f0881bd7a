"""What nobody should be able to do: run code by data, send a download astray, leak a secret."""

import ast
import os
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml
from tiny_study import params, write_params

from mtcil.core import lookup

ROOT = Path(__file__).resolve().parents[2]
CODE = sorted([*lookup.PACKAGE_DIR.rglob("*.py"), *(ROOT / "pipeline").glob("*.py")])
STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text("utf-8"))["stages"]

# Calls that run, or can run, what data say.
BANNED = {
    *("eval", "exec", "compile", "__import__", "input", "breakpoint"),
    *("os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput"),
    *("pickle.load", "pickle.loads", "pickle.Unpickler", "marshal.load", "marshal.loads"),
    *("shelve.open", "dill.load", "dill.loads", "cloudpickle.load", "cloudpickle.loads"),
    *("joblib.load", "pandas.read_pickle", "numpy.lib.format.read_array"),
    *("yaml.load", "yaml.load_all", "yaml.unsafe_load", "yaml.full_load"),
    *("shutil.unpack_archive", "tempfile.mktemp", "ssl._create_unverified_context"),
}
BANNED_METHODS = {"extractall", "unpack_archive"}
NEEDED = {  # calls that are safe with this keyword alone
    "torch.load": ("weights_only", True),
    "numpy.load": ("allow_pickle", False),
    "ruamel.yaml.YAML": ("typ", "safe"),
}
FORBIDDEN_KEYWORDS = {("shell", True), ("verify", False), ("trust_repo", True)}


def dangers(source: str) -> list[str]:
    """Lines of calls that could run what data say, whatever name they were imported under."""
    tree = ast.parse(source)
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {a.asname: a.name for a in node.names if a.asname}
        elif isinstance(node, ast.ImportFrom):
            names |= {a.asname or a.name: f"{node.module}.{a.name}" for a in node.names}
    calls = (node for node in ast.walk(tree) if isinstance(node, ast.Call))
    return [f"line {call.lineno}: {ast.unparse(call)}" for call in calls if is_danger(call, names)]


def is_danger(call: ast.Call, names: dict[str, str]) -> bool:
    first, _, rest = ast.unparse(call.func).partition(".")
    name = ".".join(part for part in (names.get(first, first), rest) if part)
    constants = {(k.arg, k.value.value) for k in call.keywords if isinstance(k.value, ast.Constant)}
    method = call.func.attr if isinstance(call.func, ast.Attribute) else ""
    return (
        name in BANNED
        or name.startswith(("os.exec", "os.spawn"))
        or method in BANNED_METHODS
        or (name in NEEDED and NEEDED[name] not in constants)
        or bool(constants & FORBIDDEN_KEYWORDS)
    )


def test_no_call_runs_what_data_say():
    found = {path.relative_to(ROOT).as_posix(): dangers(path.read_text("utf-8")) for path in CODE}
    assert len(found) > 80
    assert not {name: calls for name, calls in found.items() if calls}


@pytest.mark.parametrize(
    "source",
    [
        "import pickle\npickle.loads(x)", "from pickle import load as get\nget(f)", "eval(x)",
        "import os\nos.system(x)", "import os as o\no.execv(x, y)", "__import__(x)",
        "import subprocess\nsubprocess.run(x, shell=True)", "tar.extractall(path)",
        "import numpy as np\nnp.load(f)", "import numpy as np\nnp.load(f, allow_pickle=True)",
        "import torch\ntorch.load(f)", "import torch\ntorch.load(f, weights_only=False)",
        "from torch import load\nload(f, map_location=x)", "import yaml\nyaml.load(f, Loader=L)",
        "from ruamel.yaml import YAML\nYAML()", "from ruamel.yaml import YAML\nYAML(typ='unsafe')",
        "import requests\nrequests.get(url, verify=False)", "import marshal\nmarshal.load(f)",
        "from shutil import unpack_archive as u\nu(x)",
    ],
)  # fmt: skip
def test_each_such_call_is_found(source):
    assert len(dangers(source)) == 1


def test_their_safe_forms_are_not():
    source = (
        "import numpy as np, torch, subprocess\nfrom ruamel.yaml import YAML\n"
        "np.load(f, allow_pickle=False)\ntorch.load(f, weights_only=True)\nYAML(typ='safe')\n"
        "subprocess.run([x, y])\nnetwork.eval()\nre.compile(x)\n"
    )
    assert dangers(source) == []


COMMAND = re.compile(
    r'PYTHONPATH="\$\{root\}/src" python "\$\{root\}/pipeline/(\w+)\.py"( "\$DVC_STAGE")?'
)


def test_a_stage_is_started_by_one_fixed_command():
    for name, stage in STAGES.items():
        command = COMMAND.fullmatch(stage.get("do", stage)["cmd"])
        assert command and command[1] == name
        assert bool(command[2]) == ("foreach" in stage)


HOSTILE = {
    "a second command": "x; touch touched-1 #",
    "a command in the place of a name": "$(touch touched-2)",
    "a second line": "x\ntouch touched-4",
    "a quote that ends": "x'; touch touched-5; '",
}


@pytest.mark.slow
def test_the_name_of_a_row_runs_no_command(tmp_path):
    values = params(str(ROOT))
    (words,) = values["datasets"].values()
    values["datasets"] = {"words": words} | dict.fromkeys(HOSTILE.values(), words)
    assert touched_by(tmp_path, values) == []


@pytest.mark.slow
def test_the_path_of_the_code_cannot_run_a_command(tmp_path):
    """It stands in the command, but DVC first wants the files of `deps`, which are not there."""
    values = params(f"{ROOT}; touch touched-1; $(touch touched-2)\ntouch touched-3\n")
    values["settings"] = str(ROOT / "settings.yaml")  # or DVC ends for want of it
    assert touched_by(tmp_path, values) == []


def touched_by(study: Path, values: dict) -> list[str]:
    """Files that a command made which `params.yaml` smuggled in, and `dvc repro` ran."""
    write_params(study, values)
    (study / "dvc.yaml").write_text((ROOT / "dvc.yaml").read_text("utf-8"), "utf-8")
    for name in values["datasets"]:
        list_file = study / "sources" / f"{name}.csv"
        list_file.parent.mkdir(parents=True, exist_ok=True)
        list_file.write_text("name,bytes,checksum\n", "utf-8")
    bin_dir, folders = Path(sys.executable).parent, ("SITE_CACHE", "GLOBAL_CONFIG", "SYSTEM_CONFIG")
    variables = {
        **os.environ, "PATH": f"{bin_dir}{os.pathsep}{os.environ['PATH']}",
        **{f"DVC_{name}_DIR": str(study / ".dvc" / "tmp") for name in folders},
    }  # fmt: skip
    for command in (["init", "--quiet", "--no-scm"], ["repro", "--keep-going"]):
        subprocess.run([sys.executable, "-m", "dvc", *command], cwd=study, env=variables,
                       capture_output=True)  # fmt: skip
    assert (study / ".dvc" / "config").is_file()
    return sorted(path.name for path in study.glob("touched*"))


@pytest.mark.parametrize("kind", lookup.names("datasets"))
def test_downloads_use_https_and_have_a_checksum(kind):
    module = lookup.find("datasets", kind)
    text = Path(module.__file__).read_text("utf-8")
    source = module.SOURCE
    urls = re.findall(r"\b(?:https?|ftp)://[^\s\"']+", text)
    assert urls == ([source.url] if source else [])
    if source:
        assert source.url.startswith("https://")
        assert re.fullmatch(r"sha256:[0-9a-f]{64}|md5:[0-9a-f]{32}", source.checksum)
        assert Path(source.file_name).name == source.file_name


IMPORT_ALL = """
import importlib, pathlib, pkgutil, socket, sys
calls = []
sys.addaudithook(lambda event, _: event in NETWORK and calls.append(event))
import mtcil
for module in pkgutil.walk_packages(mtcil.__path__, "mtcil."):
    importlib.import_module(module.name)
for path in pathlib.Path(sys.argv[1]).glob("*.py"):
    importlib.import_module(path.stem)
print("torch" in sys.modules, calls)
socket.getaddrinfo("127.0.0.1", 1)
print(calls)
"""
NETWORK = tuple(f"socket.{name}" for name in ("connect", "sendto", "sendmsg", "getaddrinfo"))


@pytest.mark.slow
def test_no_module_uses_the_network_when_it_is_imported():
    paths = f"{lookup.PACKAGE_DIR.parent}{os.pathsep}{ROOT / 'pipeline'}"
    done = subprocess.run(
        [sys.executable, "-c", f"NETWORK = {NETWORK}\n{IMPORT_ALL}", str(ROOT / "pipeline")],
        env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["True []", "['socket.getaddrinfo']"]  # seen at last


SECRETS = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY|\bAKIA[0-9A-Z]{16}\b|\bgh[pousr]_[A-Za-z0-9]{36}|"
    r"\bgithub_pat_\w{40}|\bxox[abpr]-\w{10}|\bAIza[\w-]{35}|\bsk-[A-Za-z0-9]{32}|"
    r"(?i:\b(?:password|passwd|secret|api_?key|auth_?token)\b\s*[:=]\s*['\"][^'\"\s]{8,})|"
    r"://[^\s/:@]+:[^\s/@]+@"
)
HOMES = re.compile(r"(?<![\w.~}/-])/(?:home|Users|root|mnt|media|private|tmp)/[\w.-]+")
ALLOWED = {  # file: what may stand there, and why
    "tests/product/test_dvc_plots.py": "/.dvc/tmp/",  # below a folder that pytest makes
}


def tracked() -> list[Path]:
    found = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if found.returncode:
        pytest.skip("no git repository, so nothing is tracked")
    return [path for name in found.stdout.split("\0") if name and (path := ROOT / name).is_file()]


def findings(text: str) -> list[str]:
    """Secrets, places on one machine, and where these tests run now."""
    here = [str(place) for place in (ROOT, Path.home()) if len(place.parts) > 2]
    found = [match[0] for pattern in (SECRETS, HOMES) for match in pattern.finditer(text)]
    return found + [place for place in here if place in text]


def test_no_tracked_file_holds_a_secret_or_a_place_on_one_machine():
    for path in tracked():
        text = path.read_bytes().decode("utf-8", "replace")
        name = path.relative_to(ROOT).as_posix()
        bad = [found for found in findings(text) if found not in ALLOWED.get(name, "")]
        assert not bad, f"{name}: {bad[:3]}"


@pytest.mark.parametrize(
    "parts",
    [
        ("-----BEGIN RSA", " PRIVATE KEY-----"), ("AKIA", "ABCDEFGHIJKLMNOP"), ("ghp_", "a" * 36),
        ("password", " = 'correct horse'".replace(" h", "-h")), ("https://a:", "b@example.org"),
        (" /home", "/somebody/data"), ("'/tmp", "/x'"), (str(ROOT), "/params.yaml"),
    ],
)  # fmt: skip
def test_each_of_them_would_be_found(parts):
    assert findings("".join(parts))
    assert not findings("${root}/src/mtcil and ../tmp/x, data/raw/gsc, https://example.org/tmp/x")


REQUIREMENTS = ("requirements.txt", "fuzz/requirements.txt")


@pytest.mark.parametrize("file", REQUIREMENTS)
def test_every_requirement_is_pinned(file):
    lines = [line.partition("#")[0].strip() for line in (ROOT / file).read_text().splitlines()]
    wanted = [line for line in lines if line and line != "-e ."]
    assert wanted and all(re.fullmatch(r"[\w.-]+==\d[\w.]*", line) for line in wanted)
    assert len({line.partition("==")[0].lower() for line in wanted}) == len(wanted)


def test_installed_versions_are_the_pinned_ones():
    lines = (ROOT / "requirements.txt").read_text("utf-8").splitlines()
    pins = dict(line.split("==") for line in lines if "==" in line)
    assert {name: version(name).partition("+")[0] for name in pins} == pins


def test_the_installed_packages_fit_together():
    done = subprocess.run([sys.executable, "-m", "pip", "check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
