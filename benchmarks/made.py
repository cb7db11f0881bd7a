"""Features of noise, as many and as large as a dataset's, for what needs only their size."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from size import TINY

from mtcil.settings.sections import UpdateSettings
from mtcil.settings.study import Study


def shortened(study: Study) -> Study:
    """The same study; with `--tiny`, of a few updates and clips."""
    if not TINY:
        return study
    few = UpdateSettings(base=4, head_first=2, then_all=2, compare=4)
    datasets = {
        name: replace(of, updates=few, clips_per_class=12) for name, of in study.datasets.items()
    }
    return replace(study, datasets=datasets)


def made_features(folder: Path, study: Study) -> None:
    """Write `<dataset>/features.npy` and `clips.csv` for every dataset below a folder.

    Every class has a patch of its own, so that it can be learnt.

    """
    for name, dataset in study.datasets.items():
        shape = study.features[dataset.features]
        n, place = dataset.clips_per_class, folder / name
        place.mkdir(parents=True)
        size = (n * len(dataset.classes), shape.n_frames, shape.n_bins)
        features = np.lib.format.open_memmap(place / "features.npy", "w+", np.float32, size)
        rng = np.random.default_rng(0)
        for k in range(len(dataset.classes)):
            rows = slice(k * n, (k + 1) * n)
            features[rows] = rng.standard_normal((n, *size[1:]), dtype=np.float32)
            features[rows, 3 * k % (size[1] - 3) :][:, :3] += 1
        features.flush()
        pd.DataFrame(
            [
                (f"{label}/{i}", label, f"{label}{i % 40}", 0, 1.0)
                for label in dataset.classes
                for i in range(n)
            ],
            columns=["id", "class", "group", "fold", "seconds"],
        ).to_csv(place / "clips.csv", index=False)
