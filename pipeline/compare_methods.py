"""Stage compare_methods: every method from the same base models, with the same bytes of memory."""

from _learn import learn_variants
from _study import row_of, run
from mtcil.running.jobs import Variant, comparison_training
from mtcil.settings.study import Study


def main(study: Study, dataset: str) -> None:
    """Each with the settings that `comparison.tuned` has for it."""
    comparison = row_of(study, "comparisons", dataset)
    how, budget = study.comparison, study.budget(dataset)
    training = comparison_training(study, dataset)
    kept = how.training.validation, how.training.validation_share
    variants = [
        Variant(method, budget, how.tuned.get(method, {}), training, *kept, stopping="fixed")
        for method in comparison.methods or study.methods
    ]
    learn_variants(study, "compare_methods", dataset, comparison, variants)


if __name__ == "__main__":
    run(main)
