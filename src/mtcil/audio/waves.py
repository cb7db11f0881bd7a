"""Noise, levels and wav files for the synthetic datasets."""

import io

import numpy as np
import scipy.fft
import scipy.io.wavfile
import soundfile
from numpy.typing import NDArray

Wave = NDArray[np.float32]
PEAK = 0.95  # of full scale; nothing written is louder


def rms(wave: Wave) -> float:
    """Root mean square, never 0."""
    return float(np.sqrt(np.mean(np.square(wave), dtype=np.float64))) + 1e-9


def band_noise(
    n_samples: int, rate: int, low: float, high: float, rng: np.random.Generator
) -> Wave:
    """Gaussian noise between `low` and `high` Hz, falling by 12 dB per octave outside; RMS 1."""
    n_fft = scipy.fft.next_fast_len(n_samples, real=True)
    spectrum = rng.standard_normal(2 * (n_fft // 2 + 1), dtype=np.float32).view(np.complex64)
    hertz = np.fft.rfftfreq(n_fft, 1 / rate).astype(np.float32) + 1e-3
    spectrum /= (1 + (low / hertz) ** 2) * (1 + (hertz / high) ** 2)
    wave = scipy.fft.irfft(spectrum, n_fft)[:n_samples]
    return wave / np.float32(rms(wave))


def at_level(wave: Wave, decibels: float) -> Wave:
    """Scale to an RMS of `decibels` relative to full scale, or as near as PEAK allows."""
    scale = 10 ** (decibels / 20) / rms(wave)
    return wave * np.float32(min(scale, PEAK / (np.abs(wave).max() + 1e-9)))


def wav_bytes(wave: Wave, rate: int, subtype: str = "PCM_16") -> bytes:
    """A wav file of (samples,) or (samples, channels), within -1..1; same input, same bytes.

    Args:
        subtype: "PCM_16", "PCM_24" or "FLOAT".
    """
    file = io.BytesIO()
    if subtype == "FLOAT":  # libsndfile would write the time of day into its PEAK chunk
        scipy.io.wavfile.write(file, rate, wave)
    else:
        soundfile.write(file, wave, rate, format="WAV", subtype=subtype)
    return file.getvalue()
