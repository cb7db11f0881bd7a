"""Probe base models: list the probes to run, and run those that are not finished."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sklearn

from mtcil.core.errors import UserError
from mtcil.core.lookup import find
from mtcil.learning.probing import Probe, probe_rows
from mtcil.learning.split import load_split
from mtcil.records.tables import read_records
from mtcil.running import checkpoints
from mtcil.running.base_jobs import BaseJob
from mtcil.running.device import prepare_worker
from mtcil.running.keys import code_digest, digest, functions_digest
from mtcil.running.models import read_model
from mtcil.running.run import perform
from mtcil.settings.reader import build
from mtcil.settings.sections import MachineSettings

Record = dict[str, Any]


@dataclass(frozen=True)
class ProbeJob:
    """Everything that a worker needs to probe one base model.

    Attributes:
        probes: by the key of their records.
    """

    base: BaseJob
    probes: Mapping[str, Probe]

    @property
    def key(self) -> str:
        return digest(*self.probes)

    @property
    def checkpoint(self) -> Path:
        return self.base.folders.checkpoints / f"probes-{self.base.key}.json"


def probe_jobs(probes: Mapping[str, Mapping[str, Any]], bases: Sequence[BaseJob]) -> list[ProbeJob]:
    """A job per base model.

    Args:
        probes: settings of each probe by its name, as in `settings.yaml`.

    Raises:
        UserError: if a probe does not exist, or one of its settings is invalid.
    """
    built, begin = [], functions_digest("running/probe.py", "probe_one_base")
    for name, values in probes.items():
        config = build(find("probes", name).Config, values, f"settings.yaml: probes.{name}")
        code = code_digest("learning/probing.py", f"probes/{name}.py")
        built.append((Probe(name, config), [code, begin, sklearn.__version__]))
    return [
        ProbeJob(base, {digest(code, base.key, probe): probe for probe, code in built})
        for base in bases
    ]


def known_probes(folder: Path, dataset: str) -> dict[str, list[Record]]:
    """Records of finished probes by key; a missing or damaged table counts as empty.

    Args:
        folder: of the stage.
    """
    try:
        table = read_records(folder, dataset)
    except UserError:
        return {}
    table = table.drop_duplicates(["key", "scope", "step"])  # equal base models have equal keys
    return {str(key): rows.to_dict("records") for key, rows in table.groupby("key")}


def probe_all(
    jobs: Sequence[ProbeJob], machine: MachineSettings, known: Mapping[str, list[Record]]
) -> list[Record]:
    """Run the probes that are not known yet; return all records, in the order of the jobs.

    Finished base models are saved at once, so that a killed stage does not lose them.
    """
    records = {} if machine.fresh else dict(known)
    missing = []
    for job in {job.base.key: job for job in jobs}.values():  # rows can share a base model
        left = ProbeJob(job.base, {k: p for k, p in job.probes.items() if k not in records})
        saved = None if machine.fresh else checkpoints.read(left.checkpoint, left.key)
        if saved is not None:
            records |= saved
        elif left.probes:
            missing.append(left)
    print(f"{len(jobs)} base models, {len(missing)} of them to probe", file=sys.stderr)
    for _, found in perform(probe_one_base, missing, machine, "base models"):
        records |= found
    return [
        {**row, **vars(job.base.name)} for job in jobs for key in job.probes for row in records[key]
    ]


def probe_one_base(job: ProbeJob) -> tuple[ProbeJob, dict[str, list[Record]]]:
    """The records of one base model by key: a row per probe, scope and step."""
    base = job.base
    device = prepare_worker(base.device)
    network, _ = read_model(base.file, base.key, base.network, base.dataset.steps[0], device)
    data = load_split(
        base.folders.features, base.dataset, base.split, base.seed, device, base.order_seed
    )
    found = probe_rows(list(job.probes.values()), network, data, base.dataset.steps, base.seed)
    records = {
        key: [{**row, "key": key} for row in rows]
        for key, rows in zip(job.probes, found, strict=True)
    }
    checkpoints.save(job.checkpoint, job.key, records)
    return job, records
