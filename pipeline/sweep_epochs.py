"""Stage sweep_epochs: the same incremental steps with other schedules and ends of fine-tuning."""

from _learn import learn_and_record
from _study import row_of, run
from mtcil.fine_tuning import scheduled
from mtcil.runs import Variant
from mtcil.study import Study


def main(study: Study, row: str) -> None:
    """Figure 2, and what section 3.3 says of fine-tuning."""
    sweep = row_of(study, "epoch_sweeps", row)
    budget = study.budget(sweep.dataset)
    rates = sweep.large_rate, sweep.small_rate
    variants = [
        Variant(
            sweep.method,
            budget,
            sweep.seeds,
            training=scheduled(study.step_training, schedule, epochs, *rates),
            schedule=schedule,
            stopping="early" if epochs is None else str(epochs),
        )
        for schedule in sweep.schedules
        for epochs in sweep.epochs
    ]
    learn_and_record(study, "sweep_epochs", row, sweep.base, variants)


if __name__ == "__main__":
    run(main)
