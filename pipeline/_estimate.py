"""`make estimate`: estimate the runs, updates, hours and memory of a study on this machine."""

import os
import tempfile
from importlib import import_module

from _study import FEATURES, run
from mtcil.core.processes import jobs_at_once
from mtcil.running.device import choose_device
from mtcil.running.estimate import HEADER, bytes_of, conclusion, cost_of, line, sum_of
from mtcil.settings.study import Study

STAGES = (
    "train_base", "learn_steps", "sweep_exemplars", "ablate_losses", "sweep_epochs",
    "tune_methods", "compare_methods",
)  # fmt: skip


def main(study: Study) -> None:
    """Only training is timed; runs shared by several stages are counted once."""
    costs, seen = [], set[str]()
    features = {name: study.features[of.features] for name, of in study.datasets.items()}
    print(HEADER)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)  # a job's key needs feature files, which may not exist yet
        for name in study.datasets:
            (FEATURES / name).mkdir(parents=True)
            for file in ("features.npy", "clips.csv"):
                (FEATURES / name / file).touch()
        for stage in map(import_module, STAGES):
            for name in getattr(study, stage.SECTION):
                jobs = {job.key: job for job in stage.jobs(study, name) if job.key not in seen}
                seen |= set(jobs)
                costs.append(cost_of(list(jobs.values()), features[name]))
                print(line(stage.__name__, name, costs[-1]), flush=True)
        os.chdir("/")
    largest = max(bytes_of(of, features[name]) for name, of in study.datasets.items())
    n_jobs = jobs_at_once(study.machine.jobs)
    print(line("all", "", sum_of(costs)))
    print(conclusion(sum_of(costs), choose_device(study.machine.device), n_jobs, largest))


if __name__ == "__main__":
    run(main)
