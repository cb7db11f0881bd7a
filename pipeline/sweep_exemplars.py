"""Stage sweep_exemplars: the same incremental steps over several memory budgets K."""

from _learn import learn_variants
from _study import row_of, run
from mtcil.running.jobs import Variant
from mtcil.settings.study import Study


def main(study: Study, dataset: str) -> None:
    """Figure 5; `exemplars`, the override of K, is not followed here."""
    sweep = row_of(study, "exemplar_sweeps", dataset)
    variants = [Variant(sweep.method, budget) for budget in sweep.exemplars]
    learn_variants(study, "sweep_exemplars", dataset, sweep, variants)


if __name__ == "__main__":
    run(main)
