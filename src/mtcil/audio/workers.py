"""Features of many clips, in this process or in several, written straight into one file of rows."""

import itertools
import multiprocessing
import os
import sys
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path
from typing import BinaryIO, NamedTuple

import joblib
import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from mtcil.audio import features
from mtcil.audio.archives import MAX_BYTES
from mtcil.audio.decode import ClipError, decode_timed
from mtcil.core.files import part_file
from mtcil.core.processes import deaf_children, keep_freed_memory, start_worker
from mtcil.settings.sections import FeatureSettings

BATCH_BYTES = 1_000_000  # of sound files sent to a worker at once
BATCH_CLIPS = 64
SLOT_BYTES = BATCH_BYTES + MAX_BYTES  # of the longest batch

Outcome = float | str  # what became of a clip: its seconds, or what is wrong with it


class _Batch(NamedTuple):
    """Clips on their way to where their features are computed."""

    first: int  # row of the first one in the file of rows
    ids: list[str]
    contents: list[bytes]


class _Sent(NamedTuple):
    """The same on the way to another process: the contents lie in a file, end to end.

    The file is written to again and again, so it stays small and in the system's memory.
    """

    first: int
    ids: list[str]
    file: Path
    place: int  # of the first one's first byte
    ends: list[int]  # of each one, from there


def _batches(members: Iterator[tuple[str, bytes]]) -> Iterator[_Batch]:
    batch, n_bytes = _Batch(0, [], []), 0
    for id, content in members:
        batch.ids.append(id)
        batch.contents.append(content)
        n_bytes += len(content)
        if n_bytes >= BATCH_BYTES or len(batch.ids) >= BATCH_CLIPS:
            yield batch
            batch, n_bytes = _Batch(batch.first + len(batch.ids), [], []), 0
    if batch.ids:
        yield batch


def compute_all(
    members: Iterator[tuple[str, bytes]], path: Path, settings: FeatureSettings, jobs: int
) -> Generator[tuple[str, Outcome], None, None]:
    """Write the features of all clips to `path`, row after row as they come.

    Args:
        members: id and content of each sound file.
        path: an existing file, which gets (n_clips, n_frames, n_bins) float32; the rows of
            damaged clips hold zeros.
        jobs: processes that compute; 1 is this process alone, 0 one for each core.

    Yields:
        (id, outcome) of each clip, in the order of `members`.
    """
    batches = _batches(members)
    keep_freed_memory()
    if jobs == 1:
        with threadpool_limits(1):  # as in a worker: BLAS rounds differently on more threads
            for batch in batches:
                yield from _compute(*batch, path, settings)
        return
    compile_once(settings)
    n_jobs = jobs or joblib.cpu_count()
    n_slots = 2 * n_jobs
    # A worker that is forked has everything loaded and compiled. Elsewhere than on Linux, the
    # system's own threads forbid it.
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    sent: deque[Future[list[tuple[str, Outcome]]]] = deque()
    with (
        part_file(path.parent, "clips") as place,
        place.open("wb") as file,
        ProcessPoolExecutor(n_jobs, context, _start_worker, (os.getpid(),)) as pool,
    ):
        with deaf_children():
            pool.submit(int).result()  # starts the workers, before reading starts a thread
        for k, batch in enumerate(batches):
            if len(sent) == n_slots:  # whose oldest lies where this one will
                yield from sent.popleft().result()
            written = _write(batch, file, k % n_slots * SLOT_BYTES)
            sent.append(pool.submit(_in_worker, written, path, settings))
        while sent:
            yield from sent.popleft().result()


def _write(batch: _Batch, file: BinaryIO, place: int) -> _Sent:
    file.seek(place)
    file.writelines(batch.contents)
    file.flush()
    ends = list(itertools.accumulate(map(len, batch.contents)))
    return _Sent(batch.first, batch.ids, Path(file.name), place, ends)


def compile_once(settings: FeatureSettings) -> None:
    """Have numba compile, and keep, what features need before several processes do.

    Two processes that fill numba's cache at once can leave an index that points at the wrong
    code: every later process that loads librosa's ufuncs from it crashes (seen on a fresh
    installation, with numba 0.68.1 and librosa 0.11.0).
    """
    silence = np.zeros(settings.n_samples, dtype=np.float32)
    for method in ("fast", "librosa"):
        features.compute(silence, settings, method)


def _start_worker(parent: int) -> None:
    start_worker(parent)
    keep_freed_memory()
    threadpool_limits(1)


def _in_worker(sent: _Sent, path: Path, settings: FeatureSettings) -> list[tuple[str, Outcome]]:
    with sent.file.open("rb", buffering=0) as file:
        file.seek(sent.place)
        content = memoryview(file.read(sent.ends[-1]))
    starts = [0, *sent.ends[:-1]]
    contents = [content[start:end] for start, end in zip(starts, sent.ends, strict=True)]
    return _compute(sent.first, sent.ids, contents, path, settings)


def _compute(
    first: int,
    ids: list[str],
    contents: Sequence[bytes | memoryview],
    path: Path,
    settings: FeatureSettings,
) -> list[tuple[str, Outcome]]:
    """Write features to `path`, from row `first` on; the rows of damaged clips hold zeros."""
    made = np.zeros((len(ids), settings.n_frames, settings.n_bins), np.float32)
    outcomes = [
        (id, _features_into(row, content, settings, id))
        for row, id, content in zip(made, ids, contents, strict=True)
    ]
    with path.open("r+b") as file:
        file.seek(first * made[0].nbytes)
        file.write(made.data)
    return outcomes


def _features_into(
    row: NDArray[np.float32], content: bytes | memoryview, settings: FeatureSettings, id: str
) -> Outcome:
    try:
        waveform, seconds = decode_timed(content, settings, id)
    except ClipError as error:
        return str(error)
    row[:] = features.compute(waveform, settings)
    return seconds
