"""Stage learn_steps: every incremental step at the K in force, from every base model."""

from _learn import bases_of, learn
from _study import row_of, run
from mtcil.running.jobs import Variant, run_jobs
from mtcil.settings.study import Study


def main(study: Study, dataset: str) -> None:
    """Figure 4 and the headline."""
    rows, jobs = row_of(study, "base_models", dataset), []
    bases = bases_of(study, dataset, study.all_starts(dataset))
    for name, row in rows.items():
        of_row = [base for base in bases if base.name.base == name]
        jobs += run_jobs(study, of_row, [Variant(row.method, study.budget(dataset))])
    learn(study, "learn_steps", dataset, jobs)


if __name__ == "__main__":
    run(main)
