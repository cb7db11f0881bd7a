"""Stage time_heads: seconds per epoch of base training by heads, in this one process."""

from dataclasses import asdict

from _study import FEATURES, RECORDS, row_of, run
from mtcil.clips import of_labels
from mtcil.data import load_split
from mtcil.device import choose_device, prepare_worker
from mtcil.results import write_table
from mtcil.study import Study
from mtcil.timing import time_heads


def main(study: Study, row: str) -> None:
    """Table 1: the clips of the first seed, split as the study says."""
    timing = row_of(study, "heads_timings", row)
    dataset = study.datasets[timing.dataset]
    kind = choose_device(study.machine.device)
    device = prepare_worker(kind)
    data = load_split(FEATURES / timing.dataset, dataset, study.split, study.seeds[0], device)
    base_clips = data.train[of_labels(data.train, 0, dataset.steps[0])]
    network = study.networks[dataset.network]
    found = time_heads(base_clips, timing.heads, timing.rounds, network, study.base_training)
    about = {"dataset": timing.dataset, "device": device.type, "clips": len(base_clips)}
    write_table(RECORDS / "time_heads" / row / "records.csv", [about | asdict(t) for t in found])


if __name__ == "__main__":
    run(main)
