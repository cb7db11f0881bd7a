"""Whether a study trains long enough: accuracy on validation clips with more updates."""

from collections.abc import Sequence
from dataclasses import replace

from mtcil.core.errors import UserError
from mtcil.learning.split import SplitData
from mtcil.records.measures import average_incremental_accuracy, step_accuracy
from mtcil.running.alone import follow
from mtcil.running.base_jobs import BaseJob, Folders, base_jobs
from mtcil.running.grid import with_base_training
from mtcil.running.jobs import RunJob, Variant, run_jobs
from mtcil.running.run import load_data, perform, run_training, train_all
from mtcil.settings.study import SINGLE, Study

Accuracies = dict[float, dict[int, tuple[float, float]]]


def with_lengths(
    study: Study, dataset: str, folders: Folders, seeds: Sequence[int], lengths: Sequence[float]
) -> Accuracies:
    """{length: {seed: (after the base step, average of later steps)}} of the single task.

    Percent, on a CPU, on the first of its splits. Validation clips also stop the training early;
    no test clip is predicted.

    Args:
        folders: base models are written into `models`; `checkpoints` is not used.
        lengths: multiples of the updates of all phases.

    Raises:
        UserError: if the dataset has no single task.
    """
    rows = study.base_models[dataset]
    if SINGLE not in rows:
        raise UserError(
            f"params.yaml: base_models.{dataset} has no row {SINGLE}, whose training would be "
            f"measured. There are: {', '.join(rows)}."
        )
    row = rows[SINGLE]
    length_of: dict[str, float] = {}
    runs: list[RunJob] = []
    for length in lengths:
        longer = with_base_training(study, dataset, {"length": length})
        own = replace(folders, models=folders.models / f"{length:g}")
        bases = base_jobs(longer, dataset, [(SINGLE, row.splits[0], seeds)], own, "cpu")
        train_all(bases, study.machine)
        own_length = study.methods[row.method].get("length", 1.0)
        variant = Variant(row.method, study.budget(dataset), {"length": length * own_length})
        made = run_jobs(study, bases, [variant])
        length_of |= {job.key: length for job in made}
        runs += made
    found: Accuracies = {length: {} for length in lengths}
    for job, steps in perform(validated, runs, study.machine, "runs", RunJob.size):
        of_length = found[length_of[job.key]]
        of_length[job.base.seed] = steps[0], average_incremental_accuracy(steps)
    return found


def validated(job: RunJob) -> tuple[RunJob, list[float]]:
    """Learn one run; its accuracy on the validation clips after each step, percent."""
    results = follow(run_training(job, _with_validation_for_test))
    return job, [step_accuracy(result.confusion) for result in results]


def _with_validation_for_test(job: BaseJob) -> SplitData:
    data = load_data(job)
    return replace(data, test=data.validation)
