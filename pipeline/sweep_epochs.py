"""Stage sweep_epochs: the same incremental steps with other schedules and ends of fine-tuning."""

from _learn import learn_variants
from _study import row_of, run
from mtcil.running.jobs import Variant
from mtcil.running.schedules import scheduled
from mtcil.settings.study import Study


def main(study: Study, dataset: str) -> None:
    """Figure 2, and what section 3.3 says of fine-tuning."""
    sweep = row_of(study, "epoch_sweeps", dataset)
    variants = [
        Variant(
            sweep.method,
            study.budget(dataset),
            training=scheduled(study.step_training, schedule, epochs, study.schedules),
            schedule=schedule,
            stopping="early" if epochs is None else str(epochs),
        )
        for schedule in sweep.schedules
        for epochs in sweep.epochs
    ]
    learn_variants(study, "sweep_epochs", dataset, sweep, variants)


if __name__ == "__main__":
    run(main)
