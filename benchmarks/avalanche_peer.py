"""Peer: Avalanche's replay and our CCIL on one network, the same clips, batches and epochs.

`python benchmarks/avalanche_peer.py [directory] [--tiny]` prints Markdown. Avalanche is not a
dependency of this project: the script makes an environment of its own in `directory`
(.venv/avalanche unless given; needs the network once) and runs itself there, both sides in one
process of one thread. With `--tiny` only our side runs, without that environment. CPU seconds,
interleaved, medians. Below the tables it prints what is equal and what is not.

Avalanche's wheel asks for more than it uses. What `avalanche.training` imports is installed;
torchvision without its dependencies, as it is published for CUDA only. With a CPU build of torch
its binary does not load, and importing it fails because the operators `nms` and `qnms` are not
there. avalanche_side.py *declares* them, without code, so that the import passes: nothing calls
them.
"""

import os
import statistics
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path

import environment
from size import TINY, arguments, sized

os.environ["OMP_NUM_THREADS"] = "1"
ROOT = Path(__file__).parents[1]
WITH_DEPENDENCIES = (
    "torch==2.13.0", "numpy==2.4.6", "pandas==3.1.1", "joblib==1.6.0", "pydantic==2.14.4",
    "ruamel.yaml==0.19.1",
    "dill==0.4.1", "gdown==6.5.1", "gputil==1.4.0", "matplotlib==3.11.2", "packaging==26.3",
    "psutil==7.2.2", "qpsolvers==4.13.0", "scikit-learn==1.9.1", "setuptools==84.2.1",
    "tensorboard==2.21.0", "tqdm==4.70.1", "wandb==0.31.0",
)  # fmt: skip
ALONE = (
    "avalanche-lib==0.6.0", "torchvision==0.28.0", "torchmetrics==1.9.0", "pytorchcv==0.0.74",
    "lightning-utilities==0.15.3", "pillow==13.0.0",
)  # fmt: skip
REPEATS = sized(3, 1)


if __name__ == "__main__" and not TINY and arguments() != ["--inside"]:
    directory = Path(arguments()[0] if arguments() else ROOT / ".venv/avalanche")
    python = environment.make(directory, WITH_DEPENDENCIES, ALONE)
    command = [str(python), __file__, "--inside"]
    sys.exit(subprocess.run(command, env=environment.variables()).returncode)

from peer_case import (  # noqa: E402
    BASE,
    DATASET,
    SGD,
    STEP,
    TRAIN,
    Times,
    describe,
    ours,
)

from mtcil.running.device import prepare_worker  # noqa: E402

OURS, THEIRS = "ours, CCIL", "Avalanche, Naive and ReplayPlugin"


def cases() -> dict[str, Callable[[int], Times]]:
    """What is timed, by name."""
    if TINY:
        return {OURS: ours}
    from avalanche_side import avalanche

    frozen = partial(avalanche, STEP.frozen_blocks)
    return {OURS: ours, THEIRS: partial(avalanche, 0), "the same, our frozen blocks": frozen}


def middle(runs: list[Times], phase: str) -> float:
    """Median CPU milliseconds of an update."""
    return 1e3 * statistics.median(run.per_update(phase) for run in runs)


NOTES = """
Equal: the network (`mtcil.learning.network.Network`, the same first weights, dropout at the \
same rate), the clips and their order of classes, SGD with the same momentum and weight decay, \
the learning rates, updates and batch ({batch}), K = {k} exemplars, no early stopping, one test of \
all classes seen after each step, one thread, denormals flushed and memory kept \
(`prepare_worker`), the process. A batch of a step holds {batch} new clips on both sides.

Not equal:
- What is learnt. Theirs: one cross entropy over new clips and exemplars. Ours: cross entropy of \
the new clips among the new classes, of a balanced set (exemplars and as many new clips) among \
all, and distillation of both from the old network, whose logits are computed once per step.
- The clips beside the new ones: ours are always {batch}, of the balanced set; theirs are up to \
{batch} exemplars, fewer where a pass over the memory ends. An update of a step passes \
{our_rows:.0f} clips forward in ours, {rows:.0f} in theirs: per clip, theirs takes \
{per_clip:.2f} x ours.
- `head_first` freezes all blocks in ours, and what they make of the clips is computed once per \
phase. Naive has no such phase: it trains everything in those updates. The last row freezes the \
same blocks by a plugin of this file, and still passes every batch forward through them.
- Exemplars: theirs chosen at random, {k} shared by the steps seen; ours by herding, {k} // \
classes of each class seen.
- Batches: theirs are gathered clip by clip by a DataLoader (no workers); ours by one index.
- Avalanche is lightened: its logger is off and one metric is left of the default ones.
- The times of updates leave out what a step does once (the teacher's logits, the frozen blocks' \
maps, choosing exemplars, testing); the trajectory holds all of it.
- Accuracy is on noise with an easy mark: it says that both sides learn, nothing more.
"""


def main() -> None:
    prepare_worker("cpu")
    names = ("torch", "numpy", *([] if TINY else ["avalanche-lib", "torchvision"]))
    print(f"{', '.join(f'{name} {version(name)}' for name in names)}; CPU, one thread")
    steps = "-".join(map(str, DATASET.steps))
    print(
        f"{steps} classes, {len(TRAIN) // sum(DATASET.steps)} clips each; updates: base "
        f"{describe(BASE)}, each step {describe(STEP.head_first)} then {describe(STEP.then_all)}; "
        f"medians of {REPEATS} runs\n"
    )
    runs_by_name = cases()
    found: dict[str, list[Times]] = {name: [] for name in runs_by_name}
    for seed in range(REPEATS):
        for name, run in runs_by_name.items():
            found[name].append(run(seed))
    first = found[OURS]
    total = statistics.median(run.total for run in first)
    print(
        "| CPU (x ours, CCIL) | base, ms an update | head_first | then_all "
        "| trajectory, s | accuracy |\n| --- | --- | --- | --- | --- | --- |"
    )
    for name, runs in found.items():
        cells = [name]
        for phase in ("base", "head_first", "then_all"):
            spent = middle(runs, phase)
            cells.append(f"{spent:.2f} ({spent / middle(first, phase):.2f})")
        seconds = statistics.median(run.total for run in runs)
        spread = f"{min(r.total for r in runs):.1f} to {max(r.total for r in runs):.1f}"
        cells.append(f"{seconds:.1f}, {spread} ({seconds / total:.2f})")
        cells.append(f"{statistics.median(run.accuracy for run in runs):.2f}")
        print(f"| {' | '.join(cells)} |")
    if THEIRS not in found:
        return
    theirs = found[THEIRS]
    rows, our_rows = (
        runs[0].rows["then_all"] / runs[0].updates["then_all"] for runs in (theirs, first)
    )
    per_clip = middle(theirs, "then_all") / rows / (middle(first, "then_all") / our_rows)
    print(
        NOTES.format(
            batch=SGD.batch, k=DATASET.exemplars, rows=rows, our_rows=our_rows, per_clip=per_clip
        )
    )


if __name__ == "__main__":
    main()
