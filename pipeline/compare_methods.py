"""Stage compare_methods: every method from the same base models, with the same bytes of memory."""

from _learn import learn_and_record
from _study import RECORDS, row_of, run
from mtcil.config import read_json
from mtcil.errors import UserError
from mtcil.runs import Variant
from mtcil.study import Study


def main(study: Study, row: str) -> None:
    """Each with the settings that tune_methods chose for it, if it has a grid."""
    comparison = row_of(study, "comparisons", row)
    file = RECORDS / "tune_methods" / comparison.tuning / "chosen.json"
    again = f"Make it again: dvc repro --force tune_methods@{comparison.tuning}."
    chosen = read_json(file, again)
    if not all(isinstance(settings, dict) for settings in chosen.values()):
        raise UserError(f"{file}: must hold the settings of each method. {again}")
    how, budget = study.comparison, study.budget(comparison.dataset)
    variants = [
        Variant(method, budget, seeds, chosen.get(method, {}), how.training, stopping="fixed")
        for method, seeds in how.methods.items()
    ]
    learn_and_record(study, "compare_methods", row, comparison.base, variants)


if __name__ == "__main__":
    run(main)
