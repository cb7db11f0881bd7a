"""The features of `mtcil.audio.features`, several times faster than librosa's calls, same numbers.

What makes it fast: one Fourier transform for all parts; filter banks made once (the tuning of
a chroma is a whole hundredth, so there are only a hundred chroma banks); and compiled loops
over spectra laid out as (frequency, time), whose inner loop over time uses the processor's
vector units without changing the order of any sum.

What keeps the numbers: the transform runs in double precision and its magnitudes are rounded
as in librosa, so the tuning is estimated from the same values, by the same rules, down to the
precision of each step. No linear algebra library takes part: the number of its threads would
change the last bits.
"""

import functools
import threading

import librosa
import numpy as np
from numba import njit
from numpy.typing import NDArray

from mtcil.audio.fast import fourier, pitch
from mtcil.settings.sections import FeatureSettings

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

TILE = 64  # frames ranked at once; a fixed number, so that the loop becomes vectors
QUANTILE = 0.02  # librosa's: the share of a band that makes its peak, and its valley
TINY = np.finfo(np.float32).tiny  # below it librosa does not normalise


def supports(settings: FeatureSettings) -> bool:
    """Whether `compute` takes these settings: an n_fft that is a power of two, 64 to 4,096."""
    return fourier.supports(settings.n_fft)


def compute(waveform: Floats, settings: FeatureSettings) -> Floats:
    """Features of one clip: (n_frames, n_bins), as `mtcil.audio.features.compute` says."""
    _scratch.fit(settings)
    spectrum, magnitude, parts = _scratch.transform(waveform), _scratch.magnitude, _scratch.parts
    first = settings.log_mel
    if settings.log_mel:
        _mel(spectrum, *_mel_bank(settings), parts[:first])
        _to_db(parts[:first])
    if settings.chroma or settings.tonnetz or settings.contrast:
        np.abs(spectrum, out=magnitude[: len(spectrum)])
    if settings.chroma or settings.tonnetz:
        bank = _chroma_bank(settings, pitch.estimate(magnitude, settings, _scratch.peaks))
        chroma = parts[first : first + settings.chroma]
        if not settings.chroma:
            chroma = np.empty((len(bank), parts.shape[1]), np.float32)
        _chroma(magnitude, bank, chroma)
        first += settings.chroma
    if settings.tonnetz:
        _tonnetz(chroma, _tonnetz_basis(len(chroma)), parts[first : first + settings.tonnetz])
        first += settings.tonnetz
    if settings.contrast:
        _contrast(magnitude, _contrast_bands(settings), parts[first:])
    return parts[:, : settings.n_frames].T.copy()


class _Scratch(threading.local):
    """Buffers for intermediate results, reused from clip to clip: allocating a megabyte per clip
    takes longer than the transform. The magnitude ends with rows of zeros, so that `_chroma` can
    take four rows at a time."""

    settings: FeatureSettings | None = None

    def fit(self, settings: FeatureSettings) -> None:
        if self.settings is settings or self.settings == settings:
            return
        window = librosa.filters.get_window("hann", settings.n_fft, fftbins=True)
        before = settings.n_fft // 2 if settings.centred else 0
        self.transform = fourier.Transform(settings.n_frames, window, settings.hop_length, before)
        n_freqs, n_frames = self.transform.shape
        self.magnitude = np.zeros((-(-n_freqs // 4) * 4, n_frames), np.float32)
        self.peaks = pitch.Peaks.for_spectra(n_freqs, n_frames)
        self.parts = np.empty((settings.n_bins, n_frames), np.float32)
        self.settings = settings


_scratch = _Scratch()


# log-mel


@functools.cache
def _mel_bank(settings: FeatureSettings) -> tuple[Floats, NDArray[np.int64]]:
    """librosa's mel filter bank and, per frequency, the first and the last + 1 of its bands."""
    bank = librosa.filters.mel(
        sr=settings.sample_rate, n_fft=settings.n_fft, n_mels=settings.log_mel
    )
    bands = [np.flatnonzero(column) for column in bank.T]
    return bank, np.array([(b[0], b[-1] + 1) if len(b) else (0, 0) for b in bands], np.int64)


@njit(cache=True)
def _mel(spectrum, bank, bands, out):  # type: ignore[no-untyped-def]
    """Weighted sums of the power: out (n_bands, n_frames)."""
    n_frames = out.shape[1]
    power = np.empty(n_frames, np.float32)
    out[:] = 0
    for f in range(len(spectrum)):
        row = spectrum[f]
        for t in range(n_frames):
            power[t] = row[t].real * row[t].real + row[t].imag * row[t].imag
        for band in range(bands[f, 0], bands[f, 1]):
            weight, total = bank[band, f], out[band]
            for t in range(n_frames):
                total[t] += weight * power[t]


def _to_db(power: Floats) -> None:
    """power_to_db(ref=1.0, amin=1e-10, top_db=None), in place."""
    np.maximum(power, np.float32(1e-10), out=power)
    np.log10(power, out=power)
    power *= np.float32(10)


# Chroma


@functools.lru_cache(maxsize=200)
def _chroma_bank(settings: FeatureSettings, place: int) -> Floats:
    """librosa's chroma filter bank, with columns of zeros up to whole fours."""
    bank = librosa.filters.chroma(
        sr=settings.sample_rate,
        n_fft=settings.n_fft,
        tuning=pitch.EDGES[place],
        n_chroma=settings.chroma or 12,
    )
    return np.pad(bank, ((0, 0), (0, -bank.shape[1] % 4)))


@njit(cache=True, nogil=True)
def _chroma(magnitude, bank, out):  # type: ignore[no-untyped-def]
    """Weighted sums of the power, divided by the largest of each frame: out (n_chroma, n_frames).

    Four bins are added up before they join the total: fewer passes, smaller rounding errors.
    """
    n_chroma, n_frames = out.shape
    power = np.empty((4, n_frames), np.float32)
    p0, p1, p2, p3 = power
    out[:] = 0
    for f in range(0, len(magnitude), 4):
        for k in range(4):
            row, squared = magnitude[f + k], power[k]
            for t in range(n_frames):
                squared[t] = row[t] * row[t]
        for c in range(n_chroma):
            w0, w1, w2, w3 = bank[c, f], bank[c, f + 1], bank[c, f + 2], bank[c, f + 3]
            total = out[c]
            for t in range(n_frames):
                total[t] += (w0 * p0[t] + w1 * p1[t]) + (w2 * p2[t] + w3 * p3[t])
    for t in range(n_frames):
        largest = np.float32(0)
        for c in range(n_chroma):
            largest = max(largest, out[c, t])
        if largest >= TINY:
            for c in range(n_chroma):
                out[c, t] = np.float64(out[c, t]) / largest


# Tonnetz


@functools.cache
def _tonnetz_basis(n_chroma: int) -> Doubles:
    """librosa's transform (6, n_chroma), from what it answers to each chroma alone."""
    return np.ascontiguousarray(librosa.feature.tonnetz(chroma=np.eye(n_chroma)))


@njit(cache=True)
def _tonnetz(chroma, basis, out):  # type: ignore[no-untyped-def]
    n_chroma, n_frames = chroma.shape
    share = np.empty(n_chroma)
    for t in range(n_frames):
        length = 0.0
        for c in range(n_chroma):
            length += chroma[c, t]
        if length < TINY:
            length = 1.0
        for c in range(n_chroma):
            share[c] = np.float32(chroma[c, t] / length)
        for k in range(len(basis)):
            total = 0.0
            for c in range(n_chroma):
                total += basis[k, c] * share[c]
            out[k, t] = total


# Spectral contrast


@functools.cache
def _contrast_bands(settings: FeatureSettings) -> NDArray[np.int64]:
    """Per band: first bin, last + 1, and how many bins make its peak and its valley.

    As librosa has it: a band takes one bin of the band below, and all but the highest band
    leave out their last bin after their size has been counted.
    """
    n_freqs, n_bands = settings.n_fft // 2 + 1, settings.contrast - 1
    frequencies = librosa.fft_frequencies(sr=settings.sample_rate, n_fft=settings.n_fft)
    edges = np.concatenate([[0.0], 200.0 * 2.0 ** np.arange(n_bands + 1)])
    bands = []
    for k in range(n_bands + 1):
        inside = np.flatnonzero((frequencies >= edges[k]) & (frequencies <= edges[k + 1]))
        first = inside[0] - (k > 0)
        end = n_freqs if k == n_bands else inside[-1] + 1
        bands.append((first, end - (k < n_bands), max(np.rint(QUANTILE * (end - first)), 1)))
    return np.array(bands, np.int64)


def _contrast(magnitude: Floats, bands: NDArray[np.int64], out: Floats) -> None:
    """Peaks less valleys in dB, each kept within 80 dB of the loudest: out (n_bands, n_frames)."""
    extremes = np.empty((2, *out.shape))
    _valleys_and_peaks(magnitude, bands, extremes)
    np.maximum(extremes, 1e-10, out=extremes)
    np.log10(extremes, out=extremes)
    extremes *= 10.0
    for side in extremes:
        np.maximum(side, side.max() - 80.0, out=side)
    out[:] = extremes[1] - extremes[0]


@njit(cache=True, nogil=True)
def _valleys_and_peaks(magnitude, bands, out):  # type: ignore[no-untyped-def]
    """Means of the smallest and of the largest magnitudes of each band: out (2, n_bands, n_frames).

    For a tile of frames, `ranked` holds the smallest so far and, TILE places on, the largest,
    rank by rank; a new value sinks through the ranks to its place.
    """
    n_frames = out.shape[2]
    ranked = np.empty((bands[:, 2].max(), 2 * TILE), np.float32)
    for start in range(0, n_frames, TILE):
        end = min(start + TILE, n_frames)
        for band in range(len(bands)):
            _rank(magnitude, bands[band], start, end, ranked)
            _means(ranked[: bands[band, 2]], out[:, band, start:end])


@njit(cache=True)
def _rank(magnitude, band, start, end, ranked):  # type: ignore[no-untyped-def]
    """Rank the magnitudes of one band in the frames from `start` to `end`."""
    value = np.zeros(2 * TILE, np.float32)
    first, last, n = band
    ranked[:, :TILE] = np.inf
    ranked[:, TILE:] = -np.inf
    for f in range(first, last):
        row = magnitude[f, start:end]
        for t in range(len(row)):
            value[t] = row[t]
            value[TILE + t] = row[t]
        for k in range(n):
            _sink(value, ranked[k])


@njit(cache=True)
def _means(ranked, out):  # type: ignore[no-untyped-def]
    n = len(ranked)
    for t in range(out.shape[1]):
        valley, peak = np.float32(0), np.float32(0)
        for k in range(n):
            valley += ranked[k, t]
            peak += ranked[n - 1 - k, TILE + t]
        out[0, t], out[1, t] = valley / np.float32(n), peak / np.float32(n)


@njit(cache=True)
def _sink(value, rank):  # type: ignore[no-untyped-def]
    """Leave the smaller (TILE places on: the larger) number in the rank, take the other along."""
    for t in range(TILE):
        a, b, c, d = value[t], rank[t], value[TILE + t], rank[TILE + t]
        rank[t], value[t] = min(a, b), max(a, b)
        rank[TILE + t], value[TILE + t] = max(c, d), min(c, d)
