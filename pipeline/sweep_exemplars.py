"""Stage sweep_exemplars: the same incremental steps with several memory budgets K."""

from _learn import jobs_of, learn
from _study import row_of, run
from mtcil.running.jobs import RunJob, Variant
from mtcil.settings.study import Study

SECTION = "exemplar_sweeps"


def main(study: Study, dataset: str) -> None:
    """Figure 5. The override of K, `exemplars`, is ignored here."""
    learn(study, "sweep_exemplars", dataset, jobs(study, dataset))


def jobs(study: Study, dataset: str) -> list[RunJob]:
    """All runs of the stage."""
    sweep = row_of(study, SECTION, dataset)
    variants = [Variant(sweep.method, budget) for budget in sweep.exemplars]
    return jobs_of(study, dataset, sweep, variants)


if __name__ == "__main__":
    run(main)
