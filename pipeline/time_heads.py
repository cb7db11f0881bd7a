"""Stage time_heads: time an epoch of base training by heads, all in this process."""

from dataclasses import asdict

from _study import FEATURES, RECORDS, row_of, run
from mtcil.learning.base_step import base_clips
from mtcil.learning.split import load_split
from mtcil.records.tables import write_records
from mtcil.running.device import choose_device, prepare_worker
from mtcil.running.timing import time_heads
from mtcil.settings.study import Study


def main(study: Study, dataset: str) -> None:
    """Table 1, on the clips of the first seed, split by clip."""
    timing, settings = row_of(study, "heads_timings", dataset), study.datasets[dataset]
    device = prepare_worker(choose_device(study.machine.device))
    split = study.split_of("random")
    data = load_split(FEATURES / dataset, settings, split, study.seeds[0], device)
    clips = base_clips(data.train, settings.steps[0])
    network = study.networks[settings.network]
    found = time_heads(clips, timing.heads, timing.rounds, network, study.base_training)
    about = {"dataset": dataset, "device": device.type, "clips": len(clips)}
    write_records(RECORDS / "time_heads", dataset, [about | asdict(t) for t in found])


if __name__ == "__main__":
    run(main)
