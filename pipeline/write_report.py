"""Stage write_report: headline, tables, figures, claims and provenance on one page."""

from _study import METRICS, PLOTS, RECORDS, REPORT, TABLES, run
from mtcil.core.files import write_text
from mtcil.core.lookup import find, names
from mtcil.records.tables import file_of
from mtcil.reporting.provenance import STAGES, facts_of, settings_digest
from mtcil.reporting.report import Picture, render
from mtcil.reporting.table_files import read_claims, read_pages, read_table
from mtcil.settings.reader import read_json
from mtcil.settings.study import Study


def main(study: Study) -> None:
    """Reads metrics/ and plots/ only."""
    tables = {name: read_table(TABLES, name) for name in ("steps", "methods")}
    pictures = {
        name: Picture((PLOTS / f"{name}.png").read_bytes(), find("figures", name).__doc__ or "")
        for name in names("figures")
        if (PLOTS / f"{name}.png").exists()
    }
    files = [
        (file_of(RECORDS / stage, dataset), dataset)
        for stage, section in STAGES.items()
        for dataset in getattr(study, section)
    ]
    runs = [facts_of(file, dataset) for file, dataset in files if file.exists()]
    text = render(
        study,
        tables=tables,
        pages=read_pages(TABLES),
        pictures=pictures,
        claims=read_claims(METRICS / "claims.csv"),
        datasets=read_json(METRICS / "summary.json")["datasets"],
        provenance={"runs": runs, "settings": settings_digest(study)},
    )
    write_text(REPORT, text)


if __name__ == "__main__":
    run(main)
