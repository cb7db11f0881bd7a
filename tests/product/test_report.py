"""report.html: one page that needs nothing else, and says what the tables say."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
from refused import refusal
from tiny_study import run_stage, write_params

from mtcil.records.tables import read_markdown, read_records, write_markdown
from mtcil.reporting import report
from mtcil.reporting.provenance import facts_of, ranges, settings_digest
from mtcil.reporting.style import gap_text, spread, with_ci
from mtcil.reporting.table_files import OF_TWO_SEEDS, Page, page_of
from mtcil.settings.files import read_study
from mtcil.settings.reader import read_yaml
from mtcil.tables import classes

ROOT = Path(__file__).resolve().parents[2]
STUDY = ROOT / "studies" / "ten_words"
ARABIC = ROOT / "studies" / "arabic_words" / "metrics" / "records"
VOID = {"meta", "link", "img"}


class Reader(HTMLParser):
    """Elements of a page: that each is closed, and (tag, attributes) of all."""

    def __init__(self, page):
        super().__init__()
        self.open, self.found, self.texts = [], [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, self.getpos()

    def handle_data(self, data):
        self.texts.append(data)

    def all(self, tag):
        return [attrs for name, attrs in self.found if name == tag]


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """The committed results of a study, with its page written anew."""
    folder = tmp_path_factory.mktemp("page") / "ten_words"
    folder.mkdir()
    for name in ("metrics", "plots"):
        (folder / name).symlink_to(STUDY / name)
    values = read_yaml(STUDY / "params.yaml") | {"root": "..", "settings": f"{ROOT}/settings.yaml"}
    write_params(folder, values)
    done = run_stage(folder, "write_report")
    assert (done.returncode, done.stderr) == (0, "")
    return folder


@pytest.fixture(scope="module")
def page(study):
    return (study / "report.html").read_text("utf-8")


def test_the_committed_page_is_the_one_that_its_results_give(page):
    assert page == (STUDY / "report.html").read_text("utf-8")


def test_the_page_loads_nothing_and_its_links_lead_to_files_of_the_study(page):
    reader = Reader(page)
    assert all(image["src"].startswith("data:image/png;base64,") for image in reader.all("img"))
    assert not reader.all("script") and all(a["href"] == "data:," for a in reader.all("link"))
    assert "@import" not in page and "url(" not in page
    ids = {attrs["id"] for _, attrs in reader.found if "id" in attrs}
    for link in reader.all("a"):
        place = link["href"]
        known = place[1:] in ids if place.startswith("#") else (STUDY / place).is_file()
        assert known, place


def test_the_page_is_whole_and_can_be_read_aloud(page):
    reader = Reader(page)
    assert reader.open == [] and len(reader.all("h1")) == 1
    assert all(image["alt"] and image["width"] for image in reader.all("img"))
    assert len(reader.all("caption")) == len(reader.all("table"))
    assert all(cell == {"scope": "col"} for cell in reader.all("th"))
    assert reader.all("html") == [{"lang": "en"}]


def test_every_table_picture_and_claim_is_on_the_page(page):
    for file in (STUDY / "metrics" / "tables").glob("*.csv"):
        assert f'href="metrics/tables/{file.name}"' in page
    assert len(Reader(page).all("img")) == len(list((STUDY / "plots").glob("*.png")))
    text = " ".join(Reader(page).texts)
    for claim in pd.read_csv(STUDY / "metrics" / "claims.csv")["where"]:
        assert claim in text
    _, rows = read_markdown(STUDY / "metrics" / "tables" / "probes.md")
    assert all(cell in text for row in rows for cell in row)


def test_the_page_names_no_machine_and_no_time(page):
    assert not re.search(r"/(home|root|tmp|Users|work)/|\d\d:\d\d:\d\d", page)


def test_a_study_of_new_tables_and_odd_names_is_escaped_and_shown():
    pages = {"mine": Page(["a <b>"], [["<script>"]], "x & y")}
    steps = pd.DataFrame()
    text = report.render(
        read_study(ROOT / "params.yaml"), tables={"steps": steps, "methods": steps}, pages=pages,
        pictures={}, claims=pd.DataFrame({"verdict": []}), datasets={"<i>": {"clips": {}}},
        provenance={"runs": [], "settings": "0"},
    )  # fmt: skip
    assert "<script>" not in text and "&lt;script&gt;" in text and "x &amp; y" in text
    assert "<i>" not in text and "More" in text and "The paper&#39;s study" in text
    assert Reader(text).open == []


GAIN = {"gain_mean": 1.0, "gain_n": 5}


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({**GAIN, "gain_low": 0.1, "gain_high": 2}, "multitask is better"),
        ({**GAIN, "gain_low": -2, "gain_high": -0.1}, "multitask is worse"),
        ({**GAIN, "gain_low": -0.1, "gain_high": 2}, "no clear difference"),
        ({**GAIN, "gain_n": 2, "gain_low": 0.1, "gain_high": 2}, "too few seeds to tell"),
        ({}, "not compared"),
    ],
)
def test_the_headline_says_what_the_interval_says(row, words):
    assert report.in_words(pd.Series(row, dtype=object)) == words


def test_the_headline_shows_the_base_model_that_the_study_names():
    place = {"dataset": "gsc", "split": "random", "exemplars": 20, "measure": "average", "n": 3}
    rows = [
        {**place, "base": base, "mean": mean, "low": mean - 1, "high": mean + 1,
         **({f"gain_{k}": v for k, v in gain.items()})}
        for base, mean, gain in (
            ("single", 70.0, {}),
            ("multitask", 71.0, {"mean": 1.0, "low": -1.0, "high": 3.0, "p_value": 0.2, "n": 3}),
            ("mine", 75.0, {"mean": 5.0, "low": 4.0, "high": 6.0, "p_value": 0.01, "n": 3}),
        )
    ]  # fmt: skip
    [line] = report.headline(pd.DataFrame(rows), "mine")
    assert line["mine, %"] == "75.0 ± 1.0 (n 3)" and line["in words"] == "no clear difference"
    assert line["mine minus single task, points"] == "+5.0 [+4.0, +6.0], p 0.010"
    [usual] = report.headline(pd.DataFrame(rows))
    assert usual == {name: text for name, text in line.items() if "mine" not in name}


def test_a_study_that_only_tunes_says_so():
    study = read_study(ROOT / "studies" / "development" / "params.yaml")
    none = pd.DataFrame()
    text = report.render(
        study, tables={"steps": none, "methods": none}, pages={}, pictures={}, datasets={},
        claims=pd.DataFrame({"verdict": []}), provenance={"runs": [], "settings": "0"},
    )  # fmt: skip
    assert "with seeds" not in text and "The study only tunes." in text


def test_class_orders_are_said_to_be_where_they_are():
    orders = [report.protocols(read_study(ROOT / folder / "params.yaml"))[0]["class order"]
              for folder in ("studies/arabic_words", "studies/class_orders")]  # fmt: skip
    assert orders == ["drawn per seed", "drawn per order_seed"]


def test_two_seeds_print_both_values_instead_of_an_interval():
    # 60 and 90: mean 75, std 21.21, half = 12.706 * 21.21 / sqrt(2) = 190.6.
    two = pd.Series({"mean": 75.0, "low": 75 - 190.593, "high": 75 + 190.593, "n": 2})
    assert with_ci(two) == "75.0 (60.0 and 90.0, n 2)"
    three = pd.Series({"mean": 75.0, "low": 74.0, "high": 76.0, "n": 3})
    assert with_ci(three) == "75.0 ± 1.0 (n 3)"
    row = {"gain_mean": 1.0, "gain_low": 1 - 12.7062, "gain_high": 1 + 12.7062, "gain_n": 2}
    gap = gap_text(pd.Series(row | {"gain_p_value": 0.5}), "gain_")
    assert gap == "+1.0 (+0.0 and +2.0, n 2), p 0.500"
    low, high = spread(pd.DataFrame([row, row | {"gain_n": 3}]), "gain_")
    assert low.tolist() == pytest.approx([0, 1 - 12.7062], abs=1e-4)
    assert high.tolist() == pytest.approx([2, 1 + 12.7062], abs=1e-4)


def test_the_caption_says_so_where_there_are_two_seeds():
    about = {"dataset": "d", "split": "random", "base": "single", "heads": "2", "class": "a"}
    rows = {n: {**about, "n": n, "mean": 5.0, "low": 1.0, "high": 9.0} for n in (2, 3)}
    captions = {n: page_of(classes, pd.DataFrame([row])).caption for n, row in rows.items()}
    assert captions[2] == f"{captions[3]} {OF_TWO_SEEDS}"
    assert captions[3].startswith("Accuracy of each class")


def test_a_page_of_a_table_is_read_back_as_it_was_written(tmp_path):
    rows = [["a|b", ""], ["", "1 | 2"], ["x", "- ±"]]
    write_markdown(tmp_path / "t.md", ["one", "two"], rows, "What it is.")
    assert read_markdown(tmp_path / "t.md") == ("What it is.", [["one", "two"], *rows])


def test_a_damaged_page_of_a_table_is_named(study, tmp_path):
    (tmp_path / "tables").mkdir()
    for name in ("params.yaml", "plots"):
        (tmp_path / name).symlink_to(study / name)
    (tmp_path / "metrics" / "tables").mkdir(parents=True)
    for file in (STUDY / "metrics").glob("*"):
        if file.name != "tables":
            (tmp_path / "metrics" / file.name).symlink_to(file)
    for file in (STUDY / "metrics" / "tables").glob("*"):
        (tmp_path / "metrics" / "tables" / file.name).write_bytes(file.read_bytes())
    (tmp_path / "metrics" / "tables" / "steps.md").write_text("| a | b |\n| --- |\n| 1 |\n")
    assert "steps.md: the table cannot be read" in refusal(tmp_path, "write_report")
    (tmp_path / "metrics" / "claims.csv").unlink()
    (tmp_path / "metrics" / "claims.csv").write_text("id,claim\n1,2\n")
    (tmp_path / "metrics" / "tables" / "steps.md").write_text("| a |\n| --- |\n| 1 |\n")
    assert "claims.csv: the claims cannot be read" in refusal(tmp_path, "write_report")


def test_seeds_are_written_as_ranges():
    assert ranges([3, 0, 1, 2, 100, 7, 8]) == "0-3, 7-8, 100"
    assert ranges([]) == ""


def test_the_digest_of_the_settings_leaves_the_machine_out():
    values = read_study(ROOT / "params.yaml")
    moved = read_study(ROOT / "params.yaml")
    object.__setattr__(moved, "machine", None)
    assert settings_digest(values) == settings_digest(moved)
    object.__setattr__(moved, "seeds", (99,))
    assert settings_digest(values) != settings_digest(moved)


def test_the_facts_of_records_count_runs_and_work():
    file = STUDY / "metrics" / "records" / "train_base" / "gsc.csv"
    facts = facts_of(file, "gsc")
    rows = file.read_text("utf-8").count("\n") - 1
    assert facts["runs"] == str(rows) and facts["seeds"] == "0-9"
    assert facts["clips passed forward"] == "" and facts["different keys"] == facts["runs"]
    later = read_records(ARABIC / "learn_steps", "arabic")
    assert facts_of(ARABIC / "learn_steps" / "arabic.csv", "arabic")["diverged steps"] == "0"
    wanted = later.loc[later["step"] > 0, "updates"].sum()  # base models are of `train_base`
    assert facts_of(ARABIC / "learn_steps" / "arabic.csv", "arabic")["updates"] == f"{wanted:,}"
    folder = ROOT / "studies" / "development" / "metrics" / "records" / "tune_methods"
    tuned = read_records(folder, "arabic")
    once = tuned[tuned["step"] == 0].drop_duplicates(["base", "seed"])["updates"].sum()
    wanted = tuned.loc[tuned["step"] > 0, "updates"].sum() + once
    assert facts_of(folder / "arabic.csv", "arabic")["updates"] == f"{wanted:,}"
