"""Stage summarise: turn all records into tables, the summary and the ledger of claims."""

import json

from _study import METRICS, RECORDS, TABLES, run
from mtcil.core.files import write_text
from mtcil.core.lookup import find, names
from mtcil.records.tables import read_stage, write_table
from mtcil.reporting.claims import ledger
from mtcil.reporting.summary import headline, probe_correlation, summarise_bases
from mtcil.reporting.table_files import page_of, write_tables
from mtcil.settings.reader import read_json
from mtcil.settings.study import Study


def main(study: Study) -> None:
    """Read only records of datasets that are in the sections of `params.yaml`."""
    records = read_stage(RECORDS, "learn_steps", study.base_models)
    matrices = read_stage(RECORDS, "learn_steps", study.base_models, "matrix")
    bases = read_stage(RECORDS, "train_base", study.base_models)
    probes = read_stage(RECORDS, "probe_base", study.base_probes)
    summary = {
        "datasets": {n: read_json(RECORDS / f"extract_features/{n}.json") for n in study.datasets},
        "base_models": summarise_bases(records, matrices, bases),
        "probe_correlation": probe_correlation(probes, records),
    }
    tables, pages = {}, {}
    for name, of in [(n, find("tables", n)) for n in names("tables")]:
        rows = getattr(study, of.SECTION)
        table = of.table(study, read_stage(RECORDS, of.STAGE, rows, of.RECORDS))
        if len(table):
            tables[name], pages[name] = table, page_of(of, table)
    read = {n: read_stage(RECORDS, n, getattr(study, s)) for n, s in ledger.SECTIONS.items()}
    claims = ledger.table(study, read, tables)
    # Everything is read; the rest only writes.
    write_tables(TABLES, tables, pages)
    write_text(METRICS / "summary.json", json.dumps(summary, indent=2) + "\n")
    write_text(METRICS / "headline.json", json.dumps(headline(study, records), indent=2) + "\n")
    write_table(METRICS / "claims.csv", claims.to_dict("records"))
    write_text(METRICS / "claims.md", ledger.markdown(claims))


if __name__ == "__main__":
    run(main)
