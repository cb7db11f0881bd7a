"""Stage compare_methods: every method from the same base models, with the same bytes of memory."""

from _learn import jobs_of, learn
from _study import row_of, run
from mtcil.running.jobs import RunJob, Variant, comparison_training
from mtcil.settings.study import Study

SECTION = "comparisons"


def main(study: Study, dataset: str) -> None:
    """Each method uses its settings of `comparison.tuned`."""
    learn(study, "compare_methods", dataset, jobs(study, dataset))


def jobs(study: Study, dataset: str) -> list[RunJob]:
    """All runs of the stage."""
    comparison = row_of(study, SECTION, dataset)
    how, budget = study.comparison, study.budget(dataset)
    training = comparison_training(study, dataset)
    kept = how.training.validation, how.training.validation_share
    variants = [
        Variant(method, budget, how.tuned.get(method, {}), training, *kept, stopping="fixed")
        for method in comparison.methods or study.methods
    ]
    return jobs_of(study, dataset, comparison, variants)


if __name__ == "__main__":
    run(main)
