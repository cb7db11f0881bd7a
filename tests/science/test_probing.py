"""mtcil.learning.probing, its figure, its part of the summary, and its stage."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from conftest import NETWORK
from made_embeddings import ROOT, STEPS, STUDY, clusters, config_of, rng
from scipy.stats import spearmanr
from tiny_study import change, files_in, params, run_stage, write_params
from untrained import bases_of, made_study

from mtcil.core.errors import UserError
from mtcil.core.lookup import names
from mtcil.figures import probes as figure
from mtcil.learning import probing
from mtcil.learning.network import Network
from mtcil.learning.probing import Embedded, Probe, embed, follow, probe_rows
from mtcil.records.tables import columns_of, read_records, write_records
from mtcil.reporting.inference import correlation, within_row, within_seed
from mtcil.reporting.summary import probe_correlation
from mtcil.running import probe as running
from mtcil.running.probe import known_probes, probe_all, probe_jobs, probe_one_base
from mtcil.running.run import forget_checkpoints
from mtcil.settings.files import read_study
from mtcil.settings.reader import SettingsError
from mtcil.settings.sections import MachineSettings
from mtcil.tables import probes as table_of


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


def test_a_probe_sees_only_the_clips_of_the_step(monkeypatch, train, test_clips):
    spy = Spy()
    monkeypatch.setattr(probing, "find", lambda kind, name: spy)
    found = follow(Probe("spy", None), train, test_clips, STEPS, [rng()] * 3)
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


def test_scopes_are_all_classes_only_future_and_only_base_classes(monkeypatch, train, test_clips):
    spy = Spy()
    monkeypatch.setattr(probing, "find", lambda kind, name: spy)
    probes = [Probe("spy", None)]
    (rows,) = probe_rows(probes, Plain(), split_of(train, test_clips), STEPS, seed=3)
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


def test_the_scope_of_future_classes_has_only_their_clips(train, test_clips):
    """Changing the base classes' clips moves nothing among the future ones."""
    other = Embedded(train.embeddings.copy(), train.labels)
    other.embeddings[other.labels < 3] += 7

    def future(clips):
        probes = [Probe(name, config_of(name)) for name in names("probes")]
        found = probe_rows(probes, Plain(), split_of(clips, test_clips), STEPS, 0)
        rows = [row for of_probe in found for row in of_probe]
        return [row for row in rows if row["scope"] == "future"], rows

    (one, all_one), (two, all_two) = future(train), future(other)
    assert one == two and all_one != all_two


def test_the_base_scope_is_the_first_step_among_all(train, test_clips):
    probes = [Probe(name, config_of(name)) for name in ("ncm", "slda")]
    found = probe_rows(probes, Plain(), split_of(train, test_clips), STEPS, 0)
    by = {(r["probe"], r["scope"], r["step"]): r["accuracy"] for rows in found for r in rows}
    assert all(by[name, "base", 0] == by[name, "seen", 0] for name in ("ncm", "slda"))


def test_embeddings_are_the_backbones_in_float64(data):
    network = Network(NETWORK, 8, torch.Generator().manual_seed(0)).eval()
    found = embed(network, data.test)
    assert found.embeddings.dtype == np.float64 and found.embeddings.shape == (80, 8)
    with torch.no_grad():
        wanted = network.embed(data.test.features[:7]).numpy()
    np.testing.assert_allclose(found.embeddings[:7], wanted, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(found.labels, data.test.labels.numpy())


# params.yaml


def refused(tmp_path, place, value):
    values = params(".")
    change(values, place, value)
    write_params(tmp_path, values)
    with pytest.raises(SettingsError) as error:
        read_study(tmp_path / "params.yaml")
    return str(error.value)


def test_a_row_that_does_not_fit_its_base_models_is_refused(tmp_path):
    message = refused(tmp_path, "base_probes.words.bases", ["gsc_9"])
    assert "base_probes.words.bases: there is no base_models.words.gsc_9. There are: sin" in message
    message = refused(tmp_path, "base_probes.gsc", {"bases": ["single"]})
    assert "base_probes.gsc: there is no datasets.gsc. Remove gsc from base_probes, or" in message


def test_rows_to_probe_without_a_probe_are_refused(tmp_path):
    """An override cannot take a row away, so settings.yaml itself has none here."""
    shared = yaml.safe_load((ROOT / "settings.yaml").read_text("utf-8")) | {"probes": {}}
    (tmp_path / "settings.yaml").write_text(yaml.safe_dump(shared), "utf-8")
    values = params(".") | {"settings": "settings.yaml"}
    write_params(tmp_path, values)
    with pytest.raises(SettingsError, match="probes: name at least one, or empty base_probes"):
        read_study(tmp_path / "params.yaml")
    write_params(tmp_path, values | {"base_probes": {}})
    assert read_study(tmp_path / "params.yaml").base_probes == {}


# tables


HEADS = {"single": "5", "multitask": "5-4-3-2"}


def records(accuracies):
    """{base: {seed: (seen accuracies, future accuracies)}} as records of one probe."""
    return pd.DataFrame(
        [
            {
                "dataset": "gsc", "split": "random", "base": base, "heads": HEADS[base],
                "passes": "separate", "control": "none", "probe": "ncm", "seed": seed,
                "scope": scope, "step": step, "accuracy": accuracy,
            }
            for base, seeds in accuracies.items()
            for seed, both in seeds.items()
            for scope, values in zip(("seen", "future"), both, strict=True)
            for step, accuracy in enumerate(values, start=int(scope == "future"))
        ]
    )  # fmt: skip


RECORDS = records(
    {
        "multitask": {0: ((90, 70, 60), (99, 54)), 1: ((90, 72, 64), (99, 58))},
        "single": {0: ((90, 60, 50), (99, 50)), 1: ((90, 60, 50), (99, 52))},
    }
)


def test_the_table_by_hand():
    table = table_of.table(STUDY, RECORDS).set_index(["base", "measure"])
    means = table["mean"]
    assert means["single"].to_dict() == {"all": 50.0, "average": 55.0, "future": 51.0}
    assert means["multitask"].to_dict() == {"all": 62.0, "average": 66.5, "future": 56.0}
    gains = table.loc["multitask"]
    assert gains["gain_mean"].to_dict() == {"all": 12.0, "future": 5.0, "average": 11.5}
    assert table.loc["single", "gain_mean"].isna().all()
    # Differences 4 and 6: t = 5 with one degree: p = 0.1257. All: 10 and 14: t = 6, p = 0.1051.
    # Average: 10 and 13: t = 7.667, p = 0.0826. Holm: 0.0826 x 3, then not below it.
    p_values = gains["gain_p_value"]
    assert p_values["future"] == pytest.approx(0.1257, abs=1e-4)
    assert p_values["average"] == pytest.approx(0.0826, abs=1e-4)
    assert gains["gain_p_holm"].tolist() == pytest.approx([3 * p_values["average"]] * 3)


def test_base_models_with_other_class_orders_are_not_compared():
    rows = dict(STUDY.base_models["gsc"])
    rows["multitask"] = replace(rows["multitask"], order_seed=0)
    other = replace(STUDY, base_models={**STUDY.base_models, "gsc": rows})
    assert "gain_mean" not in table_of.table(other, RECORDS)


def test_the_table_without_a_single_task_has_no_differences():
    alone = RECORDS[RECORDS["base"] == "multitask"]
    table = table_of.table(STUDY, alone)
    header, lines = table_of.markdown(table)
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
    found = within_row({("a", 0): 1.0, ("b", 0): 3.0, ("a", 1): 10.0})
    assert found == {("a", 0): -4.5, ("b", 0): 0.0, ("a", 1): 4.5}


def test_the_summary_relates_probes_to_the_steps_of_the_same_run():
    steps = RECORDS[RECORDS["scope"] == "seen"].copy()
    steps.loc[steps["base"] == "single", "accuracy"] += 5 * steps["seed"]
    found = probe_correlation(RECORDS, steps)["gsc"]["random"]["ncm"]
    # Future (54, 58, 50, 52) with averages (65, 68, 55, 60).
    assert found["n"] == 4
    pearson = np.corrcoef([54, 58, 50, 52], [65, 68, 55, 60])[0, 1]
    assert found["pearson"] == pytest.approx(pearson, abs=1e-4) and found["spearman"] == 1.0
    within = np.corrcoef([2, 3, -2, -3], [5, 4, -5, -4])[0, 1]
    assert found["within_seed"]["pearson"] == pytest.approx(within, abs=1e-4)
    # Without each row's mean, (2.5, 3.5, -2.5, -3.5), half a point is left on either side.
    rest = np.corrcoef([-0.5, 0.5, 0.5, -0.5], [0.5, -0.5, -0.5, 0.5])[0, 1]
    assert found["within_seed_and_base"]["pearson"] == pytest.approx(rest, abs=1e-4)
    assert probe_correlation(pd.DataFrame(), steps) == {}
    seen_all = {"base": "top", "control": "ceiling", "accuracy": 99.0}
    probes, more = (pd.concat([of, of.assign(**seen_all)]) for of in (RECORDS, steps))
    assert probe_correlation(probes, more)["gsc"]["random"]["ncm"] == found


# the stage


@pytest.fixture
def study(tmp_path):
    values = params(".")
    change(values, "base_probes.words.bases", None)
    values["base_models"]["words"] = {
        "single": {"heads": "3"},
        "multitask": {"heads": "3-2"},
        "same": {"heads": "3-2", "method": "replay"},  # another name of the same base model
    }
    made_study(tmp_path, values, n_clips=24)
    return tmp_path


def probed(folder, monkeypatch, fresh=False, **probes):
    """Run probes as the stage does; (seed, probe) of those that ran, and the bytes written."""
    ran, jobs = [], probe_jobs({"ncm": {}} | probes, bases_of(folder))

    def noted(job):
        ran.extend((job.base.seed, probe.name) for probe in job.probes.values())
        return probe_one_base(job)

    monkeypatch.setattr(running, "probe_one_base", noted)
    machine = MachineSettings("cpu", 1, "loky", None, fresh)
    stage = folder / "metrics/records/probe_base"
    write_records(stage, "words", probe_all(jobs, machine, known_probes(stage, "words")))
    forget_checkpoints(jobs)
    assert len(read_records(stage, "words")) == 3 * 2 * (1 + len(probes)) * (3 + 2 + 1)
    return ran, (stage / "words.csv").read_bytes()


def test_a_finished_probe_is_not_run_again(study, monkeypatch):
    # Once for each base model: `same` is multitask.
    every = [(seed, name) for _ in range(2) for seed in (0, 1) for name in ("ncm", "slda")]
    ran, first = probed(study, monkeypatch, slda={"shrinkage": 0.1})
    assert ran == every
    assert probed(study, monkeypatch, slda={"shrinkage": 0.1}) == ([], first)
    assert probed(study, monkeypatch, fresh=True, slda={"shrinkage": 0.1}) == (every, first)
    ran, other = probed(study, monkeypatch, slda={"shrinkage": 0.9})
    assert {name for _, name in ran} == {"slda"} and other != first
    table = study / "metrics/records/probe_base/words.csv"
    table.write_bytes(first[:-30])
    assert probed(study, monkeypatch, slda={"shrinkage": 0.1}) == (every, first)
    table.write_bytes(first)
    (one, *_) = bases_of(study)
    np.save(one.folders.features / "features.npy", np.zeros((120, 32, 32), np.float32))
    with pytest.raises(UserError, match="with other settings, code or device"):
        probed(study, monkeypatch, slda={"shrinkage": 0.1})


def test_a_killed_stage_keeps_the_base_models_that_are_probed(study, monkeypatch):
    _, whole = probed(study, monkeypatch)
    (study / "metrics/records/probe_base/words.csv").unlink()
    ran = []

    def killed(job):
        if len(ran) == 3:
            raise KeyboardInterrupt
        ran.append(job.base.seed)
        return probe_one_base(job)

    jobs = probe_jobs({"ncm": {}}, bases_of(study))
    monkeypatch.setattr(running, "probe_one_base", killed)
    with pytest.raises(KeyboardInterrupt):
        probe_all(jobs, MachineSettings("cpu", 1, "loky", None, False), {})
    jobs[0].checkpoint.write_text("{}")  # damaged: probed again
    again, same = probed(study, monkeypatch)
    assert same == whole and again == [(0, "ncm"), (1, "ncm")]
    assert list(jobs[0].checkpoint.parent.glob("probes-*")) == []


@pytest.mark.slow
def test_the_stage_writes_the_same_bytes_twice(study):
    written = []
    for _ in range(2):
        done = run_stage(study, "probe_base", "probe_base@words")
        assert done.returncode == 0 and "Warning" not in done.stderr, done.stderr
        written.append(files_in(study / "metrics"))
    assert written[0] == written[1] and list(written[0]) == ["records/probe_base/words.csv"]
    found = read_records(study / "metrics/records/probe_base", "words")
    assert list(found) == list(columns_of("probe_base")) == [
        "dataset", "split", "base", "heads", "passes", "control", "probe", "seed", "scope",
        "step", "classes_seen", "accuracy", "bytes", "key",
    ]  # fmt: skip
    n_seeds, n_probes = 2, len(names("probes"))
    assert len(found) == 3 * n_seeds * n_probes * (3 + 2 + 1)
    assert found["key"].nunique() == 2 * n_seeds * n_probes
    assert dict(zip(found["base"], found["heads"], strict=True)) == {
        "single": "3", "multitask": "3-2", "same": "3-2",
    }  # fmt: skip
    assert found["accuracy"].between(0, 100).all()
