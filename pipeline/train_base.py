"""Stage train_base: learn the base classes with several heads on one backbone."""

from _study import CHECKPOINTS, FEATURES, MODELS, RECORDS, row_of, run
from mtcil.device import choose_device
from mtcil.results import write_table
from mtcil.runs import base_tasks, save_base, split_of, train_all
from mtcil.study import Study


def main(study: Study, row: str) -> None:
    """One base model per seed, and a record of each."""
    base = row_of(study, "base_models", row)
    device = choose_device(study.machine.device)
    tasks = base_tasks(study, row, FEATURES / base.dataset, CHECKPOINTS, device)
    records = []
    for seed, learner in train_all(tasks, study):
        save_base(learner, MODELS / row / f"seed{seed}.pt")
        records.append(
            {
                "dataset": base.dataset,
                "split": split_of(study, row).kind,
                "heads": str(base.heads),
                "passes": base.passes,
                "seed": seed,
                "epochs": learner["epochs"]["base"],
            }
        )
    write_table(RECORDS / "train_base" / row / "records.csv", records)


if __name__ == "__main__":
    run(main)
