"""`dvc plots diff` between two revisions: a page that draws both, without the internet."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from dvc_render.vega import VegaRenderer

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / ".dvc" / "page" / "page.html"
PLOTS = yaml.safe_load((ROOT / "dvc.yaml").read_text("utf-8"))["plots"]
KEPT = ("dvc.yaml", "params.yaml", "demo/dvc.yaml", "demo/params.yaml", "demo/plots")
KEPT_OF_DVC = (".dvc/config", ".dvc/.gitignore", ".dvc/page", ".dvc/plots")


def run(folder: Path, *command: str) -> None:
    names = {"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b", "GIT_CONFIG_GLOBAL": os.devnull}
    names |= {key.replace("AUTHOR", "COMMITTER"): value for key, value in names.items()}
    dvc = {"DVC_NO_ANALYTICS": "1", "DVC_SITE_CACHE_DIR": str(folder / ".dvc/tmp/site")}
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, **names, **dvc}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> str:
    """The page of `dvc plots diff HEAD~1 HEAD` in a copy of the demo's plots.

    One number differs between the two revisions: the step accuracy of the first row of
    plots/headline_steps.csv, 11.1111 before and 22.2222 after.
    """
    folder = tmp_path_factory.mktemp("plots")
    for name in (*KEPT, *KEPT_OF_DVC):
        source, target = ROOT / name, folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target)
        elif source.exists():
            shutil.copyfile(source, target)
    run(folder, "git", "init", "--quiet")
    rows = (folder / "demo/plots/headline_steps.csv").read_text("utf-8").splitlines()
    for accuracy in ("11.1111", "22.2222"):
        first = rows[1].split(",")
        first[rows[0].split(",").index("accuracy")] = accuracy
        changed = [rows[0], ",".join(first), *rows[2:]]
        (folder / "demo/plots/headline_steps.csv").write_text("\n".join(changed) + "\n", "utf-8")
        run(folder, "git", "add", "--all", "--force")
        run(folder, "git", "commit", "--quiet", "--message", accuracy)
    dvc = (sys.executable, "-m", "dvc")
    run(folder / "demo", *dvc, *("plots", "diff", "HEAD~1", "HEAD", "--targets", "dvc.yaml::"))
    return (folder / "demo/dvc_plots/index.html").read_text("utf-8")


def drawings(page: str) -> dict[str, dict]:
    """Vega-Lite specification of each drawing in the page, by the element it is drawn in."""
    found = re.findall(r"var spec = (\{.*\});\n\s*vegaEmbed\('#(\w+)'", page)
    return {name: json.loads(spec) for spec, name in found}


@pytest.mark.slow
def test_the_page_asks_the_network_for_nothing(page):
    assert not re.findall(r"<(?:script|img|link|iframe)[^>]*\s(?:src|href)\s*=\s*\S*//[^>]*>", page)
    for name in ("vega", "vega-lite", "vega-embed"):
        assert f'data-package="{name}@' in page, f"{name} is not inside: is .dvc/config in order?"


@pytest.mark.slow
def test_the_page_draws_both_revisions(page):
    values = drawings(page)["plots_headline_steps_csv"]["data"]["values"]
    accuracies = {(row["rev"], row["accuracy"]) for row in values}
    assert {("HEAD~1", "11.1111"), ("HEAD", "22.2222")} <= accuracies
    for drawing in drawings(page).values():
        assert {row["rev"] for row in drawing["data"]["values"]} == {"HEAD~1", "HEAD"}


@pytest.mark.slow
def test_every_plot_of_dvc_yaml_is_in_the_page(page):
    names = {name for plot in PLOTS for name in ([plot] if isinstance(plot, str) else plot)}
    pictures = {name for name in names if name.endswith(".png")}
    drawn = {name for name in pictures if (ROOT / "demo" / name).exists()}
    assert len(drawn) > 5 and drawn <= set(re.findall(r"<p>(.*\.png)</p>", page))
    assert {re.sub(r"\W", "_", name) for name in names - pictures} == set(drawings(page))


def test_the_page_holds_the_versions_that_dvc_asks_for():
    wanted = re.findall(r"/npm/([\w-]+@[\d.]+)", VegaRenderer.SCRIPTS)
    with PAGE.open(encoding="utf-8") as lines:
        have = re.findall(r'<script data-package="([^"]+)">', lines.read())
    assert have == wanted, "DVC was upgraded: run `make plots-page`."
