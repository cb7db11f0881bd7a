"""Stage learn_steps: every incremental step at the study's K, from every base model."""

from _learn import bases_of, learn
from _study import row_of, run
from mtcil.running.jobs import RunJob, Variant, run_jobs
from mtcil.settings.study import Study

SECTION = "base_models"


def main(study: Study, dataset: str) -> None:
    """Figure 4 and the headline."""
    learn(study, "learn_steps", dataset, jobs(study, dataset))


def jobs(study: Study, dataset: str) -> list[RunJob]:
    """All runs of the stage."""
    rows, found = row_of(study, SECTION, dataset), []
    bases = bases_of(study, dataset, study.all_starts(dataset))
    for name, row in rows.items():
        of_row = [base for base in bases if base.name.base == name]
        found += run_jobs(study, of_row, [Variant(row.method, study.budget(dataset))])
    return found


if __name__ == "__main__":
    run(main)
