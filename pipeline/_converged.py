"""`make converged`: validation accuracy of a study's single task with more and fewer updates."""

import tempfile
from pathlib import Path

from _study import CHECKPOINTS, FEATURES, run
from mtcil.reporting.inference import estimate, paired_by_seed
from mtcil.running.base_jobs import Folders
from mtcil.running.convergence import with_lengths
from mtcil.settings.study import Study

LENGTHS = (0.5, 1.0, 2.0)
N_SEEDS = 3  # none of them is a seed of the study


def main(study: Study) -> None:
    """A line per dataset and multiple of its updates: accuracy, and what it gains on half of them.

    The gain is the mean over seeds with half its 95 % interval.
    """
    first = max(study.seeds, default=-1) + 1
    print(f"Validation accuracy, %, mean of {N_SEEDS} seeds; gain: points over half the updates.")
    titles = ("updates", "base step", "gain", "later", "gain")
    print(f"{'dataset':16}", *map(str.rjust, titles, (8, 10, 13, 10, 13)))
    for dataset in study.base_models:
        with tempfile.TemporaryDirectory(prefix=".", dir=".") as models:  # all machines read it
            folders = Folders(FEATURES / dataset, Path(models), CHECKPOINTS)
            seeds = range(first, first + N_SEEDS)
            found = with_lengths(study, dataset, folders, seeds, LENGTHS)
        for length in found:
            cells = [f"{dataset:16} {length:6g} x"]
            for part in (0, 1):  # the base step, the later ones
                values, half = (
                    {s: of[part] for s, of in found[n].items()} if n in found else {}
                    for n in (length, length / 2)
                )
                gain = paired_by_seed(values, half)
                text = f"{gain.mean:+.1f} +- {(gain.high - gain.low) / 2:.1f}" if gain else ""
                cells.append(f"{estimate(list(values.values())).mean:10.1f} {text:>13}")
            print(" ".join(cells), flush=True)
    print("A study trains long enough if 2 x gains nothing.")


if __name__ == "__main__":
    run(main)
