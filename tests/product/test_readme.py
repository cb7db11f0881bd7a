"""README.md and RESULTS.md: the files, targets and commands that they name are there."""

import re
import textwrap
from statistics import fmean

import pytest
import yaml
from tiny_study import ROOT, STUDIES

from mtcil.records.measures import average_incremental_accuracy
from mtcil.records.tables import by_seed, read_records
from mtcil.reporting.inference import paired_by_seed
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


def test_the_table_of_studies_is_read():
    assert {ROOT, ROOT / "demo", ROOT / "studies/ten_words"} < set(STUDIES)


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


def averages(study: str, stage: str, dataset: str, only: dict[str, object]) -> dict[int, float]:
    """The average incremental accuracy of the runs with these values, by seed."""
    runs = read_records(ROOT / "studies" / study / "metrics/records" / stage, dataset)
    for column, value in only.items():
        runs = runs[runs[column] == value]
    return {seed: average_incremental_accuracy(steps) for seed, steps in by_seed(runs).items()}


def both(*methods: str) -> list[tuple[dict[str, object], ...]]:
    """Pairs of runs: multitask and single task of each method."""
    return [tuple({"base": b, "method": m} for b in ("multitask", "single")) for m in methods]


NINE = ("replay", "lwf_replay", "icarl", "bic", "lucir", "eeil", "ss_il", "er_ace", "der_pp")
RECIPE = [tuple({"base": "single", "method": m} for m in ("best_recipe", "ccil_8_bits"))]
# Study, stage, dataset, and pairs of runs; a number is the mean over pairs, first minus second.
IN_NO_TABLE = {
    "nine methods, ten words": ("ten_words", "compare_methods", "gsc", both(*NINE)),
    "two methods, fold 1": ("urban_fold1", "compare_methods", "us8k", both("lucir", "er_ace")),
    "the recipe, ten words": ("ten_words", "compare_methods", "gsc", RECIPE),
    "the recipe, Arabic words": ("arabic_words", "compare_methods", "arabic", RECIPE),
    "K of the single task": (
        *("urban_fold1", "sweep_exemplars", "us8k"),
        [tuple({"base": "single", "exemplars": k} for k in (200, 100))],
    ),
    "K of multitask": (
        *("urban_fold1", "sweep_exemplars", "us8k"),
        [tuple({"base": "multitask", "exemplars": k} for k in (200, 100))],
    ),
    "CE_N alone": (
        *("arabic_words", "ablate_losses", "arabic"),
        [tuple({"base": b, "split": "group", "losses": "CE_N"} for b in ("multitask", "single"))],
    ),
}


@pytest.mark.parametrize("name", IN_NO_TABLE)
def test_a_number_that_no_table_has_is_that_of_the_records(name):
    *place, pairs = IN_NO_TABLE[name]
    sides = [[averages(*place, only) for only in side] for side in zip(*pairs, strict=True)]
    first, second = ({s: fmean(of[s] for of in side) for s in side[0]} for side in sides)
    gap = paired_by_seed(first, second)
    mean, low, high = (f"{round(n, 1) + 0.0:.1f}" for n in (gap.mean, gap.low, gap.high))
    text = " ".join(PAGES["RESULTS.md"].split())
    assert re.search(rf"(?<![\d.]){mean}\D{{0,40}}from {low} to {high}\b", text), (mean, low, high)
