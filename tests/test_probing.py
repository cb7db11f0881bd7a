"""mtcil.probing, its figure, its part of the summary, and its stage."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from conftest import NETWORK
from made_embeddings import RIDGES, ROOT, STEPS, STUDY, clusters, config_of, rng
from scipy.stats import spearmanr
from tiny_study import files_in, params, run_stage, write_params

from mtcil import probing
from mtcil.config import SettingsError, build
from mtcil.errors import UserError
from mtcil.figures import probes as figure
from mtcil.learner import Learner, to_plain
from mtcil.lookup import names
from mtcil.models import Network
from mtcil.probes import ncm
from mtcil.probing import Embedded, embed, follow, probe_rows, read_base
from mtcil.results import read_records
from mtcil.runs import save_base
from mtcil.settings import NetworkSettings
from mtcil.significance import correlation, within_seed
from mtcil.study import Study
from mtcil.summary import probe_correlation


@pytest.fixture
def train():
    return clusters(15)


@pytest.fixture
def test_clips():
    return clusters(20, seed=1)


# following a base model


class Spy:
    """A probe that always answers class 0, and takes notes."""

    def __init__(self):
        self.learnt, self.asked = [], []

    def learn(self, kept, embeddings, labels, config, generator):
        self.learnt.append((sorted(set(labels.tolist())), len(embeddings)))
        return {"sum": np.zeros(len(self.learnt))}

    def predict(self, kept, embeddings, config):
        self.asked.append(len(embeddings))
        return np.zeros(len(embeddings), dtype=np.int64)


def test_a_probe_sees_only_the_clips_of_the_step(train, test_clips):
    spy = Spy()
    found = follow(spy, None, train, test_clips, STEPS, [rng()] * 3)
    assert spy.learnt == [([0, 1, 2], 45), ([3, 4], 30), ([5], 15)]
    assert spy.asked == [60, 100, 120]
    assert found == [(pytest.approx(100 / n), 8 * (i + 1)) for i, n in enumerate((3, 5, 6))]


class Plain:
    """A network whose embedding is the clip itself."""

    @staticmethod
    def embed(features):
        return features.flatten(1)


def split_of(train, test):
    def clips(part):
        features = torch.from_numpy(part.embeddings)[:, None, None]
        return SimpleNamespace(features=features, labels=torch.from_numpy(part.labels))

    return SimpleNamespace(train=clips(train), test=clips(test))


def test_scopes_are_all_classes_the_future_ones_alone_and_the_base_alone(
    monkeypatch, train, test_clips
):
    spy = Spy()
    monkeypatch.setattr(probing, "find", lambda kind, name: spy)
    spy.Config = ncm.Config
    rows = probe_rows({"spy": {}}, Plain(), split_of(train, test_clips), STEPS, seed=3)
    about = [(r["scope"], r["step"], r["classes_seen"]) for r in rows]
    assert about == [
        ("seen", 0, 3), ("seen", 1, 5), ("seen", 2, 6),
        ("future", 1, 2), ("future", 2, 3), ("base", 0, 3),
    ]  # fmt: skip
    assert [labels for labels, _ in spy.learnt] == [
        [0, 1, 2], [3, 4], [5], [0, 1], [2], [0, 1, 2],
    ]  # fmt: skip
    assert spy.asked == [60, 100, 120, 40, 60, 60]
    assert {r["seed"] for r in rows} == {3} and {r["probe"] for r in rows} == {"spy"}


def test_clips_of_future_classes_alone_make_its_scope(train, test_clips):
    """Changing the base classes' clips moves nothing among the future ones."""
    other = Embedded(train.embeddings.copy(), train.labels)
    other.embeddings[other.labels < 3] += 7

    def future(clips):
        probes = {name: dataclasses.asdict(config_of(name)) for name in names("probes")}
        probes["ranpac"]["ridges"] = list(RIDGES)
        rows = probe_rows(probes, Plain(), split_of(clips, test_clips), STEPS, 0)
        return [row for row in rows if row["scope"] == "future"], rows

    (one, all_one), (two, all_two) = future(train), future(other)
    assert one == two and all_one != all_two


def test_the_base_scope_is_the_first_step_among_all(train, test_clips):
    rows = probe_rows({"ncm": {}, "slda": {"shrinkage": 0.1}}, Plain(),
                      split_of(train, test_clips), STEPS, 0)  # fmt: skip
    by = {(r["probe"], r["scope"], r["step"]): r["accuracy"] for r in rows}
    assert all(by[name, "base", 0] == by[name, "seen", 0] for name in ("ncm", "slda"))


def test_embeddings_are_the_backbones_in_float64(data):
    network = Network(NETWORK, 8, torch.Generator().manual_seed(0)).eval()
    found = embed(network, data.test)
    assert found.embeddings.dtype == np.float64 and found.embeddings.shape == (80, 8)
    with torch.no_grad():
        wanted = network.embed(data.test.features[:7]).numpy()
    np.testing.assert_allclose(found.embeddings[:7], wanted, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(found.labels, data.test.labels.numpy())


def test_a_damaged_base_model_is_a_message(tmp_path):
    file = tmp_path / "seed0.pt"
    for content in (None, b"no model"):
        if content:
            file.write_bytes(content)
        with pytest.raises(UserError, match="base model cannot be read"):
            read_base(file, NETWORK, torch.device("cpu"))


# params.yaml


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"base": "gsc_9", "dataset": "gsc"}, "there is no base_models.gsc_9"),
        ({"base": "gsc_5", "dataset": "us8k"}, "dataset must be gsc"),
    ],
)
def test_a_row_that_does_not_fit_its_base_model_is_refused(row, message):
    values = yaml.safe_load((ROOT / "params.yaml").read_text("utf-8"))
    values["base_probes"]["gsc_5"] = row
    with pytest.raises(SettingsError, match=f"base_probes.gsc_5.*{message}"):
        build(Study, values, "params.yaml:")


def test_rows_to_probe_without_a_probe_are_refused():
    values = yaml.safe_load((ROOT / "params.yaml").read_text("utf-8"))
    with pytest.raises(SettingsError, match="probes: name one, or empty base_probes"):
        build(Study, values | {"probes": {}}, "params.yaml:")
    assert build(Study, values | {"probes": {}, "base_probes": {}}, "").base_probes == {}


# tables


def records(accuracies):
    """{row: {seed: (seen accuracies, future accuracies)}} as records of one probe."""
    return pd.DataFrame(
        [
            {
                "dataset": "gsc", "split": "random", "heads": row.removeprefix("gsc_"),
                "passes": "separate", "control": "none", "probe": "ncm", "seed": seed,
                "scope": scope, "step": step, "accuracy": accuracy, "row": row,
            }
            for row, seeds in accuracies.items()
            for seed, both in seeds.items()
            for scope, values in zip(("seen", "future"), both, strict=True)
            for step, accuracy in enumerate(values, start=int(scope == "future"))
        ]
    )  # fmt: skip


RECORDS = records(
    {
        "gsc_5-4-3-2": {0: ((90, 70, 60), (99, 54)), 1: ((90, 72, 64), (99, 58))},
        "gsc_5": {0: ((90, 60, 50), (99, 50)), 1: ((90, 60, 50), (99, 52))},
    }
)


def test_the_table_by_hand():
    table = figure.table(STUDY, RECORDS).set_index(["row", "measure"])
    means = table["mean"]
    assert means["gsc_5"].to_dict() == {"all": 50.0, "average": 55.0, "future": 51.0}
    assert means["gsc_5-4-3-2"].to_dict() == {"all": 62.0, "average": 66.5, "future": 56.0}
    gains = table.loc["gsc_5-4-3-2"]
    assert gains["gain_mean"].to_dict() == {"all": 12.0, "future": 5.0, "average": 11.5}
    assert table.loc["gsc_5", "gain_mean"].isna().all()
    # Differences 4 and 6: t = 5 with one degree: p = 0.1257. All: 10 and 14: t = 6, p = 0.1051.
    # Average: 10 and 13: t = 7.667, p = 0.0826. Holm: 0.0826 x 3, then not below it.
    p_values = gains["gain_p_value"]
    assert p_values["future"] == pytest.approx(0.1257, abs=1e-4)
    assert p_values["average"] == pytest.approx(0.0826, abs=1e-4)
    assert gains["gain_p_holm"].tolist() == pytest.approx([3 * p_values["average"]] * 3)


def test_the_table_without_a_single_task_has_no_differences():
    alone = RECORDS[RECORDS["row"] == "gsc_5-4-3-2"]
    table = figure.table(STUDY, alone)
    header, lines = figure.markdown(table)
    assert "gain_mean" not in table and len(lines) == 1 and len(lines[0]) == len(header)
    assert figure.draw(table).axes


def test_correlations_by_hand_and_as_scipy():
    x = {("a", 0): 1.0, ("a", 1): 2.0, ("b", 0): 3.0, ("z", 0): 99.0}
    y = {("a", 0): 1.0, ("a", 1): 2.0, ("b", 0): 6.0, ("y", 0): -9.0}
    found = correlation(x, y)
    # Of (1, 2, 3) with (1, 2, 6): 5 / sqrt(2 x 14).
    assert (found.n, found.spearman) == (3, pytest.approx(1.0))
    assert found.pearson == pytest.approx(5 / 28**0.5)
    values = rng().standard_normal((2, 20))
    many = correlation(*(dict(enumerate(v)) for v in values))
    assert many.spearman == pytest.approx(spearmanr(*values).statistic)


@pytest.mark.parametrize("y", [{0: 1.0, 1: 2.0}, {0: 1.0, 1: 1.0, 2: 1.0}])
def test_too_little_to_correlate_is_nan(y):
    found = correlation({0: 1.0, 1: 2.0, 2: 4.0}, y)
    assert found.n == len(y) and np.isnan([found.pearson, found.spearman]).all()


def test_a_seeds_mean_is_taken_away_by_hand():
    found = within_seed({("a", 0): 1.0, ("b", 0): 3.0, ("a", 1): 10.0})
    assert found == {("a", 0): -1.0, ("b", 0): 1.0, ("a", 1): 0.0}


def test_the_summary_relates_probes_to_the_steps_of_the_same_run():
    steps = RECORDS[RECORDS["scope"] == "seen"].copy()
    steps.loc[steps["row"] == "gsc_5", "accuracy"] += 5 * steps["seed"]
    found = probe_correlation(STUDY, RECORDS, steps)["gsc"]["random"]["ncm"]
    # Future (54, 58, 50, 52) with averages (65, 68, 55, 60).
    assert found["n"] == 4
    pearson = np.corrcoef([54, 58, 50, 52], [65, 68, 55, 60])[0, 1]
    assert found["pearson"] == pytest.approx(pearson, abs=1e-4) and found["spearman"] == 1.0
    within = np.corrcoef([2, 3, -2, -3], [5, 4, -5, -4])[0, 1]
    assert found["within_seed"]["pearson"] == pytest.approx(within, abs=1e-4)
    assert probe_correlation(STUDY, pd.DataFrame(), steps) == {}


# the stage


@pytest.mark.slow
def test_the_stage_writes_the_same_bytes_twice(tmp_path):
    values = params("..")
    write_params(tmp_path, values)
    features = tmp_path / "data/features/words"
    features.mkdir(parents=True)
    classes = np.repeat(values["datasets"]["words"]["classes"], 24)
    made = rng().standard_normal((len(classes), 32, 32)) + np.arange(len(classes))[:, None, None]
    np.save(features / "features.npy", made.astype(np.float32))
    table = {"id": [f"c{i}" for i in range(len(classes))], "class": classes}
    about = {"group": "g", "fold": 0, "seconds": 1.0}
    pd.DataFrame(table).assign(**about).to_csv(features / "clips.csv", index=False)
    settings = build(NetworkSettings, values["networks"]["words"], "network")
    for seed in values["seeds"]:
        network = Network(settings, 3, torch.Generator().manual_seed(seed)).eval()
        file = tmp_path / f"models/words_3/seed{seed}.pt"
        save_base(to_plain(Learner(network, epochs={"base": 1})), file)
    written = []
    for _ in range(2):
        done = run_stage(tmp_path, "probe_base", "words_3")
        assert done.returncode == 0 and "Warning" not in done.stderr, done.stderr
        written.append(files_in(tmp_path / "metrics"))
    assert written[0] == written[1] and list(written[0]) == [
        "records/probe_base/words_3/records.csv"
    ]
    found = read_records(tmp_path / "metrics/records/probe_base/words_3")
    assert list(found) == [
        "dataset", "split", "heads", "passes", "control", "probe", "seed", "scope", "step",
        "classes_seen", "accuracy", "bytes",
    ]  # fmt: skip
    assert len(found) == 2 * len(names("probes")) * (3 + 2 + 1)
    assert set(found["heads"]) == {"3"} and found["accuracy"].between(0, 100).all()
