"""Stage ablate_losses: the same incremental steps with some of the loss terms left out."""

from _learn import learn_variants
from _study import row_of, run
from mtcil.running.jobs import Variant
from mtcil.settings.study import Study


def main(study: Study, dataset: str) -> None:
    """Table 2."""
    ablation = row_of(study, "loss_ablations", dataset)
    budget = study.budget(dataset)
    variants = [Variant(ablation.method, budget, {"losses": losses}) for losses in ablation.losses]
    learn_variants(study, "ablate_losses", dataset, ablation, variants)


if __name__ == "__main__":
    run(main)
