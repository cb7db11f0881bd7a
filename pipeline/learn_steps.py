"""Stage learn_steps: every incremental step at the K in force, from each base model of a row."""

from _learn import learn_and_record
from _study import row_of, run
from mtcil.runs import Variant
from mtcil.study import Study


def main(study: Study, row: str) -> None:
    """Figure 4 and the headline."""
    base = row_of(study, "base_models", row)
    variant = Variant(base.method, study.budget(base.dataset))
    learn_and_record(study, "learn_steps", row, row, [variant])


if __name__ == "__main__":
    run(main)
