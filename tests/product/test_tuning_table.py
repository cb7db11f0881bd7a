"""The table of all points that were tried: numbers by hand."""

from pathlib import Path

import pandas as pd

from mtcil.settings.files import read_study
from mtcil.tables import tuning

STUDY = read_study(Path(__file__).parents[2] / "params.yaml")
POINTS = {  # averages of two seeds
    ("single", "ccil kd_weight=0.1"): (70.0, 74.0),
    ("single", "ccil kd_weight=0.3"): (80.0, 80.0),
    ("single", "replay learning_rate=0.1"): (50.0, 60.0),
    ("single learning_rate=0.02", "ccil"): (90.0, 92.0),
    ("single learning_rate=0.05", "ccil"): (85.0, 85.0),
}


def test_every_point_has_a_line_and_the_best_of_each_grid_is_marked():
    records = pd.DataFrame(
        [
            {"dataset": "gsc", "split": "group", "base": base, "method": method, "seed": seed,
             "step": step, "accuracy": accuracy}
            for (base, method), of in POINTS.items()
            for seed, average in enumerate(of)
            for step, accuracy in enumerate((96.0 + seed, average + 1, average - 1))
        ]
    )  # fmt: skip
    table = tuning.table(STUDY, records)
    assert list(zip(table["base"], table["method"], strict=True)) == list(POINTS)
    assert table["mean"].tolist() == [72.0, 80.0, 55.0, 91.0, 85.0]
    assert table["best"].tolist() == [0, 1, 1, 1, 0]
    header, lines = tuning.markdown(table)
    assert dict(zip(header, lines[0], strict=True)) == {
        "dataset": "gsc", "split": "group", "base": "single", "method": "ccil kd_weight=0.1",
        "seeds": "2", "base step": "96.5", "average": "72.0", "SD": "2.8", "best": "",
    }  # fmt: skip
    assert [line[-1] for line in lines] == ["", "best", "best", "best", ""]


def test_a_study_that_tunes_nothing_has_no_such_table():
    assert tuning.table(STUDY, pd.DataFrame()).empty
