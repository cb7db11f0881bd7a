"""audit_split by hand: a test clip leaks if its group is in the training part too."""

import numpy as np
import pandas as pd

from mtcil.learning.split import audit_split


def test_leaking_test_clips_by_hand():
    table = pd.DataFrame({"group": ["ann", "ann", "bob", "cy", "cy", "cy", "dan"]})
    rows = {"train": [0, 3], "test": [1, 2, 4, 5], "validation": [6]}
    parts = {part: np.array(of_part) for part, of_part in rows.items()}
    assert audit_split(table, parts) == {
        "train_clips": 2,
        "test_clips": 4,
        "validation_clips": 1,
        "leaking_test_clips": 3,  # 1 of ann; 4 and 5 of cy
    }
