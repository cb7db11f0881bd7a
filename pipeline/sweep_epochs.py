"""Stage sweep_epochs: the same incremental steps with other schedules and lengths."""

from _learn import jobs_of, learn
from _study import row_of, run
from mtcil.running.jobs import RunJob, Variant, own_training
from mtcil.running.schedules import scheduled, updates_of_epochs
from mtcil.settings.study import Study

SECTION = "epoch_sweeps"


def main(study: Study, dataset: str) -> None:
    """Figure 2, and the claims of section 3.3 on fine-tuning."""
    learn(study, "sweep_epochs", dataset, jobs(study, dataset))


def jobs(study: Study, dataset: str) -> list[RunJob]:
    """All runs of the stage."""
    sweep = row_of(study, SECTION, dataset)
    training, batch = own_training(study, dataset), study.step_training.sgd.batch // 2
    length = {
        n: None if n is None else updates_of_epochs(n, study.datasets[dataset], study.split, batch)
        for n in sweep.epochs
    }
    variants = [
        Variant(
            sweep.method,
            study.budget(dataset),
            training=scheduled(training, schedule, length[epochs], study.schedules),
            schedule=schedule,
            stopping="early" if epochs is None else str(epochs),
        )
        for schedule in sweep.schedules
        for epochs in sweep.epochs
    ]
    return jobs_of(study, dataset, sweep, variants)


if __name__ == "__main__":
    run(main)
