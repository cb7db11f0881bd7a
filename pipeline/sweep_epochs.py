"""Stage sweep_epochs: the same incremental steps with other schedules and ends of fine-tuning."""

from _learn import learn_variants
from _study import row_of, run
from mtcil.running.jobs import Variant, own_training
from mtcil.running.schedules import scheduled, updates_of_epochs
from mtcil.settings.study import Study


def main(study: Study, dataset: str) -> None:
    """Figure 2, and what section 3.3 says of fine-tuning."""
    sweep = row_of(study, "epoch_sweeps", dataset)
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
    learn_variants(study, "sweep_epochs", dataset, sweep, variants)


if __name__ == "__main__":
    run(main)
