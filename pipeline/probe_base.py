"""Stage probe_base: how general a base model's embeddings are, its backbone left as it is."""

from _study import FEATURES, MODELS, RECORDS, row_of, run
from mtcil.data import load_split
from mtcil.device import choose_device, prepare_worker
from mtcil.probing import probe_rows, read_base
from mtcil.results import write_table
from mtcil.runs import split_of
from mtcil.study import Study


def main(study: Study, row: str) -> None:
    """Every probe on the base model of every seed."""
    name = row_of(study, "base_probes", row).base
    base, split = study.base_models[name], split_of(study, name)
    dataset = study.datasets[base.dataset]
    device = prepare_worker(choose_device(study.machine.device))
    about = {
        "dataset": base.dataset,
        "split": split.kind,
        "heads": str(base.heads),
        "passes": base.passes,
        "control": base.control or "none",
    }
    records = []
    for seed in study.seeds:
        file = MODELS / name / f"seed{seed}.pt"
        network = read_base(file, study.networks[dataset.network], device)
        data = load_split(FEATURES / base.dataset, dataset, split, seed, device)
        rows = probe_rows(study.probes, network, data, dataset.steps, seed)
        records += [about | row for row in rows]
    write_table(RECORDS / "probe_base" / row / "records.csv", records)


if __name__ == "__main__":
    run(main)
