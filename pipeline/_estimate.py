"""`make estimate`: estimate the runs, updates, hours and memory of a study on this machine."""

import os
import tempfile
from importlib import import_module

from _study import FEATURES, run
from mtcil.core.processes import jobs_at_once
from mtcil.running.device import choose_device
from mtcil.running.estimate import bytes_of, conclusion, print_costs
from mtcil.settings.study import AUXILIARY, Study

STAGES = (
    "train_base", "learn_steps", "sweep_exemplars", "ablate_losses", "sweep_epochs",
    "tune_methods", "compare_methods",
)  # fmt: skip


def main(study: Study) -> None:
    """Time a few updates of each kind of phase, and print what all of them cost."""
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)  # a job's key needs feature files, which may not exist yet
        for name in study.datasets:
            for place in (FEATURES / name, FEATURES / name / AUXILIARY):
                place.mkdir(parents=True)
                for file in ("features.npy", "clips.csv"):
                    (place / file).write_text(name)  # datasets have different clips
        total = print_costs(study, map(import_module, STAGES))
        os.chdir("/")
    largest = max(bytes_of(of, study.features[of.features]) for of in study.datasets.values())
    n_jobs = jobs_at_once(study.machine.jobs)
    print(conclusion(total, choose_device(study.machine.device), n_jobs, largest))


if __name__ == "__main__":
    run(main)
