"""Features of many clips, in one thread or in several."""

from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from mtcil.audio import features
from mtcil.audio.decode import ClipError, decode_timed
from mtcil.core.processes import jobs_at_once, keep_freed_memory
from mtcil.settings.sections import FeatureSettings

BATCH_BYTES = 1_000_000  # of sound files that a thread takes at once
BATCH_CLIPS = 64

Batch = list[tuple[str, bytes]]  # id and content of sound files


class Features(NamedTuple):
    """What is kept of a clip."""

    values: NDArray[np.float32]  # (n_frames, n_bins)
    seconds: float  # how long the clip is before it is cut or padded


Outcome = Features | str  # a text says what is wrong with the clip


def compute_all(
    members: Iterator[tuple[str, bytes]], settings: FeatureSettings, jobs: int
) -> Generator[tuple[str, Outcome], None, None]:
    """Yield (id, outcome) of each sound file, in the order of `members`: (id, content) pairs.

    Only a few batches of clips are in memory at once.

    Args:
        jobs: threads that compute; 0 is one for each core. Threads are enough: compiled code and
            inflating run side by side, and nothing has to be sent to another process.
    """
    keep_freed_memory()
    n_jobs = jobs_at_once(jobs)
    with threadpool_limits(1):  # BLAS rounds differently on more threads
        if n_jobs == 1:
            for batch in _batches(members):
                yield from _compute(batch, settings)
        else:
            yield from _compute_in_threads(_batches(members), settings, n_jobs)


def _compute_in_threads(
    batches: Iterator[Batch], settings: FeatureSettings, n_jobs: int
) -> Iterator[tuple[str, Outcome]]:
    ahead: deque[Future[list[tuple[str, Outcome]]]] = deque()
    with ThreadPoolExecutor(n_jobs) as pool:
        for batch in batches:
            ahead.append(pool.submit(_compute, batch, settings))
            if len(ahead) > 2 * n_jobs:
                yield from ahead.popleft().result()
        while ahead:
            yield from ahead.popleft().result()


def _batches(members: Iterator[tuple[str, bytes]]) -> Iterator[Batch]:
    batch: Batch = []
    n_bytes = 0
    for id, content in members:
        batch.append((id, content))
        n_bytes += len(content)
        if n_bytes >= BATCH_BYTES or len(batch) >= BATCH_CLIPS:
            yield batch
            batch, n_bytes = [], 0
    if batch:
        yield batch


def _compute(batch: Batch, settings: FeatureSettings) -> list[tuple[str, Outcome]]:
    # Decode all, then compute all: taking turns costs a tenth more, in the processor's cache.
    decoded = [(id, _decode(id, content, settings)) for id, content in batch]
    outcomes: list[tuple[str, Outcome]] = []
    for id, clip in decoded:
        if isinstance(clip, str):
            outcomes.append((id, clip))
        else:
            waveform, seconds = clip
            outcomes.append((id, Features(features.compute(waveform, settings), seconds)))
    return outcomes


def _decode(
    id: str, content: bytes, settings: FeatureSettings
) -> tuple[NDArray[np.float32], float] | str:
    try:
        return decode_timed(content, settings, id)
    except ClipError as error:
        return str(error)
