"""From an archive of clips to one array of features and a table of its rows.

The archive is read once, as a stream. Which clips are taken follows from their ids alone, so
neither the archive's order nor the number of jobs changes a byte of the result.
"""

import csv
import hashlib
import heapq
import io
import os
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, BinaryIO

import numpy as np

from mtcil.audio import features
from mtcil.audio.archives import read_members
from mtcil.audio.source import MIN_CLIPS, ClipInfo, classes_text, clip_at
from mtcil.audio.workers import Outcome, compute_all
from mtcil.core.errors import UserError
from mtcil.core.files import part_file, whole_file, write_text
from mtcil.core.progress import progress
from mtcil.settings.sections import DatasetSettings, FeatureSettings


@dataclass
class _Choice:
    """The clips to take: of each class the `most` of lowest rank among those offered so far."""

    name: str  # of the dataset, for messages
    most: int
    classes: dict[str, list[tuple[int, str]]]  # a heap of (-rank, id)
    infos: dict[str, ClipInfo] = field(default_factory=dict)  # of the clips in the heaps
    seen: set[str] = field(default_factory=set)
    left_out: set[str] = field(default_factory=set)  # ids that `exclude` names
    folds: set[int] = field(default_factory=set)  # of all clips of the archive
    labels: Counter[str] = field(default_factory=Counter)  # clips of each class in the archive

    def offer(self, info: ClipInfo) -> bool:
        """Take the clip, perhaps in place of another; say whether it was taken."""
        if info.id in self.seen:
            raise UserError(
                f"{self.name}: two files of the archive are the clip {info.id}. Remove one."
            )
        self.seen.add(info.id)
        heap, entry = self.classes[info.label], (-rank(info.id), info.id)
        self.infos[info.id] = info
        if len(heap) < self.most:
            heapq.heappush(heap, entry)
            return True
        _, left_out = heapq.heappushpop(heap, entry)
        del self.infos[left_out]
        return left_out != info.id

    def in_order(self) -> list[ClipInfo]:
        """By class, in the order of the settings, then by id."""
        places = {label: place for place, label in enumerate(self.classes)}
        return sorted(self.infos.values(), key=lambda clip: (places[clip.label], clip.id))


@dataclass
class _Rows:
    """What the clips became. The features go into a file, row after row as the archive is read,
    so that memory does not grow with them."""

    file: BinaryIO
    places: dict[str, int] = field(default_factory=dict)  # id -> row
    seconds: dict[str, float] = field(default_factory=dict)
    damage: dict[str, str] = field(default_factory=dict)  # id -> what is wrong

    def add(self, id: str, outcome: Outcome) -> None:
        if isinstance(outcome, str):
            self.damage[id] = outcome
        else:
            self.file.write(outcome.values.data)
            self.places[id], self.seconds[id] = len(self.places), outcome.seconds


def extract(
    archive: Path,
    dataset: ModuleType,
    name: str,
    settings: DatasetSettings,
    feature_settings: FeatureSettings,
    into: Path,
    jobs: int = 1,
) -> dict[str, Any]:
    """Write `features.npy` (n_clips, n_frames, n_bins) float32 and `clips.csv` into a folder.

    Rows are ordered by class, in the order of `settings.classes`, then by id. Where a class has
    more clips than `settings.clips_per_class`, those whose ids' SHA-256 is lowest are taken.

    Args:
        archive: as `mtcil.audio.archives.read_members` reads it.
        dataset: a file of `mtcil.datasets`; its `clip_of` says what is a clip.
        name: the dataset's row in `params.yaml`, for messages.
        into: the folder to write to; each of the two files appears whole or not at all.
        jobs: threads that compute; 0 is one for each core.

    Returns:
        clips: class -> number of clips; clips_sha256: of the text of `clips.csv`;
        n_frames; n_bins.

    Raises:
        UserError: clips that cannot be read (all of them in one message), a class with
            fewer than three clips, two clips with one id, a fold or an excluded clip that
            the archive lacks, or settings that `features.check` rejects.
    """
    features.check(feature_settings)
    choice = _Choice(name, settings.clips_per_class, {label: [] for label in settings.classes})
    shape = (feature_settings.n_frames, feature_settings.n_bins)
    with part_file(into, "rows") as part, part.open("w+b", buffering=1024**2) as file:
        rows = _Rows(file)
        members = _members(archive, dataset, settings, choice)
        with closing(compute_all(members, feature_settings, jobs)) as outcomes:
            for id, outcome in progress(outcomes, desc=name, unit=" clips"):
                rows.add(id, outcome)
        clips = choice.in_order()
        _check_excluded_and_folds(choice, settings, archive, name)
        _refuse_damage(clips, rows.damage, name)
        counts = _count(clips, settings, name, choice.labels)
        _write_rows(into / "features.npy", clips, rows, shape)
        table = _table(clips, rows.seconds)
    write_text(into / "clips.csv", table)
    return {
        "clips": counts,
        "clips_sha256": hashlib.sha256(table.encode()).hexdigest(),
        "n_frames": shape[0],
        "n_bins": shape[1],
    }


def rank(id: str) -> int:
    """Place of a clip in the order in which clips are taken; depends on nothing but its id."""
    return int.from_bytes(hashlib.sha256(id.encode()).digest())


def _members(
    archive: Path, dataset: ModuleType, settings: DatasetSettings, choice: _Choice
) -> Iterator[tuple[str, bytes]]:
    """Id and content of each clip selected so far; later ones may displace some."""
    exclude = set(settings.exclude)

    def select(member: str) -> bool:
        info = clip_at(dataset, member, settings.group)
        if info is None:
            return False
        choice.folds.add(info.fold)
        choice.labels[info.label] += 1
        if info.id in exclude:
            choice.left_out.add(info.id)
            return False
        return (
            info.label in choice.classes
            and (settings.folds is None or info.fold in settings.folds)
            and choice.offer(info)
        )

    for member, content in read_members(archive, select):
        yield dataset.clip_of(member).id, content


def _check_excluded_and_folds(
    choice: _Choice, settings: DatasetSettings, archive: Path, name: str
) -> None:
    unknown = [id for id in settings.exclude if id not in choice.left_out]
    if unknown:
        raise UserError(
            f"datasets.{name}.exclude names {unknown[0]!r}, which is not in {archive}. "
            "Correct it in params.yaml: ids are in clips.csv and in messages."
        )
    missing = [fold for fold in settings.folds or () if fold not in choice.folds]
    if missing:
        raise UserError(
            f"datasets.{name}.folds names {missing[0]}, but the clips of {archive} are of folds "
            f"{', '.join(map(str, sorted(choice.folds))) or 'none'}. Correct it in params.yaml."
        )


def _refuse_damage(clips: list[ClipInfo], damage: dict[str, str], name: str) -> None:
    lines = [damage[clip.id] for clip in clips if clip.id in damage]
    if lines:
        raise UserError(
            f"{name}: {len(lines)} of {len(clips)} clips cannot be used:\n  "
            + "\n  ".join(lines)
            + "\nReplace the archive if it is damaged, or leave these clips out: add the ids (the "
            f"text before each colon) to datasets.{name}.exclude in params.yaml."
        )


def _count(
    clips: list[ClipInfo], settings: DatasetSettings, name: str, labels: Mapping[str, int]
) -> dict[str, int]:
    """Clips per class; warn if there are fewer than the settings say."""
    counts = dict.fromkeys(settings.classes, 0)
    for clip in clips:
        counts[clip.label] += 1
    fewer = {label: n for label, n in counts.items() if n < settings.clips_per_class}
    text = ", ".join(f"{label} {n}" for label, n in fewer.items())
    if min(counts.values()) < MIN_CLIPS:
        raise UserError(
            f"{name}: each class needs at least {MIN_CLIPS} clips, but the archive has {text}. "
            f"All classes in it: {classes_text(labels)}. Check the archive "
            f"and datasets.{name}.classes in params.yaml; the layout is described in "
            f"src/mtcil/datasets/{settings.kind}.py."
        )
    if fewer:
        print(
            f"warning: {name} has fewer than {settings.clips_per_class} clips of some classes "
            f"(datasets.{name}.clips_per_class); those that exist are used: {text}.",
            file=sys.stderr,
        )
    return counts


def _write_rows(path: Path, clips: list[ClipInfo], rows: _Rows, shape: tuple[int, int]) -> None:
    header = {
        "descr": np.lib.format.dtype_to_descr(np.dtype(np.float32)),
        "fortran_order": False,
        "shape": (len(clips), *shape),
    }
    n_bytes = 4 * shape[0] * shape[1]
    rows.file.flush()
    with whole_file(path) as part, part.open("wb") as out:
        np.lib.format.write_array_header_1_0(out, header)
        for clip in clips:
            out.write(os.pread(rows.file.fileno(), n_bytes, rows.places[clip.id] * n_bytes))


def _table(clips: list[ClipInfo], seconds: dict[str, float]) -> str:
    """The text of `clips.csv`; `seconds` is what the clip lasts before it is cut or padded."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("id", "class", "group", "fold", "seconds"))
    for clip in clips:
        writer.writerow((clip.id, clip.label, clip.group, clip.fold, f"{seconds[clip.id]:.4f}"))
    return text.getvalue()
