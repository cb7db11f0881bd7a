"""The tuning of a clip: the very one that librosa estimates."""

from dataclasses import replace

import librosa
import numpy as np
import pytest

from mtcil.audio.fast import pitch
from mtcil.settings.sections import FeatureSettings

SETTINGS = FeatureSettings(22_050, 3.0, 1024, 512, False, log_mel=0, chroma=12)


def estimate(waveform, settings):
    """What we say and what librosa says, in parts of a bin."""
    stft = librosa.stft(waveform, n_fft=1024, hop_length=512, center=False)
    magnitude = np.ascontiguousarray(np.abs(stft))
    place = pitch.estimate(magnitude, settings, pitch.Peaks.for_spectra(*magnitude.shape))
    expected = librosa.estimate_tuning(
        S=magnitude**2, sr=settings.sample_rate, bins_per_octave=settings.chroma
    )
    return pitch.EDGES[place], expected


@pytest.mark.parametrize("n_chroma", [12, 24])
def test_it_is_librosas_for_tones_all_around_a_semitone(n_chroma):
    settings = replace(SETTINGS, chroma=n_chroma)
    t = np.arange(30_000) / 22_050
    found = set()
    for cents in np.arange(-50.5, 51, 0.5):
        tones = [np.sin(2 * np.pi * hz * 2 ** (cents / 1200) * t) for hz in (440, 659.26, 1760)]
        ours, librosas = estimate((0.2 * sum(tones)).astype(np.float32), settings)
        assert ours == librosas, f"{cents} cents"
        found.add(ours)
    assert len(found) > 50


@pytest.mark.parametrize("rate", [2_000, 7_900, 22_050])
def test_it_is_librosas_for_noise_where_answers_are_close_and_the_last_bin_may_count(rate):
    settings = replace(SETTINGS, sample_rate=rate)
    for seed in range(30):
        waveform = np.random.default_rng(seed).normal(0, 0.1, 9_000).astype(np.float32)
        ours, librosas = estimate(waveform, settings)
        assert ours == librosas, seed


def test_silence_is_in_tune():
    magnitude = np.zeros((513, 4), np.float32)
    place = pitch.estimate(magnitude, SETTINGS, pitch.Peaks.for_spectra(513, 4))
    assert pitch.EDGES[place] == pytest.approx(0, abs=1e-15)


def test_the_edges_of_the_hundred_bins_count_as_in_numpy():
    edges = pitch.EDGES.astype(np.float32)
    near = np.concatenate([np.nextafter(edges, -1), edges, np.nextafter(edges, np.float32(1))])
    for octave_bins in (0, 7, 63):
        for semitone in near[near > -0.5] + np.float32(octave_bins) + np.float32(1):
            three = np.array([semitone, semitone, 20.123], np.float32)
            residual = np.mod(three, np.float32(1))
            residual[residual >= 0.5] -= 1
            expected = np.argmax(np.histogram(residual, pitch.EDGES)[0])
            assert pitch._fullest_bin(three, np.ones(3, bool), 100) == expected, semitone


@pytest.mark.parametrize("n", [1, 2, 3, 10, 1001, 5000])
def test_the_median_by_counting_is_numpys(n):
    rng = np.random.default_rng(n)
    for values in (rng.random(n), rng.integers(1, 4, n), 10.0 ** rng.uniform(-37, 37, n)):
        numbers = values.astype(np.float32)
        assert pitch._median(numbers) == np.median(numbers)
