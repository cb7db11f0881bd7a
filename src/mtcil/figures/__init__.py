"""One file per table or figure, found by its name (`mtcil.core.lookup.find`).

A file states:

    STAGE, SECTION, RECORDS    the stage whose records it reads, the section of its rows, and
                               which table of them: records, matrix or confusion
    def table(study, records) -> DataFrame     the numbers; empty where there are none
    def markdown(table) -> (header, rows)      the same for people
    def draw(table) -> Figure                  the same as a picture

It imports neither torch nor files: stages read and write.
"""
