"""README.md and RESULTS.md: the files, targets and commands that they name are there."""

import re
import textwrap

import pytest
import yaml
from tiny_study import ROOT

from mtcil.settings.sections import MachineSettings

PAGES = {name: (ROOT / name).read_text("utf-8") for name in ("README.md", "RESULTS.md")}
MADE_BY_RUNS = ("metrics/tables", "metrics/records", "metrics/summary.json", "metrics/claims.md")


@pytest.mark.parametrize("page", PAGES)
def test_linked_files_exist(page):
    links = re.findall(r"\]\(([^)#]+)\)", PAGES[page])
    local = [link for link in links if not link.startswith("https://")]
    assert local and [link for link in local if not (ROOT / link).exists()] == []


@pytest.mark.parametrize("page", PAGES)
def test_files_named_in_code_exist(page):
    named = set(re.findall(r"`([\w./]+/[\w./]+)`", PAGES[page]))
    places = (ROOT, ROOT / "src" / "mtcil", ROOT / "studies" / "ten_words")
    gone = {n for n in named if not n.startswith("/") and not any((p / n).exists() for p in places)}
    assert {n for n in gone if not n.startswith(MADE_BY_RUNS)} == set()


def test_make_targets_exist():
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    pages = "\n".join(PAGES.values())
    named = set(re.findall(r"(?:`|^)make ([\w-]+)", pages, re.MULTILINE))
    assert named and named <= targets


def test_the_page_about_slurm_has_code_and_settings_that_can_be_used():
    page = (ROOT / "docs" / "slurm.md").read_text("utf-8")
    code, settings = (
        textwrap.dedent(block)
        for block in re.findall(r"```(?:python)?\n(.*?)```", page, re.DOTALL)
        if "SLURMCluster(" in block or "machine:" in block
    )
    imports = [line for line in code.splitlines() if line.startswith("from mtcil")]
    exec("\n".join(imports), {})  # noqa: S102
    compile(code, "slurm.md", "exec")
    assert MachineSettings(**yaml.safe_load(settings)["machine"]).backend == "dask"


def test_the_table_of_folders_is_complete():
    folders = {p.name for p in (ROOT / "src" / "mtcil").iterdir() if (p / "__init__.py").is_file()}
    assert [name for name in folders if f"`{name}`" not in PAGES["README.md"]] == []


# Sections of RESULTS.md and the studies whose tables have their numbers.
SECTIONS = {
    "The verdict": (
        "arabic_words",
        "class_orders",
        "five_base_words",
        "general_base",
        "ten_words",
        "urban_fold1",
    ),
    "The paper's protocol on real speech": ("arabic_words", "class_orders", "five_base_words"),
    "A base training that helps": ("general_base", "base_search"),
    "Ten words of Speech Commands": ("ten_words",),
    "Fold 1 of UrbanSound8K": ("urban_fold1",),
}
IN_README = ("general_base",)
NUMBER = r"[+-]?\d+\.\d+"
MEAN, GAIN = rf"{NUMBER} ± {NUMBER}", rf"{NUMBER} \[{NUMBER}, {NUMBER}\]"


def rounded(text: str) -> tuple[float, ...]:
    """The numbers of a text to one decimal, as RESULTS.md prints them."""
    return tuple(round(float(number), 1) + 0.0 for number in re.findall(NUMBER, text))


@pytest.mark.parametrize("title", [*SECTIONS, "README.md"])
def test_every_mean_and_gain_of_a_section_is_in_the_tables_of_its_studies(title):
    parts = [*re.split(r"^## ", PAGES["RESULTS.md"], flags=re.MULTILINE), PAGES["README.md"]]
    section = next(part for part in parts if part.startswith(title) or part is parts[-1])
    folders = [ROOT / "studies" / name / "metrics" for name in SECTIONS.get(title, IN_README)]
    tables = [f for m in folders for f in (*sorted((m / "tables").glob("*.md")), m / "claims.md")]
    text = "\n".join(table.read_text("utf-8") for table in tables)
    for pattern in (MEAN, GAIN):
        known = {rounded(found) for found in re.findall(pattern, text)}
        named = re.findall(pattern, section)
        assert named
        assert [one for one in named if rounded(one) not in known] == []
