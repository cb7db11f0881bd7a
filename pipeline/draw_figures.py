"""Stage draw_figures: draw the tables as pictures, and write the CSV files that DVC plots."""

from _study import PLOTS, TABLES, run
from mtcil.core.files import whole_file
from mtcil.core.lookup import find, names
from mtcil.records.tables import write_table
from mtcil.reporting.dvc_plots import confusion_rows, exemplar_curve, step_curve
from mtcil.reporting.style import png_of
from mtcil.reporting.table_files import read_table
from mtcil.settings.study import MULTITASK, SINGLE, Study


def main(study: Study) -> None:
    """A PNG per figure; curves for single task, multitask and the headline's base model."""
    tables = {name: read_table(TABLES, name) for name in names("figures")}
    # Everything is read; the rest only writes.
    for name, table in tables.items():
        picture = PLOTS / f"{name}.png"
        if table.empty:
            picture.unlink(missing_ok=True)  # left by an earlier run that had numbers
            continue
        with whole_file(picture) as part:
            part.write_bytes(png_of(find("figures", name).draw(table)))
    shown = {"single": SINGLE, "multitask": MULTITASK, "headline": study.headline}
    for name, base in shown.items():
        write_table(PLOTS / f"{name}_steps.csv", step_curve(tables["steps"], study.shown, base))
        if name != "headline":
            curve = exemplar_curve(tables["exemplars"], study.shown, base)
            write_table(PLOTS / f"{name}_exemplars.csv", curve)
    clips = confusion_rows(tables["confusion"], study.shown, study.headline)
    write_table(PLOTS / "headline_confusion.csv", clips)


if __name__ == "__main__":
    run(main)
