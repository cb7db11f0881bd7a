"""Short-time Fourier transform in compiled code, for windows of a power of two.

Sixteen frames are transformed at once. Their numbers are side by side, so that every step of
the transform is a loop over sixteen neighbours, which the compiler turns into the processor's
vector instructions; numpy and scipy transform one frame after another and cannot use them.

The real frame of n_fft samples is read as n_fft / 2 complex numbers (even samples real, odd
ones imaginary) and transformed by Stockham's algorithm, decimation in time, radix 4, which
needs no reordering; the transform of the real frame follows from it (Press et al., Numerical
Recipes, section 12.3). Everything is in double precision.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

SMALLEST, LARGEST = 64, 4_096  # samples of a window
LANES = 16  # frames at once
ROW = 2 * LANES  # doubles of one complex number of every frame: real parts, imaginary parts
# A buffer holds its rows in quarters at fixed distances, so that the compiler knows that what
# is written never overlaps. The odd bit keeps the quarters from competing for cache lines.
QUARTER = LARGEST // 8 * ROW + 64


def supports(n_fft: int) -> bool:
    """Whether n_fft is a power of two from 64 to 4,096."""
    return SMALLEST <= n_fft <= LARGEST and n_fft & (n_fft - 1) == 0


class Transform:
    """The transform for clips of one length, with its tables and its working memory.

    Allocating a megabyte per clip would take longer than the transform. One object must not be
    used by two threads at once.
    """

    def __init__(
        self, n_frames: int, window: NDArray[np.float64], hop_length: int, before: int
    ) -> None:
        """The first frame begins `before` samples ahead of the clip; outside there are zeros."""
        n_fft, half = len(window), len(window) // 2
        n_lanes = -(-n_frames // LANES) * LANES
        self._n_frames, self._before, self._hop_length = n_frames, before, hop_length
        self._window = window
        self._samples = np.zeros((n_lanes - 1) * hop_length + n_fft, np.float32)
        rows = np.arange(half)
        self._places = np.append(rows // (half // 4) * QUARTER + rows % (half // 4) * ROW, 0)
        self._turns = np.exp(-2j * np.pi * np.arange(n_fft) / n_fft).view(np.float64)
        self._columns = np.empty((n_fft, LANES), np.float32)
        self._buffers = np.zeros(4 * QUARTER), np.zeros(4 * QUARTER)
        self._spectrum = np.zeros((half + 1, n_lanes), np.complex64)

    @property
    def shape(self) -> tuple[int, int]:
        """Of what a call returns."""
        return self._spectrum.shape

    def __call__(self, waveform: NDArray[np.float32]) -> NDArray[np.complex64]:
        """Transform a clip of any length: (1 + n_fft / 2, n_frames up to whole sixteens).

        Frames beyond n_frames are zero. The next call writes to the same array.
        """
        end = min(self._before + len(waveform), len(self._samples))
        self._samples[self._before : end] = waveform[: end - self._before]
        self._samples[end:] = 0
        tables = self._window, self._places, self._turns
        _transform(
            self._samples, self._hop_length, tables, self._columns, self._buffers, self._spectrum
        )
        self._spectrum[:, self._n_frames :] = 0
        return self._spectrum


@njit(cache=True, nogil=True)
def _transform(samples, hop_length, tables, columns, buffers, spectrum):  # type: ignore[no-untyped-def]
    window, places, turns = tables
    source, target = buffers
    half = len(places) - 1
    for t in range(0, spectrum.shape[1], LANES):
        _side_by_side(samples, t * hop_length, hop_length, columns)
        _first_pass(columns, window, target)
        n = 4
        while 4 * n <= half:
            n *= 4
            source, target = target, source
            _radix_4(source, target, n, places, turns)
        if n < half:
            source, target = target, source
            _radix_2(source, target, places, turns)
        _unpack(target, places, turns, spectrum, t)


@njit(cache=True)
def _side_by_side(samples, first, hop_length, columns):  # type: ignore[no-untyped-def]
    """Copy sixteen frames, `hop_length` apart, from `first` on: columns (n_fft, LANES)."""
    for k in range(0, len(columns), 16):
        for lane in range(LANES):
            start = first + lane * hop_length + k
            piece = samples[start : start + 16]
            for i in range(16):
                columns[k + i, lane] = piece[i]


@njit(inline="always")
def _butterfly(a, b, c, d, y, j):  # type: ignore[no-untyped-def]
    """The transform of four numbers (real part, imaginary part), into the quarters of y."""
    ar, ai = a
    br, bi = b
    cr, ci = c
    dr, di = d
    er, ei, fr, fi = ar + cr, ai + ci, ar - cr, ai - ci
    gr, gi, hr, hi = br + dr, bi + di, bi - di, dr - br
    y[j], y[LANES + j] = er + gr, ei + gi
    y[QUARTER + j], y[QUARTER + LANES + j] = fr + hr, fi + hi
    y[2 * QUARTER + j], y[2 * QUARTER + LANES + j] = er - gr, ei - gi
    y[3 * QUARTER + j], y[3 * QUARTER + LANES + j] = fr - hr, fi - hi


@njit(cache=True)
def _first_pass(columns, window, target):  # type: ignore[no-untyped-def]
    """Apply the window; then transforms of four numbers, a quarter of the frame apart."""
    quarter = len(columns) // 4
    for k in range(0, quarter, 2):
        a0, a1 = columns[k], columns[k + 1]
        b0, b1 = columns[k + quarter], columns[k + quarter + 1]
        c0, c1 = columns[k + 2 * quarter], columns[k + 2 * quarter + 1]
        d0, d1 = columns[k + 3 * quarter], columns[k + 3 * quarter + 1]
        ua0, ua1 = window[k], window[k + 1]
        ub0, ub1 = window[k + quarter], window[k + quarter + 1]
        uc0, uc1 = window[k + 2 * quarter], window[k + 2 * quarter + 1]
        ud0, ud1 = window[k + 3 * quarter], window[k + 3 * quarter + 1]
        y = target[k // 2 * ROW :]
        for j in range(LANES):
            ar, ai, br, bi = a0[j] * ua0, a1[j] * ua1, b0[j] * ub0, b1[j] * ub1
            cr, ci, dr, di = c0[j] * uc0, c1[j] * uc1, d0[j] * ud0, d1[j] * ud1
            _butterfly((ar, ai), (br, bi), (cr, ci), (dr, di), y, j)


@njit(cache=True)
def _radix_4(source, target, n, places, turns):  # type: ignore[no-untyped-def]
    """Join transforms of n / 4 numbers, four at a time, to transforms of n numbers."""
    stride = (len(places) - 1) // n
    for p in range(n // 4):
        turn = 4 * stride * p  # of exp(-2 pi i p / n), in doubles
        br_, bi_ = turns[turn], turns[turn + 1]
        cr_, ci_ = turns[2 * turn], turns[2 * turn + 1]
        dr_, di_ = turns[3 * turn], turns[3 * turn + 1]
        for q in range(stride):
            row = 4 * stride * p + q
            x0, x1 = source[places[row] :], source[places[row + stride] :]
            x2, x3 = source[places[row + 2 * stride] :], source[places[row + 3 * stride] :]
            y = target[places[stride * p + q] :]
            for j in range(LANES):
                ar, ai = x0[j], x0[LANES + j]
                br = x1[j] * br_ - x1[LANES + j] * bi_
                bi = x1[j] * bi_ + x1[LANES + j] * br_
                cr = x2[j] * cr_ - x2[LANES + j] * ci_
                ci = x2[j] * ci_ + x2[LANES + j] * cr_
                dr = x3[j] * dr_ - x3[LANES + j] * di_
                di = x3[j] * di_ + x3[LANES + j] * dr_
                _butterfly((ar, ai), (br, bi), (cr, ci), (dr, di), y, j)


@njit(cache=True)
def _radix_2(source, target, places, turns):  # type: ignore[no-untyped-def]
    """Join two transforms of half the numbers to the transform of all, where fours do not do."""
    for p in range((len(places) - 1) // 2):
        wr, wi = turns[4 * p], turns[4 * p + 1]
        x, y = source[places[2 * p] :], target[places[p] :]
        for j in range(LANES):
            br = x[ROW + j] * wr - x[ROW + LANES + j] * wi
            bi = x[ROW + j] * wi + x[ROW + LANES + j] * wr
            ar, ai = x[j], x[LANES + j]
            y[j], y[LANES + j] = ar + br, ai + bi
            y[2 * QUARTER + j], y[2 * QUARTER + LANES + j] = ar - br, ai - bi


@njit(cache=True)
def _unpack(source, places, turns, spectrum, first):  # type: ignore[no-untyped-def]
    """The transform of the real frames from that of their even and odd samples.

    Frequencies k and half - k come from the same two numbers. They are rounded on the way.
    """
    half = len(places) - 1
    rounded = np.empty(4 * LANES, np.float32)
    for k in range(half // 2 + 1):
        x, z = source[places[k] :], source[places[half - k] :]
        wr, wi = turns[2 * k], turns[2 * k + 1]
        for j in range(LANES):
            er, ei = 0.5 * (x[j] + z[j]), 0.5 * (x[LANES + j] - z[LANES + j])
            dr, di = 0.5 * (x[LANES + j] + z[LANES + j]), 0.5 * (z[j] - x[j])
            pr, pi = dr * wr - di * wi, dr * wi + di * wr
            rounded[j], rounded[LANES + j] = er + pr, ei + pi
            rounded[2 * LANES + j], rounded[3 * LANES + j] = er - pr, pi - ei
        low = spectrum[k, first : first + LANES]
        high = spectrum[half - k, first : first + LANES]
        for j in range(LANES):
            low[j] = complex(rounded[j], rounded[LANES + j])
            high[j] = complex(rounded[2 * LANES + j], rounded[3 * LANES + j])
