"""Where a study's numbers come from: runs, their keys, what they cost, and digests of files."""

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import pandas as pd

from mtcil.core.files import file_digest
from mtcil.records.rows import IDENTITY
from mtcil.records.tables import read_records
from mtcil.reporting.claims import ledger
from mtcil.settings.study import Study

# Stages that run something, and the section of params.yaml with their rows.
STAGES = {
    "train_base": "base_models", **ledger.SECTIONS, "tune_methods": "tunings",
    "probe_base": "base_probes",
}  # fmt: skip
SHORT = 16  # hexadecimal digits of a digest that are shown
# Of a study: where it runs and what it shows do not change a number.
LEFT_OUT = ("root", "settings", "machine", "headline", "shown")


def facts_of(file: Path, dataset: str) -> dict[str, str]:
    """One file of records: its runs, seeds, work and keys, as text.

    Raises:
        UserError: the records are missing or damaged.
    """
    records = read_records(file.parent, dataset)
    of_run = [name for name in (*IDENTITY, "probe", "round") if name in records]
    learnt = records
    if "updates" in records and "step" in records:
        # Runs share base models. `train_base` learns them, or `tune_methods`, each of them once.
        base = records[records["step"] == 0].drop_duplicates(["base", "split", "seed"])
        own = base if file.parent.name == "tune_methods" else base.iloc[:0]
        learnt = pd.concat([records[records["step"] > 0], own])
    keys = sorted(records["key"].unique()) if "key" in records else []
    return {
        "records": file.as_posix(),
        "runs": f"{len(records.drop_duplicates(of_run)):,}",
        "seeds": ranges(records["seed"].unique()) if "seed" in records else "",
        "updates": _total(learnt, "updates"),
        "clips passed forward": _total(learnt, "clips_passed"),
        "diverged steps": _total(learnt, "diverged"),
        "different keys": f"{len(keys):,}" if keys else "",
        "digest of the keys": digest("\n".join(keys)) if keys else "",
        "digest of the file": file_digest(file)[:SHORT],
    }


def _total(records: pd.DataFrame, name: str) -> str:
    return f"{int(records[name].sum()):,}" if name in records else ""


def ranges(seeds: Any) -> str:
    """Whole numbers as text such as `0-4, 100`."""
    parts: list[list[int]] = []
    for seed in sorted(map(int, seeds)):
        if parts and seed == parts[-1][-1] + 1:
            parts[-1].append(seed)
        else:
            parts.append([seed])
    return ", ".join(str(p[0]) if len(p) == 1 else f"{p[0]}-{p[-1]}" for p in parts)


def settings_digest(study: Study) -> str:
    """A digest of all settings in force that numbers depend on."""
    values = dataclasses.asdict(study)
    kept = {name: value for name, value in values.items() if name not in LEFT_OUT}
    return digest(json.dumps(kept, sort_keys=True, default=str))


def digest(text: str) -> str:
    """The first digits of a text's SHA-256."""
    return hashlib.sha256(text.encode()).hexdigest()[:SHORT]
