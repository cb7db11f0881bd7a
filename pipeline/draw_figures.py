"""Stage draw_figures: all records of the study into pictures, and the CSV rows that DVC draws."""

from _study import PLOTS, RECORDS, run
from mtcil.core.files import whole_file
from mtcil.core.lookup import find, names
from mtcil.records.tables import headline_runs, read_stage, write_table
from mtcil.reporting.dvc_plots import confusion_rows, exemplar_curve, step_curve
from mtcil.settings.study import MULTITASK, SINGLE, Study


def main(study: Study) -> None:
    """A PNG per figure; curves of single task, multitask and the headline's base model."""
    tables = []
    for name in names("figures"):
        figure = find("figures", name)
        rows = getattr(study, figure.SECTION)
        table = figure.table(study, read_stage(RECORDS, figure.STAGE, rows, figure.RECORDS))
        tables += [(name, figure, table)] if len(table) else []
    records = read_stage(RECORDS, "learn_steps", study.base_models)
    sweeps = read_stage(RECORDS, "sweep_exemplars", study.exemplar_sweeps)
    counts = read_stage(RECORDS, "learn_steps", study.base_models, "confusion")
    # All is read: what follows only writes.
    for name, figure, table in tables:
        with whole_file(PLOTS / f"{name}.png") as part:
            figure.draw(table).savefig(part, format="png", metadata={"Software": None})
    shown = {"single": SINGLE, "multitask": MULTITASK, "headline": study.headline}
    for name, base in shown.items():
        curve = step_curve(headline_runs(records, study.shown, base))
        write_table(PLOTS / f"{name}_steps.csv", curve)
        if name != "headline":
            curve = exemplar_curve(headline_runs(sweeps, study.shown, base))
            write_table(PLOTS / f"{name}_exemplars.csv", curve)
    runs = headline_runs(counts, study.shown, shown["headline"])
    write_table(PLOTS / "headline_confusion.csv", confusion_rows(runs))


if __name__ == "__main__":
    run(main)
