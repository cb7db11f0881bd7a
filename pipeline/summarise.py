"""Stage summarise: all records of the study into tables, the summary and the ledger of claims."""

import json

from _study import METRICS, RECORDS, TABLES, run
from mtcil.core.files import write_text
from mtcil.core.lookup import find, names
from mtcil.records.tables import read_stage, write_markdown, write_table
from mtcil.reporting.claims import ledger
from mtcil.reporting.summary import headline, probe_correlation, summarise_bases
from mtcil.settings.reader import read_json
from mtcil.settings.study import Study


def main(study: Study) -> None:
    """Only records of datasets that the sections of `params.yaml` name are read."""
    records = read_stage(RECORDS, "learn_steps", study.base_models)
    matrices = read_stage(RECORDS, "learn_steps", study.base_models, "matrix")
    bases = read_stage(RECORDS, "train_base", study.base_models)
    probes = read_stage(RECORDS, "probe_base", study.base_probes)
    datasets = {n: read_json(RECORDS / f"extract_features/{n}.json") for n in study.datasets}
    summary = {
        "datasets": datasets,
        "base_models": summarise_bases(records, matrices, bases),
        "probe_correlation": probe_correlation(probes, records),
    }
    read = {n: read_stage(RECORDS, n, getattr(study, s)) for n, s in ledger.SECTIONS.items()}
    claims = ledger.table(study, read)
    tables = []
    for name, figure in [(n, find("figures", n)) for n in names("figures")]:
        rows = getattr(study, figure.SECTION)
        table = figure.table(study, read_stage(RECORDS, figure.STAGE, rows, figure.RECORDS))
        tables += [(name, figure, table)] if len(table) else []
    # All is read: what follows only writes.
    write_text(METRICS / "summary.json", json.dumps(summary, indent=2) + "\n")
    write_text(METRICS / "headline.json", json.dumps(headline(study, records), indent=2) + "\n")
    write_table(METRICS / "claims.csv", claims.to_dict("records"))
    write_text(METRICS / "claims.md", ledger.markdown(claims))
    for name, figure, table in tables:
        write_table(TABLES / f"{name}.csv", table.to_dict("records"))
        write_markdown(TABLES / f"{name}.md", *figure.markdown(table))


if __name__ == "__main__":
    run(main)
