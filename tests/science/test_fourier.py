"""The compiled short-time Fourier transform: librosa's, bit for bit but for a few."""

import librosa
import numpy as np
import pytest

from mtcil.audio.fast import fourier


def noise(n, seed=0):
    return np.random.default_rng(seed).normal(0, 0.1, n).astype(np.float32)


def transform(waveform, n_fft, hop_length, centred):
    """Ours and librosa's, (1 + n_fft / 2, n_frames)."""
    expected = librosa.stft(waveform, n_fft=n_fft, hop_length=hop_length, center=centred)
    window = librosa.filters.get_window("hann", n_fft)
    before = n_fft // 2 if centred else 0
    ours = fourier.Transform(expected.shape[1], window, hop_length, before)
    return ours(waveform), expected


@pytest.mark.parametrize("n_fft", [64, 128, 256, 512, 1024, 2048, 4096])
@pytest.mark.parametrize(("hop_length", "centred"), [(64, True), (37, False), (50, True)])
def test_equals_librosa_for_every_window(n_fft, hop_length, centred):
    ours, expected = transform(noise(6_000), n_fft, hop_length, centred)
    ours = ours[:, : expected.shape[1]]
    np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-7 * np.abs(expected).max())
    assert (ours == expected).mean() > 0.999


def test_keeps_quiet_frames_apart_from_loud_ones():
    waveform = noise(20_000)
    waveform[5_000:12_000] *= 1e-9
    waveform[14_000:] = 0
    ours, expected = transform(waveform, 1024, 512, True)
    ours = ours[:, : expected.shape[1]]
    np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-18)
    assert not ours[:, -5:].any()


@pytest.mark.parametrize("n_frames", [1, 15, 16, 17, 40])
def test_frames_beyond_the_last_are_zero(n_frames):
    window = librosa.filters.get_window("hann", 256)
    spectrum = fourier.Transform(n_frames, window, 100, 0)(noise(9_000))
    assert spectrum.shape[1] % 16 == 0
    assert spectrum[:, n_frames - 1].all()
    assert not spectrum[:, n_frames:].any()


def test_nothing_of_a_clip_is_left_for_the_next():
    window = librosa.filters.get_window("hann", 256)
    one = fourier.Transform(20, window, 100, 128)
    one(noise(5_000))
    short = one(noise(300, 1)).copy()
    fresh = fourier.Transform(20, window, 100, 128)(noise(300, 1))
    np.testing.assert_array_equal(short, fresh)


def test_takes_powers_of_two_from_64_to_4096():
    taken = [n_fft for n_fft in range(10_000) if fourier.supports(n_fft)]
    assert taken == [64, 128, 256, 512, 1024, 2048, 4096]
