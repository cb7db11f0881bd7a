"""Stage train_base: learn the base classes with several heads on one backbone."""

from _learn import bases_of
from _study import BASES, FEATURES, RECORDS, row_of, run
from mtcil.learning.split import audit_split, read_features, split_rows
from mtcil.records.tables import write_records
from mtcil.running.base_jobs import BaseJob
from mtcil.running.run import remove_others, train_all
from mtcil.settings.study import Study

SECTION = "base_models"


def main(study: Study, dataset: str) -> None:
    """One base model per row, split and seed, and a record of each."""
    bases = jobs(study, dataset)
    updates = train_all(bases, study.machine)
    remove_others(BASES / dataset, bases)
    _, clips = read_features(FEATURES / dataset)
    records, audits = [], {}
    for job, made in zip(bases, updates, strict=True):
        of = job.split, job.seed, job.order_seed
        if of not in audits:
            audits[of] = audit_split(clips, split_rows(clips, job.dataset, *of)[2])
        about = {**vars(job.name), "seed": job.seed, "updates": made}
        records.append({**about, **audits[of], "key": job.key})
    write_records(RECORDS / "train_base", dataset, records)


def jobs(study: Study, dataset: str) -> list[BaseJob]:
    """All base models of the stage."""
    row_of(study, SECTION, dataset)
    return bases_of(study, dataset, study.all_starts(dataset))


if __name__ == "__main__":
    run(main)
