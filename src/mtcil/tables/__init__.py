"""One file per table of results, found by its name (`mtcil.core.lookup.find`).

Stage `summarise` writes `metrics/tables/<name>.csv` and `<name>.md`. A file defines:

    STAGE, SECTION, RECORDS    the stage that wrote the records, the section of its rows, and
                               the table of records: records, matrix or confusion
    def table(study, records) -> DataFrame     the numbers; empty if there are none
    def markdown(table) -> (header, rows)      the same as text

The file's docstring is the caption that readers see. A column that holds text is also named in
`TEXT` of `mtcil.reporting.table_files`. A file does not import torch, and does not read or write
files: stages do that.
"""
