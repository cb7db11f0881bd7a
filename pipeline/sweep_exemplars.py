"""Stage sweep_exemplars: the same incremental steps over several memory budgets K."""

from _learn import learn_and_record
from _study import row_of, run
from mtcil.runs import Variant
from mtcil.study import Study


def main(study: Study, row: str) -> None:
    """Figure 5; `exemplars`, the override of K, is not followed here."""
    sweep = row_of(study, "exemplar_sweeps", row)
    variants = [Variant(sweep.method, budget, sweep.seeds) for budget in sweep.exemplars]
    learn_and_record(study, "sweep_exemplars", row, sweep.base, variants)


if __name__ == "__main__":
    run(main)
