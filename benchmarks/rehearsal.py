"""The paper's study at full size, on features of noise: `python benchmarks/rehearsal.py`.

`train_base` and `learn_steps` of single task and multitask run whole, one seed, on as many clips as
the datasets have. All else is an estimate: of each kind of phase a twentieth of the updates is
timed and scaled, several at once as runs are trained. It needs 3 GB of disk for a while.
"""

import os
import resource
import sys
import tempfile
import time
from importlib import import_module
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"
ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "pipeline"))

import torch  # noqa: E402
from made import made_features, shortened  # noqa: E402
from size import sized  # noqa: E402

from mtcil.core.processes import jobs_at_once  # noqa: E402
from mtcil.running.base_jobs import Folders, base_jobs  # noqa: E402
from mtcil.running.device import choose_device  # noqa: E402
from mtcil.running.estimate import print_costs  # noqa: E402
from mtcil.running.jobs import Variant, run_jobs  # noqa: E402
from mtcil.running.run import learn_all, train_all  # noqa: E402
from mtcil.settings.files import read_study  # noqa: E402
from mtcil.settings.study import MULTITASK, SINGLE, Study  # noqa: E402

SHARE = 0.05  # of the updates that are timed for an estimate
STAGES = ("train_base", "learn_steps", "sweep_exemplars", "ablate_losses", "sweep_epochs")
STAGES += sized(("tune_methods", "compare_methods"), ())


def main() -> None:
    study = shortened(read_study(ROOT / "params.yaml"))
    device = choose_device("auto")
    name = torch.cuda.get_device_name() if device == "cuda" else f"CPU, {jobs_at_once(0)} cores"
    print(f"torch {torch.__version__}, {name}")
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        features = Path("data/features")
        made_features(features, study)
        size = sum(file.stat().st_size for file in features.rglob("*"))
        measured(study, device, features)
        estimated(study)
        os.chdir("/")
    peak = max(
        resource.getrusage(who).ru_maxrss
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    print(f"\nFeatures: {size / 1e9:.1f} GB of disk. Largest process: {peak / 1e6:.1f} GB.")
    if device == "cuda":
        print(f"GPU memory: {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB.")


def measured(study: Study, device: str, features: Path) -> None:
    """Single task and multitask, one seed, whole."""
    print("\n| measured, one seed | runs | updates | wall s |\n| --- | --- | --- | --- |")
    for dataset, settings in study.datasets.items():
        folders = Folders(features / dataset, Path("models") / dataset, Path("checkpoints"))
        starts = [(SINGLE, "random", [0]), (MULTITASK, "random", [0])]
        bases = base_jobs(study, dataset, starts, folders, device)
        jobs = run_jobs(study, bases, [Variant("ccil", settings.exemplars)])
        start = time.perf_counter()
        made = sum(train_all(bases, study.machine))
        middle = time.perf_counter()
        rows = learn_all(jobs, study.machine, {})["records"]
        seconds = middle - start, time.perf_counter() - middle
        later = sum(row["updates"] for row in rows if row["step"] > 0)
        print(f"| train_base, {dataset} | {len(bases)} | {made:,} | {seconds[0]:.0f} |")
        print(
            f"| learn_steps, {dataset} | {len(jobs)} | {later:,} | {seconds[1]:.0f} |", flush=True
        )


def estimated(study: Study) -> None:
    """All stages that train, all seeds."""
    print(f"\nEstimated from {SHARE:.0%} of the updates:\n\n```")
    print_costs(study, map(import_module, STAGES), SHARE)
    print("```")


if __name__ == "__main__":
    main()
