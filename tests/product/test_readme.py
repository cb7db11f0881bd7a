"""README.md and RESULTS.md: the files, targets and commands that they name are there."""

import re

import pytest
from tiny_study import ROOT

PAGES = {name: (ROOT / name).read_text("utf-8") for name in ("README.md", "RESULTS.md")}
MADE_BY_RUNS = ("metrics/tables", "metrics/records", "metrics/summary.json", "metrics/claims.md")


@pytest.mark.parametrize("page", PAGES)
def test_linked_files_exist(page):
    links = re.findall(r"\]\(([^)#]+)\)", PAGES[page])
    assert links and [link for link in links if not (ROOT / link).exists()] == []


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


def test_the_table_of_folders_is_complete():
    folders = {p.name for p in (ROOT / "src" / "mtcil").iterdir() if (p / "__init__.py").is_file()}
    assert [name for name in folders if f"`{name}`" not in PAGES["README.md"]] == []
