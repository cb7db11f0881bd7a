"""Stage train_base: learn the base classes with several heads on one backbone."""

from _study import CHECKPOINTS, FEATURES, MODELS, RECORDS, row_of, run
from mtcil.data import audit_split, read_features, split_rows
from mtcil.device import choose_device
from mtcil.results import write_table
from mtcil.runs import base_tasks, save_base, split_of, train_all
from mtcil.study import Study


def main(study: Study, row: str) -> None:
    """One base model per seed, and a record of each."""
    base = row_of(study, "base_models", row)
    device = choose_device(study.machine.device)
    features_dir = FEATURES / base.dataset
    tasks = base_tasks(study, row, study.seeds, features_dir, CHECKPOINTS, device)
    dataset, split = study.datasets[base.dataset], split_of(study, row)
    _, clips = read_features(features_dir)
    records = []
    for seed, learner in train_all(tasks, study):
        save_base(learner, MODELS / row / f"seed{seed}.pt")
        _, _, parts = split_rows(clips, dataset, split, seed)
        records.append(
            {
                "dataset": base.dataset,
                "split": split.kind,
                "heads": str(base.heads),
                "passes": base.passes,
                "control": base.control or "none",
                "seed": seed,
                "epochs": learner["epochs"]["base"],
                **audit_split(clips, parts),
            }
        )
    write_table(RECORDS / "train_base" / row / "records.csv", records)


if __name__ == "__main__":
    run(main)
