"""Stage probe_base: how general a base model's embeddings are, its backbone left as it is."""

from _learn import bases_of
from _study import RECORDS, row_of, run
from mtcil.records.tables import write_records
from mtcil.running.probe import known_probes, probe_all, probe_jobs
from mtcil.settings.study import Study


def main(study: Study, dataset: str) -> None:
    """Every probe on the base model of every seed."""
    bases = bases_of(study, dataset, study.starts(dataset, row_of(study, "base_probes", dataset)))
    jobs = probe_jobs(study.probes, bases)
    records = probe_all(jobs, study.machine, known_probes(RECORDS / "probe_base", dataset))
    write_records(RECORDS / "probe_base", dataset, records)


if __name__ == "__main__":
    run(main)
