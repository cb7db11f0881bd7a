"""What people write into params.yaml by mistake, or out of malice: each has its one message."""

import pytest
from refused import refusal
from tiny_study import change, params, write_params

from mtcil.config import read_json
from mtcil.errors import UserError
from mtcil.study import read_study

LONG = 10**400
WORDS = ["yes", "no", "up", "down"]

# A place in params.yaml, a wrong value, and what the message must say; more of them stand in
# test_run_errors.py (whole processes) and test_config.py (each type).
VALUES = {
    "a seed as a float": ("seeds", [0.0, 1.0], "seeds[0] must be int, got float 0.0"),
    "a seed as a truth value": ("seeds", [True], "seeds[0] must be int, got bool True"),
    "a negative seed": ("seeds", [-1], "seeds must be 0 or more"),
    "a seed of 101 bits": ("seeds", [2**100], "a number of at most 64 bits, got int of 101"),
    "a number of 400 digits": ("split.train", LONG, "split.train must be a number of at most 64"),
    "a list for a section": ("machine", [1], "machine must hold keys (`name: ...`), got list [1]"),
    "nothing for a section": ("step_training.head_first", None, "head_first must hold keys"),
    "a list of rows": ("methods", [1], "methods must be a section of rows, got list [1]"),
    "a number for a method": ("methods.ccil", 3, "methods.ccil must be a section of rows, got int"),
    "no list at all": ("seeds", None, "seeds must be a list, got NoneType None"),
    "infinite": ("features.words.seconds", float("inf"), "seconds must be a finite number"),
    "a negative rate": ("base_training.fit.learning_rate", -0.1, "learning_rate must be above 0"),
    "a batch of one": ("base_training.sgd.batch", 1, "batch must be 2 or more"),
    "no datasets": ("datasets", {}, "shown: there is no datasets.words"),
    "a number for a truth value": ("machine.fresh", 1, "machine.fresh must be bool, got int 1"),
    "thousands of processes": ("machine.jobs", 10**9, "jobs must be 0 to 1,024"),
    # classes and steps
    "one class": ("datasets.words.classes", ["yes"], "classes: name at least two"),
    "a class twice": ("datasets.words.classes", [*WORDS, "yes"], "a class stands twice"),
    "classes that differ by case": (
        "datasets.words.classes", [*WORDS, "Yes"], "two differ in capitals alone",
    ),
    "a class with a slash": ("datasets.words.classes", [*WORDS, "a/b"], "['a/b'] is no name of a"),
    "a class that climbs": ("datasets.words.classes", [*WORDS, ".."], "['..'] is no name of a"),
    "a class without a name": ("datasets.words.classes", [*WORDS, ""], "[''] is no name of a"),
    "a class of two lines": ("datasets.words.classes", [*WORDS, "a\nb"], r"['a\nb'] is no name"),
    "a space around a class": ("datasets.words.classes", [*WORDS, " a"], "[' a'] is no name"),
    "a step of no class": ("datasets.words.steps", [3, 1, 0, 1], "every step needs at least one"),
    "no steps": ("datasets.words.steps", [], "every step needs at least one class"),
    "a base step of one class": ("datasets.words.steps", [1, 4], "base step needs at least two"),
    "an order of other classes": ("datasets.words.class_order", ["yes"], "class_order must name"),
    "too few clips": ("datasets.words.clips_per_class", 3, "clips_per_class must be 10 or more"),
    "a negative budget": ("datasets.words.exemplars", -1, "exemplars must be 0 or more, got -1"),
    "no folds": ("datasets.words.folds", [], "folds: name at least one, or null"),
    "no list of clips to exclude": ("datasets.words.exclude", None, "exclude must be a list"),
    # heads
    "a task of one class": ("base_models.words_3.heads", "3-1", "every task needs 2 to 3 classes"),
    "a task larger than the base": ("base_models.words_3.heads", "3-4", "needs 2 to 3 classes"),
    "heads with a space": ("base_models.words_3.heads", " 3-2", "write heads as \"5-4-3-2\""),
    "heads with an underscore": ("base_models.words_3.heads", "3-0_2", "write heads as"),
    "heads that end in a dash": ("base_models.words_3.heads", "3-2-", "write heads as"),
    "heads as a list": ("base_models.words_3.heads", [3, 2], "heads must be str, got list [3, 2]"),
    "a headline that nothing has": ("headline", "mulitask", "headline must be one of 3, 3-2, mu"),
    "shown data that are not there": ("shown", "wrods", "there is no datasets.wrods"),
    # what would be measured twice
    "a set of losses twice": (
        "loss_ablations.words_3-2.losses", ["CE_N+CE_O", "CE_O+CE_N"], "losses: one stands twice",
    ),
    "an unknown loss": ("loss_ablations.words_3-2.losses", ["CE_X"], "losses must be CE_N and any"),
    "no losses": ("loss_ablations.words_3-2.losses", [], "losses: name at least one"),
    "a budget twice": ("exemplar_sweeps.words_3-2.exemplars", [5, 5], "exemplars: one stands"),
    "a seed of a row twice": ("exemplar_sweeps.words_3-2.seeds", [0, 0], "each once, or null"),
    "a seed that the study lacks": ("exemplar_sweeps.words_3-2.seeds", [7], "some of the study's"),
    "a tuning seed twice": ("comparison.tuning_seeds", [100, 100], "tuning_seeds: one stands"),
    "a negative tuning seed": ("comparison.tuning_seeds", [-1], "tuning_seeds must be 0 or more"),
    "a tuning seed of the study": ("comparison.tuning_seeds", [0], "tuning_seeds and methods.ccil"),
    "a method's seed twice": ("comparison.methods.ccil", [0, 0], "methods.ccil: one stands twice"),
    "a point of a grid twice": (
        "comparison.grids", {"replay": {"learning_rate": [0.1, 0.1]}}, "learning_rate: one stands",
    ),
    "a list in a grid": (
        "comparison.grids", {"replay": {"learning_rate": [[0.1]]}}, "values must be numbers, words",
    ),
    "a grid of no method": ("comparison.grids", {"lwf": {}}, "there is no methods.lwf beside it"),
    "no round": ("heads_timings.words.rounds", 0, "rounds must be 1 or more"),
    "no probes": ("probes", {}, "probes: name one, or empty base_probes"),
    # features and networks
    "pools that leave nothing": (
        "networks.words.pools", [40, 1], "its pools leave nothing of the 32 frames x 32 bins",
    ),
    "a network of a million channels": ("networks.words.channels", [10**6, 4], "1 to 4,096"),
    "an even kernel": ("networks.words.kernels", [2, 2], "kernels must be odd"),
    "lists of two lengths": ("networks.words.kernels", [3], "must be equally long"),
    "dropout of everything": ("networks.words.dropout", 1, "dropout must be 0 or more and below"),
    "more mel bins than frequencies": ("features.words.log_mel", 513, "at most half of n_fft 1024"),
    "a thousand octaves": ("features.words.contrast", 1030, "contrast must be 0, or bands + 1"),
    "a clip shorter than a frame": ("features.words.seconds", 0.01, "at least one frame of n_fft"),
    "more frozen blocks than there are": (
        "comparison.training.frozen_blocks", 9, "comparison.training.frozen_blocks is more than",
    ),
}  # fmt: skip
# Names of rows, which become folders.
ROWS = {
    "that climbs": ("datasets", "../x"),
    "with a slash": ("datasets", "a/b"),
    "that is hidden": ("datasets", ".x"),
    "that is empty": ("base_models", ""),
    "that is null": ("base_models", None),
    "of two lines": ("tunings", "a\nb"),
    "with a space": ("comparisons", "a b"),
}
# Ten lines that would be 10^9 items, or 2^39 mappings, written out.
LAUGHS = "exemplars: null\nprobes:\n  a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"  a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 10)
)
DEEP = "exemplars: null\nprobes:\n  a0: &a0 {x: 1}\n" + "".join(
    f"  a{i}: &a{i} {{p: *a{i - 1}, q: *a{i - 1}}}\n" for i in range(1, 40)
)
# What the whole file holds instead; {good} is what stood there.
TEXTS = {
    "nothing": ("", "must hold sections (`name: ...`), got NoneType None"),
    "only a remark": ("# no\n", "must hold sections"),
    "a list": ("- a\n", "must hold sections (`name: ...`), got list ['a']"),
    "a word": ("hello\n", "must hold sections (`name: ...`), got str 'hello'"),
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
    "an alias of itself": ("x: &x [*x]\n{good}", "has no key x"),
    "a number of 5,000 digits": ("x: " + "9" * 5000 + "\n{good}", "limit (4300 digits)"),
    "brackets without end": ("x: " + "[" * 1500, "maximum recursion depth exceeded"),
    "a key of two values": ("? [a, b]\n: 1\n{good}", "has no key ('a', 'b')"),
    "a key that is a mapping": ("? {a: 1}\n: 1\n{good}", "found unhashable key"),
    "a billion laughs": (
        "root: .\nheadline: a\nshown: b\n" + LAUGHS.replace("probes", "seeds"),
        "seeds must be a list, got dict {",
    ),
    "a billion laughs in a value": (LAUGHS + "root: *a9\n", "root must be str, got list [["),
    "mappings of mappings": (DEEP + "root: *a39\n", "root must be str, got dict {"),
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


@pytest.mark.parametrize("mistake", ROWS)
def test_a_row_whose_name_is_no_name_of_a_folder_is_refused(study, mistake):
    section, name = ROWS[mistake]
    values = params(".")
    values[section][name] = next(iter(values[section].values()))
    write_params(study, values)
    message = refusal(study, "download", "words")
    assert f"params.yaml: {section}: the name of a row must be one word" in message


def test_two_rows_of_one_name_are_refused_though_one_is_a_number(study):
    values = params(".")
    values["tunings"] |= {3: values["tunings"]["words"], "3": values["tunings"]["words"]}
    write_params(study, values)
    assert "and stand once; got str '3'" in refusal(study, "download", "words")


def test_all_subsets_of_many_base_classes_are_refused(study):
    values = params(".")
    values["datasets"]["words"] |= {"classes": [f"c{i}" for i in range(30)], "steps": [30]}
    values["datasets"]["words"]["multitask"] = "all"
    write_params(study, values)
    assert 'heads "all" of 30 base classes are too many' in refusal(study, "download", "words")


@pytest.mark.parametrize("mistake", TEXTS)
def test_a_file_that_is_no_plain_mapping_is_refused(study, mistake):
    text, says = TEXTS[mistake]
    file = study / "params.yaml"
    file.write_text(text.replace("{good}", file.read_text("utf-8")), "utf-8")
    message = refusal(study, "download", "words")
    assert says in message and len(message.splitlines()) == 1 and len(message) < 700
    assert not (study / "ran").exists()


def test_a_file_that_is_no_utf_8_is_refused(study):
    file = study / "params.yaml"
    file.write_bytes(file.read_bytes() + "# \xe9\n".encode("latin-1"))
    assert "params.yaml: is no UTF-8 text" in refusal(study, "download", "words")


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
def test_files_as_some_editors_write_them_are_read_alike(study, change_bytes):
    file = study / "params.yaml"
    expected = read_study(file)
    file.write_bytes(change_bytes(file.read_bytes()))
    assert read_study(file) == expected


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (None, "No such file"),
        ("", "cannot be read as JSON"),
        ("{", "cannot be read as JSON"),
        ("[1]", "must hold a mapping, got list [1]"),
        ("[" * 10**5, "recursion"),
        ("\0", "JSON"),
    ],
)
def test_a_json_file_that_holds_no_mapping_is_refused(tmp_path, text, says):
    if text is not None:
        (tmp_path / "a.json").write_text(text)
    with pytest.raises(UserError, match=r"a\.json: .* Make it again: dvc repro\.") as refused:
        read_json(tmp_path / "a.json")
    assert says in str(refused.value)
