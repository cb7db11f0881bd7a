"""Stage ablate_losses: the same incremental steps with some of the loss terms left out."""

from _learn import learn_and_record
from _study import row_of, run
from mtcil.runs import Variant
from mtcil.study import Study


def main(study: Study, row: str) -> None:
    """Table 2."""
    ablation = row_of(study, "loss_ablations", row)
    budget = study.budget(ablation.dataset)
    variants = [
        Variant(ablation.method, budget, ablation.seeds, {"losses": losses})
        for losses in ablation.losses
    ]
    learn_and_record(study, "ablate_losses", row, ablation.base, variants)


if __name__ == "__main__":
    run(main)
