"""What people write into params.yaml by mistake, or out of malice: each has its one message."""

import pytest
from refused import lines_of, refusal
from tiny_study import ROOT, change, params, write_params

from mtcil.core.errors import UserError
from mtcil.settings.files import read_study
from mtcil.settings.reader import read_json

LONG = 10**400
WORDS = ["yes", "no", "up", "down"]
HEADS = "base_models.words.single.heads"
UPDATES = "datasets.words.updates"
LENGTHS = {"base": 4, "head_first": 2, "then_all": 2, "compare": 4}
TUNING = {"base": "single", "seeds": [100]}

# A place in params.yaml or settings.yaml, a wrong value, and what the message must say; more are in
# test_settings_types.py (each field's type).
VALUES = {
    "unknown key": ("exemplers", 5, "exemplers: unknown key. Known keys: root, settings"),
    "unknown key inside": (
        "step_training.sgd.bach", 5,
        "step_training.sgd.bach: unknown key. Known keys: batch, momentum, weight_decay.",
    ),
    "text for a number": ("exemplars", "abc", "exemplars: must be an integer, got the text 'abc'"),
    "number out of range": ("exemplars", -3, "exemplars: must be greater than or equal to 0"),
    "number for a list": ("seeds", 3, "seeds: must be a list, got the number 3"),
    "no seed": ("seeds", [], "seeds: name at least one"),
    "duplicate seeds": ("seeds", [0, 1, 0], "seeds: duplicate entry"),
    "steps that do not add up": ("datasets.words.steps", [3, 1], "add up to 4 classes, but 5"),
    "heads larger than the base": (
        "base_models.words.single.heads", "4-3",
        "base_models.words.single.heads: the first head must cover all 3",
    ),
    "dask without a scheduler": ("machine.backend", "dask", "needs scheduler"),
    "not a number": ("split.train", float("nan"), "split.train: must be a finite number"),
    "a row that is not there": (
        "exemplar_sweeps.words.bases", ["gone"], "bases: there is no base_models.words.gone",
    ),
    "a seed as a float": ("seeds", [0.0, 1.0], "seeds[0]: must be an integer, got the number 0.0"),
    "a seed as a truth value": ("seeds", [True], "seeds[0]: must be an integer, got true"),
    "a negative seed": ("seeds", [-1], "seeds[0]: must be greater than or equal to 0"),
    "a seed of 101 bits": ("seeds", [2**100], "seeds[0]: a number of 101 bits is too large"),
    "a number of 400 digits": ("split.train", LONG, "split.train: a number of 1329 bits is too"),
    "a list for a section": ("machine", [1], "machine: must be a section (`name: ...`), got a"),
    "nothing for a section": ("step_training.head_first", None, "head_first: must be a section"),
    "a list of rows": ("methods", [1], "methods: must be a section (`name: ...`), got a list"),
    "a number for a method": ("methods.ccil", 3, "methods.ccil: must be a section (`name: ...`)"),
    "no list at all": ("seeds", None, "seeds: must be a list, got null"),
    "infinite": ("features.gsc.seconds", float("inf"), "seconds: must be a finite number"),
    "a negative rate": (
        "base_training.fit.learning_rate", -0.1, "learning_rate: must be greater than 0",
    ),
    "a length in epochs": (
        "base_training.fit.epochs", 30,
        "fit.epochs: unknown key. Known keys: patience, learning_rate, schedule.",
    ),
    "no reduction at all": (
        "base_training.task_reduction", "max", "task_reduction: must be 'mean' or 'sum', got the",
    ),
    "statistics of no task": (
        "base_training.statistics", "none", "statistics: must be 'full_task' or 'all_tasks', got",
    ),
    "a batch of one": ("base_training.sgd.batch", 1, "batch: must be greater than or equal to 2"),
    "no datasets": ("datasets", {}, "shown: there is no datasets.words"),
    "a number for a truth value": ("machine.fresh", 1, "fresh: must be true or false, got the num"),
    "thousands of processes": ("machine.jobs", 10**9, "jobs: must be less than or equal to 1024"),
    "no overrides": ("overrides", None, "overrides: must be a section; write `overrides: {}`"),
    "an override of no section": ("overrides.nonsense", 3, "overrides.nonsense: unknown key"),
    "an override of params.yaml": ("overrides.seeds", [7], "overrides.seeds: unknown key"),
    # classes and steps
    "one class": ("datasets.words.classes", ["yes"], "classes: name at least two"),
    "a class twice": ("datasets.words.classes", [*WORDS, "yes"], "classes: duplicate class"),
    "classes that differ by case": (
        "datasets.words.classes", [*WORDS, "Yes"], "two names differ only in case",
    ),
    "a class with a slash": ("datasets.words.classes", [*WORDS, "a/b"], "['a/b'] cannot be used"),
    "a class that climbs": ("datasets.words.classes", [*WORDS, ".."], "['..'] cannot be used as a"),
    "a class without a name": ("datasets.words.classes", [*WORDS, ""], "[''] cannot be used as a"),
    "a class of two lines": ("datasets.words.classes", [*WORDS, "a\nb"], r"['a\nb'] cannot be"),
    "a space around a class": ("datasets.words.classes", [*WORDS, " a"], "[' a'] cannot be used"),
    "a step of no class": ("datasets.words.steps", [3, 1, 0, 1], "steps[2]: must be greater than"),
    "no steps": ("datasets.words.steps", [], "every step needs at least one class"),
    "a base step of one class": ("datasets.words.steps", [1, 4], "base step needs at least two"),
    "an order of other classes": ("datasets.words.class_order", ["yes"], "class_order must name"),
    "too few clips": (
        "datasets.words.clips_per_class", 3, "clips_per_class: must be greater than or equal to 10",
    ),
    "a negative budget": (
        "datasets.words.exemplars", -1, "exemplars: must be greater than or equal to 0, got the",
    ),
    "a base step of no update": (
        UPDATES, {**LENGTHS, "base": 0}, "updates.base: must be greater than or equal to 1",
    ),
    "a comparison of no update": (
        UPDATES, {**LENGTHS, "compare": 0}, "updates.compare: must be greater than or equal to 1",
    ),
    "steps of no update": (
        UPDATES, {**LENGTHS, "head_first": 0, "then_all": 0}, "head_first and then_all: not both 0",
    ),
    "a phase of -1 updates": (
        UPDATES, {**LENGTHS, "head_first": -1}, "head_first: must be greater than or equal to 0",
    ),
    "no lengths": (UPDATES, None, "updates: must be a section"),
    "no folds": ("datasets.words.folds", [], "folds: name at least one, or null"),
    "no list of clips to exclude": ("datasets.words.exclude", None, "exclude: must be a list"),
    # heads
    "a task of one class": (HEADS, "3-1", "every task needs 2 to 3 classes"),
    "a task larger than the base": (HEADS, "3-4", "every task needs 2 to 3 classes"),
    "heads with a space": (HEADS, " 3-2", "write heads as \"5-4-3-2\""),
    "heads with an underscore": (HEADS, "3-0_2", "write heads as"),
    "heads that end in a dash": (HEADS, "3-2-", "write heads as"),
    "heads as a list": (HEADS, [3, 2], "heads: must be text"),
    "timed heads that are too large": ("heads_timings.words.heads", ["3", "4"], "words.heads: the"),
    "no baseline to time": ("heads_timings.words.heads", ["3-2"], 'must include "3", the baseline'),
    "a headline that nothing has": (
        "headline", "mulitask", "headline: there is no such row of base_models. There are: single",
    ),
    "shown data that are not there": ("shown", "wrods", "there is no datasets.wrods"),
    # what is not there
    "a method that is not there": (
        "base_models.words.single.method", "hope", "there is no methods.hope. There are: ccil, ",
    ),
    "a sweep's method": ("exemplar_sweeps.words.method", "hope", "words.method: there is no"),
    "a base model to tune on": ("tunings.words.base", "gone", "no base_models.words.gone"),
    "a split that bases lack": ("base_probes.words.splits", ["group"], "has splits random only"),
    "a section of no dataset": ("tunings.gone", TUNING, "tunings.gone: there is no datasets.gone"),
    "noise in shared passes": (
        "base_models.words.single",
        {"heads": "3", "passes": "shared", "control": "shuffled_labels"}, "needs passes: separate",
    ),
    "noise in place of no labels": (
        "base_models.words.single", {"heads": "3", "control": "shuffled_labels"},
        "needs more heads than one",
    ),
    # what would be measured twice
    "a set of losses twice": (
        "loss_ablations.words.losses", ["CE_N+CE_O", "CE_N+CE_O"], "losses: duplicate entry",
    ),
    "losses in another order": (
        "loss_ablations.words.losses", ["CE_O+CE_N"], "losses must be CE_N and any",
    ),
    "an unknown loss": ("loss_ablations.words.losses", ["CE_X"], "losses must be CE_N and any"),
    "no losses": ("loss_ablations.words.losses", [], "losses: name at least one"),
    "a base model twice": ("loss_ablations.words.bases", ["single"] * 2, "bases: duplicate entry"),
    "a split twice": ("base_models.words.single.splits", ["group"] * 2, "splits: duplicate entry"),
    "a budget twice": ("exemplar_sweeps.words.exemplars", [5, 5], "exemplars: duplicate entry"),
    "a seed of a row twice": ("exemplar_sweeps.words.seeds", [0, 0], "each once, or null"),
    "a seed that the study lacks": ("exemplar_sweeps.words.seeds", [7], "must be some of 0, 1"),
    "a seed that a base model lacks": ("base_models.words.single.seeds", [7], "single.seeds: must"),
    "a base grid of no base model": (
        "tunings.words.base_grids", {"gone": {"length": [1.0]}}, "no base_models.words.gone",
    ),
    "a base grid without settings": (
        "tunings.words.base_grids", {"single": {}}, "single: must name at least one setting",
    ),
    "a base grid without values": (
        "tunings.words.base_grids", {"single": {"length": []}}, "each with at least one value",
    ),
    "a base grid of a part that the row lacks": (
        "tunings.words.base_grids", {"single": {"mixup.alpha": [0.1]}},
        "no setting mixup.alpha. There are: learning_rate, task_weight, length",
    ),
    "a value of a base grid twice": (
        "tunings.words.base_grids", {"single": {"length": [1, 1.0]}},
        "base_grids.single.length: duplicate entry",
    ),
    "a schedule of a method with one phase": (
        "epoch_sweeps.words.method", "replay", "words.method: has one phase of training",
    ),
    "a part that is not there": (
        "base_models.words.single.parts", ["hope"], "there is no base_parts.hope. There are: aug",
    ),
    "a part twice": ("base_models.words.single.parts", ["gain"] * 2, "parts: duplicate entry"),
    "parts of a control": (
        "base_models.words.single_longer.parts", ["gain"], "parts and control: only one of both",
    ),
    "parts and heads with their own passes": (
        "base_models.words.multitask.parts", ["gain"], "several heads need passes: shared",
    ),
    "a ceiling with several heads": (
        "base_models.words.multitask.control", "ceiling", "control ceiling needs one head",
    ),
    "a task weight of a single task": (
        "tunings.words.base_grids", {"single": {"task_weight": [1.0]}}, "has no task_weight",
    ),
    "a tuning seed twice": ("tunings.words.seeds", [100, 100], "seeds: duplicate entry"),
    "a negative tuning seed": ("tunings.words.seeds", [-1], "seeds[0]: must be greater than or"),
    "a tuning seed of the study": ("tunings.words.seeds", [0], "seeds: 0 are seeds of the study"),
    "heads timed twice": ("heads_timings.words.heads", ["3", "3"], "heads: duplicate entry"),
    "a point of a grid twice": (
        "comparison.grids", {"replay": {"learning_rate": [0.1, 0.1]}},
        "grids.replay.learning_rate: duplicate entry",
    ),
    "a list in a grid": (
        "comparison.grids", {"replay": {"learning_rate": [[0.1]]}}, "values must be numbers, words",
    ),
    "a grid of no method": ("comparison.grids", {"mine": {}}, "grids.mine: there is no methods"),
    "settings of no method": ("comparison.tuned", {"mine": {}}, "tuned.mine: there is no methods"),
    "a comparison that stops early": (
        "comparison.training.then_all.patience", 5, "training: no early stopping",
    ),
    "a head alone": ("comparison.head_first_share", 1.0, "head_first_share: must be less than 1"),
    "no share for the head": (
        "comparison.head_first_share", 0.0, "head_first_share: must be greater than 0",
    ),
    "no round": ("heads_timings.words.rounds", 0, "rounds: must be greater than or equal to 1"),
    # features and networks
    "pools that leave nothing": (
        "networks.tiny.pools", [40, 1], "pools: leave nothing of the 32 frames x 32 bins",
    ),
    "a network of a million channels": (
        "networks.tiny.channels", [10**6, 4], "channels[0]: must be less than or equal to 4096",
    ),
    "an even kernel": ("networks.tiny.kernels", [2, 2], "kernels must be odd"),
    "lists of two lengths": ("networks.tiny.kernels", [3], "must be equally long"),
    "dropout of everything": ("networks.tiny.dropout", 1, "dropout: must be less than 1"),
    "more mel bins than frequencies": ("features.gsc.log_mel", 513, "at most half of n_fft 1024"),
    "a thousand octaves": ("features.gsc.contrast", 1030, "contrast: must be less than or equal"),
    "a tonnetz of seven": ("features.gsc.tonnetz", 7, "features.gsc: tonnetz must be 0 or 6"),
    "a clip shorter than a frame": ("features.gsc.seconds", 0.01, "at least one frame of n_fft"),
    "shares that are not the whole": ("split.train", 0.6, "the shares must add up to 1, got 0.9"),
    "more frozen blocks than there are": (
        "comparison.training.frozen_blocks", 9, "comparison.training.frozen_blocks: is more than",
    ),
}  # fmt: skip
# Names of rows, which become folders and names of stages.
ROWS = {
    "that climbs": ("datasets", "../x"),
    "with a slash": ("datasets", "a/b"),
    "that is hidden": ("datasets", ".x"),
    "that is empty": ("base_models.words", ""),
    "that is digits": ("base_models.words", "3"),
    "with a dot": ("base_models.words", "a.b"),
    "of two lines": ("tunings", "a\nb"),
    "with a space": ("comparisons", "a b"),
}
NAMELESS = {"null": None, "a number": 3, "a truth value": True}
# Ten lines that would be 10^9 items, or 2^39 mappings, written out.
LAUGHS = "exemplars: null\nprobes:\n  a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"  a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 10)
)
DEEP = "exemplars: null\nprobes:\n  a0: &a0 {x: 1}\n" + "".join(
    f"  a{i}: &a{i} {{p: *a{i - 1}, q: *a{i - 1}}}\n" for i in range(1, 40)
)
# Text in params.yaml, what someone wrote instead, and what the message must say.
SLIPS = {
    "booleans as class names": ("['yes', 'no',", "[true, false,", "must be text (in quotes, where"),
    "a number in quotes": (
        "dropout: 0.5",
        "dropout: '5e-1'",
        "must be a number, got the text ",
    ),
    "a key twice": ("seeds:", "seeds: [7]\nseeds:", 'duplicate key "seeds"'),
    "a bracket left open": ("seeds: [0, 1]", "seeds: [0, 1", "cannot be read as YAML"),
}
# What the whole file holds instead; {good} is what stood there.
TEXTS = {
    "nothing": ("", "must hold sections (`name: ...`), got null"),
    "only a remark": ("# no\n", "must hold sections"),
    "a list": ("- a\n", "must hold sections (`name: ...`), got a list"),
    "a word": ("hello\n", "must hold sections (`name: ...`), got the text 'hello'"),
    "a tab": ("a:\n\tb: 1\n", "cannot start any token (line 2)"),
    "two documents": ("{good}---\na: 1\n", "found another document (line"),
    "a conflict": ("<<<<<<< HEAD\n{good}=======\n", "cannot be read as YAML: "),
    "a zero byte": ("{good}\0", "unacceptable character #x0000"),
    "Python to run": (
        "x: !!python/object/apply:os.mkdir [ran]\n{good}", "could not determine a constructor",
    ),
    "an unknown tag": ("x: !foo bar\n{good}", "a constructor for the tag '!foo' (line 1)"),
    "no truth value": ("x: !!bool abc\n{good}", "cannot be read as YAML: 'abc'"),
    "no date": ("x: 2001-99-99\n{good}", "month must be in 1..12"),
    "an alias of nothing": ("x: *a\n{good}", "found undefined alias 'a' (line 1)"),
    "an alias of itself": ("x: &x [*x]\n{good}", "holds more than 20,000 values"),
    "a number of 5,000 digits": ("x: " + "9" * 5000 + "\n{good}", "limit (4300 digits)"),
    "brackets without end": ("x: " + "[" * 1500, "maximum recursion depth exceeded"),
    "a key of two values": ("? [a, b]\n: 1\n{good}", "('a', 'b'): unknown key. Known keys: root"),
    "a key that is a mapping": ("? {a: 1}\n: 1\n{good}", "found unhashable key"),
    "a billion laughs": (
        "root: .\nheadline: a\nshown: b\n" + LAUGHS.replace("probes", "seeds"),
        "holds more than 20,000 values. Shorten it",
    ),
    "a billion laughs in a value": (LAUGHS + "root: *a9\n", "holds more than 20,000 values"),
    "mappings of mappings": (DEEP + "root: *a39\n", "holds more than 20,000 values"),
}  # fmt: skip


@pytest.fixture
def study(tmp_path):
    write_params(tmp_path, params("."))
    return tmp_path


@pytest.mark.parametrize("mistake", VALUES)
def test_a_wrong_value_is_refused(study, mistake):
    place, value, says = VALUES[mistake]
    values = params(".")
    change(values, place, value)
    write_params(study, values)
    message = refusal(study, "download", "words")
    assert says in message and len(message) < 500
    assert message.startswith("error: params.yaml: ") and "git checkout -- params.yaml" in message


@pytest.mark.parametrize("mistake", SLIPS)
def test_a_slip_of_yaml_is_refused(study, mistake):
    right, wrong, says = SLIPS[mistake]
    file = study / "params.yaml"
    text = file.read_text("utf-8")
    assert right in text
    file.write_text(text.replace(right, wrong, 1), "utf-8")
    assert says in refusal(study, "download", "words")


def copied_rows(study, section, name):
    """The study with a row of a section copied under another name."""
    values = params(".")
    rows = values
    for part in section.split("."):
        rows = rows[part]
    rows[name] = next(iter(rows.values()))
    write_params(study, values)


@pytest.mark.parametrize("mistake", ROWS)
def test_a_row_whose_name_cannot_be_a_folder_is_refused(study, mistake):
    section, name = ROWS[mistake]
    copied_rows(study, section, name)
    shown = name if name.isprintable() else repr(name)
    lines = lines_of(refusal(study, "download", "words"))
    says = f"params.yaml: {section}.{shown}: a row's name must begin with a letter and hold only"
    assert any(line.startswith(says) for line in lines), lines


def test_datasets_that_would_share_their_source_are_refused(study):
    copied_rows(study, "datasets", "WORDS")
    message = refusal(study, "download", "words")
    assert "datasets.WORDS: words has the same source, MTCIL_SOURCE_WORDS" in message


@pytest.mark.parametrize("name", NAMELESS.values(), ids=NAMELESS)
@pytest.mark.parametrize("section", ["datasets", "tunings", "base_models.words"])
def test_a_row_whose_name_is_not_text_is_refused(study, section, name):
    copied_rows(study, section, name)
    message = refusal(study, "download", "words")
    assert f"params.yaml: {section}.{name}: a key must be text, got " in message


def test_two_rows_of_one_name_are_refused_though_one_is_a_number(study):
    values = params(".")
    values["tunings"] |= {3: values["tunings"]["words"], "3": values["tunings"]["words"]}
    write_params(study, values)
    assert "params.yaml: tunings.3: a key must be text" in refusal(study, "download", "words")


def test_all_subsets_of_many_base_classes_are_refused(study):
    values = params(".")
    values["datasets"]["words"] |= {"classes": [f"c{i}" for i in range(30)], "steps": [30]}
    values["base_models"]["words"]["multitask"]["heads"] = "all"
    write_params(study, values)
    message = refusal(study, "download", "words")
    assert 'multitask.heads: heads "all" of 30 base classes are too many' in message


@pytest.mark.parametrize(
    ("place", "value", "says"),
    [
        ("comparisons.words.methods", ["ccil", "ccil"], "methods: duplicate entry"),
        ("comparisons.words.methods", ["hope"], "methods: there is no methods.hope"),
        ("tunings.words.methods", ["lwf", "lwf"], "methods: duplicate entry"),
        ("tunings.words.methods", ["hope"], "methods: there is no comparison.grids.hope"),
        ("datasets.words.features", "x", "features: there is no features.x. There are: gsc, us8k"),
        ("datasets.words.network", "x", "network: there is no networks.x. There are: gsc"),
    ],
)
def test_a_name_in_a_row_that_is_wrong_is_refused(study, place, value, says):
    values = params(".")
    section, row, key = place.split(".")
    values[section][row][key] = value
    write_params(study, values)
    message = refusal(study, "download", "words")
    assert message.startswith(f"error: params.yaml: {section}.{row}") and says in message


def test_two_base_models_that_a_table_of_orders_cannot_tell_apart_are_refused(study):
    values = params(".")
    rows = values["base_models"]["words"]
    rows |= {name: {"heads": "3", "order_seed": seed} for name, seed in (("a", 5), ("b", 5))}
    write_params(study, values)
    message = refusal(study, "download", "words")
    assert "base_models.words.b.order_seed: is that of a, which is trained alike" in message
    for other in ({"length": 2.0}, {"splits": ["group"]}):
        rows["b"] = {"heads": "3", "order_seed": 5} | other
        write_params(study, values)
        assert "b" in read_study(study / "params.yaml").base_models["words"]


def test_a_control_that_has_nothing_to_be_longer_than_is_refused(study):
    values = params(".")
    del values["base_models"]["words"]["multitask"]
    write_params(study, values)
    message = refusal(study, "download", "words")
    assert (
        "params.yaml: base_models.words.single_longer.control: longer than what? "
        "Add a row called multitask." in message
    )


def test_base_models_are_not_probed_without_a_probe(study):
    values = params(".") | {"settings": "settings.yaml"}
    text = (ROOT / "settings.yaml").read_text("utf-8")
    (study / "settings.yaml").write_text(text[: text.index("\nprobes:")] + "\nprobes: {}\n")
    write_params(study, values)
    message = refusal(study, "download", "words")
    assert message.startswith("error: settings.yaml: probes: name at least one, or empty base_prob")
    assert "`git checkout -- settings.yaml`" in message


@pytest.mark.parametrize("mistake", TEXTS)
def test_a_file_that_is_not_a_plain_mapping_is_refused(study, mistake):
    text, says = TEXTS[mistake]
    file = study / "params.yaml"
    file.write_text(text.replace("{good}", file.read_text("utf-8")), "utf-8")
    message = refusal(study, "download", "words")
    mistakes = [line for line in lines_of(message) if "params.yaml: " in line]
    assert len(mistakes) == 1 and says in mistakes[0] and len(message) < 700
    assert not (study / "ran").exists()


def test_a_file_that_is_not_utf_8_is_refused(study):
    file = study / "params.yaml"
    file.write_bytes(file.read_bytes() + "# \xe9\n".encode("latin-1"))
    assert "params.yaml: is not valid UTF-8" in refusal(study, "download", "words")


def test_a_folder_called_params_yaml_is_refused(tmp_path):
    (tmp_path / "params.yaml").mkdir()
    assert "cannot be read as YAML: [Errno 21] Is a directory" in refusal(tmp_path, "summarise")


@pytest.mark.parametrize(
    "change_bytes",
    [
        lambda good: b"\xef\xbb\xbf" + good,  # a byte order mark
        lambda good: good.replace(b"\n", b"\r\n"),
        lambda good: good.replace(b"seeds: [0, 1]", b"seeds: &s [0, 1]"),
    ],
)
def test_files_with_a_byte_order_mark_or_crlf_are_read_like_others(study, change_bytes):
    file = study / "params.yaml"
    expected = read_study(file)
    file.write_bytes(change_bytes(file.read_bytes()))
    assert read_study(file) == expected


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (None, "there is no such file"),
        ("", "cannot be read as JSON"),
        ("{", "cannot be read as JSON"),
        ("[1]", "must hold a mapping, got a list"),
        ("[" * 10**5, "recursion"),
        ("\0", "JSON"),
    ],
)
def test_a_json_file_that_is_not_a_mapping_is_refused(tmp_path, text, says):
    if text is not None:
        (tmp_path / "a.json").write_text(text)
    with pytest.raises(UserError, match=r"a\.json: .* Make it again: dvc repro\.") as refused:
        read_json(tmp_path / "a.json")
    assert says in str(refused.value)
