"""Classes by name: each seed has its own class order, and records count by place in it.

The one module of reporting that asks `mtcil.learning`: how an order is drawn is stated once, in
`protocol`, which needs no torch.
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mtcil.core.errors import UserError
from mtcil.core.randomness import numpy_generator
from mtcil.learning.protocol import draw_class_order
from mtcil.records.tables import confusion_from_text
from mtcil.settings.study import Study


def shown_order(study: Study, dataset: str) -> tuple[str, ...]:
    """The classes in the order in which tables list them: the fixed one, or the params file's."""
    settings = study.datasets[dataset]
    return settings.class_order or settings.classes


def class_order(study: Study, dataset: str, base: str, seed: int) -> tuple[str, ...]:
    """The order in which a run learnt the classes, drawn again from its seed."""
    settings, row = study.datasets[dataset], study.base_models[dataset].get(base)
    given = None if row is None else row.order_seed
    rng = numpy_generator(seed if given is None else given, "class order")
    return settings.class_order or draw_class_order(settings.classes, rng)


def counts_by_name(study: Study, runs: pd.DataFrame) -> dict[int, NDArray[np.int64]]:
    """{seed: counts after the last step}; rows are true classes, in `shown_order`.

    Args:
        runs: confusion records of one variant.

    Raises:
        UserError: the records are of another number of classes than params.yaml names.
    """
    found = {}
    for row in runs[runs["step"] == runs["step"].max()].to_dict("records"):
        dataset, base, seed = str(row["dataset"]), str(row["base"]), int(row["seed"])
        names, counts = shown_order(study, dataset), confusion_from_text(row["counts"])
        if len(counts) != len(names):
            raise UserError(
                f"The records of {base} of {dataset} count {len(counts)} classes, but params.yaml "
                f"names {len(names)}. Make them again: dvc repro learn_steps@{dataset}."
            )
        order = class_order(study, dataset, base, seed)
        places = [order.index(name) for name in names]
        found[seed] = counts[np.ix_(places, places)]
    return found
