"""Stage probe_base: measure how general a base model's embeddings are, with a frozen backbone."""

from _learn import bases_of
from _study import RECORDS, row_of, run
from mtcil.records.tables import write_records
from mtcil.running.probe import known_probes, probe_all, probe_jobs
from mtcil.running.run import forget_checkpoints
from mtcil.settings.study import Study


def main(study: Study, dataset: str) -> None:
    """Run every probe on every base model and seed."""
    bases = bases_of(study, dataset, study.starts(dataset, row_of(study, "base_probes", dataset)))
    jobs = probe_jobs(study.probes, bases)
    records = probe_all(jobs, study.machine, known_probes(RECORDS / "probe_base", dataset))
    write_records(RECORDS / "probe_base", dataset, records)
    forget_checkpoints(jobs)


if __name__ == "__main__":
    run(main)
