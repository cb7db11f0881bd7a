"""From the archive to features.npy: time beside the loop a newcomer writes, and memory.

Part of `python benchmarks/features.py`. It also runs itself, to measure memory in a process
of its own: `python benchmarks/archive_to_features.py KIND ARCHIVE EVERY JOBS`.
"""

import functools
import io
import os
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

import librosa
import numpy as np
from isal import igzip
from size import sized

from mtcil.audio import extraction
from mtcil.audio.archives import format_of, read_members
from mtcil.core.lookup import find
from mtcil.settings.sections import DatasetSettings, FeatureSettings, UpdateSettings

WORDS = FeatureSettings(16_000, 1.0, 1024, 512, True, log_mel=32)
URBAN = FeatureSettings(22_050, 3.0, 1024, 512, False, 60, 12, 6, 7)
SETTINGS = {"speech_commands": WORDS, "urbansound8k": URBAN}
FULL_SIZE = {"speech_commands": 64_000, "urbansound8k": 8_732}  # clips in the paper's study
ROUNDS = sized(5, 1)

Array = np.ndarray[Any, np.dtype[np.floating]]
Way = Callable[[Sequence[Array]], Sequence[Array]]  # waveforms to features
Row = tuple[str, str, str, str]  # what, how, measured, against


def measure(archives: dict[str, Path], ways: dict[str, Way]) -> list[Row]:
    """The rows of every archive, and the whole datasets together; `ways` are librosa's."""
    rows: list[Row] = []
    rest: dict[str, float] = {}
    for kind, archive in archives.items():
        found, rest[kind] = _measure_one(kind, archive, ways[kind])
        rows += found
        rows += _memory(kind, archive)
    for kind, seconds in rest.items():
        how = f"all but reading, {FULL_SIZE[kind]:,} clips on two idle cores"
        rows.append((kind, how, f"{seconds:.0f} s", ""))
    if len(rest) > 1:
        rows.append(("both", "the same together", f"{sum(rest.values()):.0f} s", ""))
    return rows


def _measure_one(kind: str, archive: Path, way: Way) -> tuple[list[Row], float]:
    """Rows, and the seconds of a whole dataset on two idle cores, less those of reading."""
    n_clips = len(_clips(kind, archive))
    with tempfile.TemporaryDirectory() as folder:
        extract = functools.partial(_extract, kind, archive, Path(folder))
        extract(1)  # compiles
        rounds = _rounds(
            {
                "tarfile, librosa.load, librosa": lambda: _plain_loop(
                    archive, kind, way, Path(folder)
                ),
                "ours, 1 job": lambda: extract(1),
                "ours, 2 jobs": lambda: extract(2),
                "reading alone": lambda: _read(archive),
                "decompressing alone": lambda: _decompress(archive),
            }
        )
    what, loop = f"{kind}, {n_clips} clips", rounds["tarfile, librosa.load, librosa"]
    rows = []
    for how, times in rounds.items():
        wall, cpu = (statistics.median(column) for column in zip(*times, strict=True))
        ratio = statistics.median(a[0] / b[0] for a, b in zip(loop, times, strict=True))
        rows.append((what, how, f"{wall:.2f} s, CPU {cpu:.2f} s", f"{ratio:.1f} x"))
    cpu_of = {how: statistics.median(cpu for _, cpu in times) for how, times in rounds.items()}
    whole, reading = cpu_of["ours, 1 job"], cpu_of["reading alone"]
    for how in ("reading", "decompressing"):
        share = f"{cpu_of[f'{how} alone'] / whole:.0%}"
        rows.append((what, f"share of {how} in 1 job", share, ""))
    ratio = statistics.median(
        a[0] / b[0] for a, b in zip(rounds["ours, 1 job"], rounds["ours, 2 jobs"], strict=True)
    )
    rows.append((what, "2 jobs against 1 job", f"{ratio:.2f} x", ""))
    each = (whole - reading) / n_clips
    rows.append((what, "all but reading", f"{1e3 * each:.3f} ms CPU per clip", ""))
    return rows, each * FULL_SIZE[kind] / 2


def _rounds(functions: dict[str, Callable[[], object]]) -> dict[str, list[tuple[float, ...]]]:
    """Seconds of each, in turns: wall, CPU."""
    times: dict[str, list[tuple[float, ...]]] = {how: [] for how in functions}
    with warnings.catch_warnings(), redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")  # librosa's, about silence
        for _ in range(ROUNDS):
            for how, function in functions.items():
                before = _clocks()
                function()
                times[how].append(tuple(b - a for a, b in zip(before, _clocks(), strict=True)))
    return times


def _clocks() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


# What is timed


def _plain_loop(archive: Path, kind: str, way: Way, into: Path) -> None:
    settings = SETTINGS[kind]
    made: list[Array] = []
    with tarfile.open(archive) as tar:
        for member in tar:
            file = tar.extractfile(member) if member.name.endswith(".wav") else None
            if file and find("datasets", kind).clip_of(member.name):
                y, _ = librosa.load(
                    io.BytesIO(file.read()), sr=settings.sample_rate, duration=settings.seconds
                )
                made += way([librosa.util.fix_length(y, size=settings.n_samples)])
    np.save(into / "plain.npy", np.stack(made))


def _extract(kind: str, archive: Path, into: Path, jobs: int, every: int = 1) -> None:
    clips = _clips(kind, archive)
    settings = _settings(kind, clips, exclude=[id for k, (id, _) in enumerate(clips) if k % every])
    extraction.extract(archive, find("datasets", kind), kind, settings, SETTINGS[kind], into, jobs)


@functools.cache
def _clips(kind: str, archive: Path) -> list[tuple[str, str]]:
    """Id and class of each clip of the archive."""
    clips = map(find("datasets", kind).clip_of, _read(archive))
    return [(clip.id, clip.label) for clip in clips if clip]


def _settings(
    kind: str, clips: Sequence[tuple[str, str]], exclude: Sequence[str]
) -> DatasetSettings:
    """Settings that take every clip but the excluded ones."""
    labels = [label for _, label in clips]
    classes = tuple(sorted(set(labels)))
    return DatasetSettings(
        kind=kind,
        classes=classes,
        clips_per_class=max(10, *(labels.count(label) for label in classes)),
        steps=(2, *(1 for _ in classes[2:])),
        exemplars=0,
        updates=UpdateSettings(1, 1, 1, 1),
        features="",
        network="",
        class_order=None,
        folds=None,
        exclude=tuple(exclude),
    )


def _read(archive: Path) -> list[str]:
    """Read every sound file as the extraction does, keep the names."""
    return [name for name, _ in read_members(archive, lambda name: name.endswith(".wav"))]


def _decompress(archive: Path) -> None:
    opened = igzip.open(archive) if format_of(archive) == "tar.gz" else archive.open("rb")
    with opened as stream:
        while stream.read(1024**2):
            pass


# Memory


def _memory(kind: str, archive: Path) -> list[Row]:
    """Peaks with half of the clips and with all, for one and two jobs."""
    rows = []
    for jobs in (1, 2):
        half, whole = (_peak_in_new_process(kind, archive, every, jobs) for every in (2, 1))
        how = f"peak memory, {jobs} job{'s' * (jobs > 1)}"
        rows.append((kind, how, f"{whole:,} MB", f"{half:,} MB for half of the clips"))
    return rows


def _peak_in_new_process(kind: str, archive: Path, every: int, jobs: int) -> int:
    command = [sys.executable, __file__, kind, str(archive), str(every), str(jobs)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def _peak(kind: str, archive: Path, every: int, jobs: int) -> int:
    """Megabytes. Linux: what getrusage says of a process still holds its starter's peak."""
    with tempfile.TemporaryDirectory() as folder:
        _extract(kind, archive, Path(folder), jobs, every)
    status = Path("/proc/self/status").read_text().split()
    return int(status[status.index("VmHWM:") + 1]) // 1024


if __name__ == "__main__":
    os.environ["OMP_NUM_THREADS"] = "1"
    print(_peak(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])))
