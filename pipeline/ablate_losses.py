"""Stage ablate_losses: the same incremental steps without some of the loss terms."""

from _learn import jobs_of, learn
from _study import row_of, run
from mtcil.running.jobs import RunJob, Variant
from mtcil.settings.study import Study

SECTION = "loss_ablations"


def main(study: Study, dataset: str) -> None:
    """Table 2."""
    learn(study, "ablate_losses", dataset, jobs(study, dataset))


def jobs(study: Study, dataset: str) -> list[RunJob]:
    """All runs of the stage."""
    ablation = row_of(study, SECTION, dataset)
    budget = study.budget(dataset)
    variants = [Variant(ablation.method, budget, {"losses": losses}) for losses in ablation.losses]
    return jobs_of(study, dataset, ablation, variants)


if __name__ == "__main__":
    run(main)
