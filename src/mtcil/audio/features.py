"""What is computed from a waveform: log-mel, chroma, tonnetz, spectral contrast.

The calls to librosa below are the definition. `method="fast"` gives the same numbers from
`mtcil.audio.fast.features`, which computes them per clip in compiled code and is held to these
calls by tests; `method="librosa"` makes the calls.

All parts come from one short-time Fourier transform (Hann window of n_fft samples, zeros
outside the clip when centred), so they have the same frames:

    log_mel   power_to_db of the mel power spectrogram, dB to a power of 1, not below -100 dB
    chroma    chroma_stft: tuning estimated for each clip, each frame's maximum is 1
    tonnetz   of that chroma (Harte et al. 2006), not of a constant-Q transform
    contrast  spectral_contrast: dB between peaks and valleys of `contrast - 1` octaves
              above 200 Hz and of the band below (Jiang et al. 2002)
"""

import functools
import warnings
from typing import Literal

import librosa
import numpy as np
from numpy.typing import NDArray

from mtcil.audio.fast import features as fast_features
from mtcil.core.errors import UserError
from mtcil.settings.sections import FeatureSettings

Method = Literal["fast", "librosa"]

CONTRAST_FMIN = 200.0  # Hz, librosa's own; the first band ends here


def compute(
    waveform: NDArray[np.float32], settings: FeatureSettings, method: Method = "fast"
) -> NDArray[np.float32]:
    """Features of one clip: (n_frames, n_bins), float32, the parts side by side.

    Args:
        waveform: (settings.n_samples,), as `mtcil.audio.decode.decode` gives it.
        method: "fast" calls librosa if n_fft is not a power of two from 64 to 4,096.

    Raises:
        UserError: settings for which librosa gives no result, see `check`.
    """
    check(settings)
    if method == "fast" and fast_features.supports(settings):
        return fast_features.compute(waveform, settings)
    return reference_features(waveform, settings)


@functools.cache
def check(settings: FeatureSettings) -> None:
    """Refuse settings that have no features.

    Raises:
        UserError: an odd n_fft; contrast with more octaves than the sample rate holds, or
            finer than n_fft resolves; mel bands so narrow that some would be empty.
    """
    rate, n_fft = settings.sample_rate, settings.n_fft
    if n_fft % 2:
        raise UserError(f"features: n_fft must be even, got {n_fft}.")
    if settings.contrast and CONTRAST_FMIN * 2.0 ** (settings.contrast - 2) >= rate / 2:
        raise UserError(
            f"features: contrast {settings.contrast} needs frequencies above half of "
            f"sample_rate {rate}. Use fewer bands or a higher sample rate."
        )
    if settings.contrast and rate / n_fft > CONTRAST_FMIN:
        raise UserError(
            f"features: contrast at sample_rate {rate} needs n_fft of at least "
            f"{rate / CONTRAST_FMIN:.0f}, got {n_fft}."
        )
    if settings.log_mel and _has_empty_bands(settings):
        raise UserError(
            f"features: with n_fft {n_fft}, some of {settings.log_mel} mel bands "
            "hold no frequency. Use fewer bands or a larger n_fft."
        )


def _has_empty_bands(settings: FeatureSettings) -> bool:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Empty filters detected")
        bank = librosa.filters.mel(
            sr=settings.sample_rate, n_fft=settings.n_fft, n_mels=settings.log_mel
        )
    return bool((bank.max(axis=1) == 0).any())


def reference_features(
    waveform: NDArray[np.float32], settings: FeatureSettings
) -> NDArray[np.float32]:
    """The features by librosa's own functions: the definition. Same arguments as `compute`."""
    stft = librosa.stft(
        waveform, n_fft=settings.n_fft, hop_length=settings.hop_length, center=settings.centred
    )
    magnitude = np.abs(stft)  # (1 + n_fft / 2, n_frames)
    parts: list[NDArray[np.floating]] = []
    if settings.log_mel:
        parts.append(_log_mel(magnitude**2, settings))
    if settings.chroma or settings.tonnetz:
        chroma = _chroma(magnitude**2, settings)
        if settings.chroma:
            parts.append(chroma)
        if settings.tonnetz:
            parts.append(librosa.feature.tonnetz(chroma=chroma))
    if settings.contrast:
        parts.append(_contrast(magnitude, settings))
    return np.ascontiguousarray(np.concatenate(parts).T, dtype=np.float32)


def _log_mel(power: NDArray[np.float32], settings: FeatureSettings) -> NDArray[np.float32]:
    mel = librosa.feature.melspectrogram(
        S=power, sr=settings.sample_rate, n_fft=settings.n_fft, n_mels=settings.log_mel
    )
    return librosa.power_to_db(mel, ref=1.0, amin=1e-10, top_db=None)


def _chroma(power: NDArray[np.float32], settings: FeatureSettings) -> NDArray[np.float32]:
    with warnings.catch_warnings():  # silence has no tuning; librosa then takes 0
        warnings.filterwarnings("ignore", message="Trying to estimate tuning from empty")
        return librosa.feature.chroma_stft(
            S=power,
            sr=settings.sample_rate,
            n_fft=settings.n_fft,
            n_chroma=settings.chroma or 12,
        )


def _contrast(magnitude: NDArray[np.float32], settings: FeatureSettings) -> NDArray[np.float64]:
    return librosa.feature.spectral_contrast(
        S=magnitude,
        sr=settings.sample_rate,
        n_fft=settings.n_fft,
        n_bands=settings.contrast - 1,
        fmin=CONTRAST_FMIN,
    )
