"""The end of `make demo`: what the study in this folder found, and where to look further."""

from _study import TABLES, run
from mtcil.reporting.glance import glance
from mtcil.reporting.table_files import read_table
from mtcil.settings.study import Study


def main(study: Study) -> None:
    """Reads metrics/tables only."""
    print(glance(read_table(TABLES, "steps"), read_table(TABLES, "methods")))


if __name__ == "__main__":
    run(main)
