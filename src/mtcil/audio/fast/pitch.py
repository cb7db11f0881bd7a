"""How far a clip is tuned from A = 440 Hz: librosa.estimate_tuning in compiled code.

The answer is one of a hundred edges of a histogram and chooses the chroma filter bank, so it
must be librosa's own and not a near one. Steps that librosa takes in single precision are
taken in single precision, and what it leaves to numpy's float32 functions is left to them.
"""

import functools
from typing import NamedTuple

import librosa
import numpy as np
from numba import njit
from numpy.typing import NDArray

from mtcil.settings.sections import FeatureSettings

EDGES = np.linspace(-0.5, 0.5, 101)  # of librosa's histogram, in parts of a semitone
PITCHES = (150.0, 4_000.0)  # Hz, among which librosa looks
LOWEST_A = 27.5  # Hz


class Peaks(NamedTuple):
    """Memory for the peaks of a spectrum: places (n,), frequencies and heights (2, n)."""

    places: NDArray[np.int32]
    values: NDArray[np.float32]

    @classmethod
    def for_spectra(cls, n_freqs: int, n_frames: int) -> "Peaks":
        n = n_freqs * n_frames
        return cls(np.empty(n, np.int32), np.empty((2, n), np.float32))


def estimate(magnitude: NDArray[np.float32], settings: FeatureSettings, peaks: Peaks) -> int:
    """Index of EDGES: the deviation in parts of a bin of chroma; 0 of them for silence.

    Args:
        magnitude: (at least 1 + n_fft / 2, n_frames); librosa is given its square.
        peaks: memory to work in.
    """
    magnitude = magnitude[: settings.n_fft // 2 + 1]
    first, end = _bins_with_pitch(settings)
    n = _find_peaks(magnitude, first, end, peaks.places)
    if n == 0:
        return len(EDGES) // 2
    pitches, heights = values = peaks.values[:, :n]
    _place_peaks(magnitude, peaks.places[:n], settings.sample_rate, settings.n_fft, values)
    semitones = np.log2(pitches / LOWEST_A)  # in octaves
    semitones *= np.float32(settings.chroma or 12)
    return int(_fullest_bin(semitones, heights >= _median(heights), len(EDGES) - 1))


@functools.cache
def _bins_with_pitch(settings: FeatureSettings) -> tuple[int, int]:
    """First and last + 1 of the bins among which librosa looks for the tuning."""
    frequencies = librosa.fft_frequencies(sr=settings.sample_rate, n_fft=settings.n_fft)
    highest = min(PITCHES[1], settings.sample_rate / 2)
    first, end = np.searchsorted(frequencies, (PITCHES[0], highest))
    return int(first), int(end)


@njit(cache=True, nogil=True)
def _find_peaks(magnitude, first, end, places):  # type: ignore[no-untyped-def]
    """Find the peaks that librosa.piptrack finds in the power; returns how many there are.

    A peak is a bin of `first` to `end`, above its lower and not below its upper neighbour,
    and above a tenth of its frame's largest value. `places` gets its bin x n_frames + frame.
    Whether there is one is added, not asked: it cannot be foretold.
    """
    n_freqs, n_frames = magnitude.shape
    floor = np.zeros(n_frames, np.float32)
    for f in range(n_freqs):
        row = magnitude[f]
        for t in range(n_frames):
            floor[t] = max(floor[t], row[t])
    floor[:] = np.float32(0.1) * (floor * floor)
    is_peak = np.empty(n_frames, np.uint8)
    n = 0
    for f in range(first, end):
        below, here, above = magnitude[f - 1], magnitude[f], magnitude[min(f + 1, n_freqs - 1)]
        for t in range(n_frames):
            low, power, high = below[t] * below[t], here[t] * here[t], above[t] * above[t]
            is_peak[t] = (power > floor[t]) & (power > low) & (power >= high)
        for t in range(n_frames):
            places[n] = f * n_frames + t
            n += is_peak[t]
    return n


@njit(cache=True)
def _place_peaks(magnitude, places, sample_rate, n_fft, peaks):  # type: ignore[no-untyped-def]
    """Frequencies (Hz) and heights of peaks of the power, by a parabola through three bins.

    Double and single precision take turns as they do in librosa.piptrack. A peak in the last
    bin stays in its middle.
    """
    n_freqs, n_frames = magnitude.shape
    for k in range(len(places)):
        f, t = places[k] // n_frames, places[k] % n_frames
        below, here = magnitude[f - 1, t], magnitude[f, t]
        above = magnitude[f + 1, t] if f < n_freqs - 1 else below
        below, here, above = below * below, here * here, above * above
        slope = (above - below) / np.float32(2)
        bend = np.float64(above + below) - 2.0 * here
        shift = np.float32(-slope / bend if abs(slope) < abs(bend) else 0.0)
        peaks[0, k] = (f + np.float64(shift)) * sample_rate / n_fft
        peaks[1, k] = here + np.float32(0.5) * slope * shift


@njit(cache=True)
def _median(values):  # type: ignore[no-untyped-def]
    """np.median of float32 values above zero, by counting: their bits sort as they do."""
    bits, middle = values.view(np.uint32), np.empty(2, np.uint32)
    for side in range(2):
        middle[side] = _ranked(bits, (len(bits) - 1 + side) // 2)
    low, high = middle.view(np.float32)
    return (low + high) / np.float32(2)


@njit(cache=True)
def _ranked(bits, rank):  # type: ignore[no-untyped-def]
    """The number that has `rank` smaller ones: its bits from the highest on, eleven at a time."""
    found = np.uint32(0)
    for shift in (22, 11, 0):
        counts = np.zeros(2048, np.int64)
        for b in bits:
            if shift == 22 or b >> (shift + 11) == found:
                counts[(b >> shift) & 2047] += 1
        digit = 0
        while rank >= counts[digit]:
            rank -= counts[digit]
            digit += 1
        found = np.uint32((found << 11) | digit)
    return found


@njit(cache=True)
def _fullest_bin(semitones, counted, n_bins):  # type: ignore[no-untyped-def]
    """Which bin of the histogram holds most of the semitones' fractions, -0.5 to 0.5.

    Numbers of so few digits are either on an edge or far from it, so a product finds the bin.
    """
    counts = np.zeros(n_bins, np.int64)
    for i in range(len(semitones)):
        fraction = semitones[i] - np.floor(semitones[i])
        if fraction >= 0.5:
            fraction -= np.float32(1)
        counts[int((fraction + 0.5) * n_bins)] += counted[i]
    return np.argmax(counts)
