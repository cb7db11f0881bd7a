"""Features: librosa's calls written out, and the fast way held to them."""

from dataclasses import replace

import librosa
import numpy as np
import pytest

from mtcil.audio import features
from mtcil.audio.fast import features as fast_features
from mtcil.core.errors import UserError
from mtcil.settings.sections import FeatureSettings

WORDS = FeatureSettings(
    sample_rate=16_000, seconds=1.0, n_fft=1024, hop_length=512, centred=True, log_mel=32
)
URBAN = FeatureSettings(
    sample_rate=22_050,
    seconds=3.0,
    n_fft=1024,
    hop_length=512,
    centred=False,
    log_mel=60,
    chroma=12,
    tonnetz=6,
    contrast=7,
)
UNUSUAL = FeatureSettings(
    sample_rate=8_000,
    seconds=0.7,
    n_fft=512,
    hop_length=130,
    centred=True,
    log_mel=10,
    chroma=24,
    tonnetz=6,
    contrast=5,
)


def speech_like(n, rate, seed):
    """Pulses at a gliding pitch through two resonances, in syllables, over faint noise."""
    rng = np.random.default_rng(seed)
    t = np.arange(n) / rate
    pitch = 120 + 40 * np.sin(2 * np.pi * 0.7 * t + rng.uniform(0, 6))
    phase = np.cumsum(pitch) / rate
    voice = sum(
        np.cos(2 * np.pi * k * phase) / (1 + ((k * pitch - f) / 150) ** 2)
        for k in range(1, 20)
        for f in (600, 1700)
    )
    syllables = np.clip(np.sin(2 * np.pi * 3 * t), 0, None)
    return 0.1 * voice * syllables + 1e-4 * rng.standard_normal(n)


def signals(settings):
    """Name -> waveform (n_samples,) float32; all from fixed seeds."""
    n, rate = settings.n_samples, settings.sample_rate
    t = np.arange(n) / rate
    made = {f"noise {seed}": np.random.default_rng(seed).normal(0, 0.1, n) for seed in range(8)}
    made |= {f"speech {seed}": speech_like(n, rate, seed) for seed in range(4)}
    made |= {f"tone {hz}": 0.5 * np.sin(2 * np.pi * hz * t) for hz in (60, 440, 452.9, 3_500)}
    made["chirp"] = 0.5 * np.sin(2 * np.pi * (50 + rate / 5 * t) * t)
    made["clicks"] = np.where(np.arange(n) % 2_222 == 0, 1.0, 0.0)
    made["noise, then padding"] = np.where(np.arange(n) < n // 3, made["noise 0"], 0)
    made["faint"] = 1e-6 * made["noise 1"]
    made["very loud"] = 1e9 * made["noise 2"]
    made["16 bits"] = np.round(made["speech 0"] * 32_767) / 32_768
    made["silence"] = np.zeros(n)
    made["DC"] = np.full(n, 0.5)
    made["one sample"] = np.eye(1, n)[0]
    return {name: waveform.astype(np.float32) for name, waveform in made.items()}


def parts(values, settings):
    """Cut (n_frames, n_bins) into its parts, as librosa lays them: (bins, n_frames)."""
    names = ("log_mel", "chroma", "tonnetz", "contrast")
    sizes = [getattr(settings, name) for name in names]
    return dict(zip(names, np.split(values.T, np.cumsum(sizes)[:-1]), strict=True))


@pytest.mark.parametrize("method", ["fast", "librosa"])
def test_speech_commands_have_32_frames_of_32_mel_bands_in_decibels(method):
    waveform = signals(WORDS)["speech 1"]
    values = features.compute(waveform, WORDS, method)
    mel = librosa.feature.melspectrogram(
        y=waveform, sr=16_000, n_fft=1024, hop_length=512, center=True, n_mels=32
    )
    expected = librosa.power_to_db(mel, ref=1.0, amin=1e-10, top_db=None).T
    assert values.shape == (32, 32)
    assert values.dtype == np.float32
    np.testing.assert_allclose(values, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("method", ["fast", "librosa"])
def test_urban_sounds_have_128_frames_of_60_12_6_and_7_bins(method):
    y = signals(URBAN)["noise 3"]
    values = features.compute(y, URBAN, method)
    assert values.shape == (128, 85)
    stft = {"sr": 22_050, "n_fft": 1024, "hop_length": 512, "center": False}
    mel = librosa.feature.melspectrogram(y=y, n_mels=60, **stft)
    chroma = librosa.feature.chroma_stft(y=y, n_chroma=12, **stft)
    expected = [
        librosa.power_to_db(mel, ref=1.0, amin=1e-10, top_db=None),
        chroma,
        librosa.feature.tonnetz(chroma=chroma),
        librosa.feature.spectral_contrast(y=y, n_bands=6, fmin=200.0, quantile=0.02, **stft),
    ]
    np.testing.assert_allclose(values.T, np.concatenate(expected), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("settings", [WORDS, URBAN, UNUSUAL], ids=["words", "urban", "unusual"])
def test_the_fast_way_equals_librosa_on_every_kind_of_signal(settings):
    assert fast_features.supports(settings)
    for name, waveform in signals(settings).items():
        expected = parts(features.compute(waveform, settings, "librosa"), settings)
        got = parts(features.compute(waveform, settings, "fast"), settings)
        for part in ("log_mel", "chroma", "tonnetz"):
            np.testing.assert_allclose(
                got[part], expected[part], rtol=1e-5, atol=1e-5, err_msg=f"{part} of {name}"
            )
        np.testing.assert_allclose(
            got["contrast"], expected["contrast"], rtol=1e-4, atol=1e-4, err_msg=name
        )


@pytest.mark.parametrize("method", ["fast", "librosa"])
@pytest.mark.parametrize("settings", [WORDS, URBAN])
def test_silence_is_minus_100_decibels_and_zeros(settings, method):
    got = parts(features.compute(np.zeros(settings.n_samples, np.float32), settings, method), URBAN)
    np.testing.assert_allclose(got["log_mel"], -100, rtol=1e-6)
    assert not any(got[part].any() for part in ("chroma", "tonnetz", "contrast"))


def test_parts_that_are_left_out_change_nothing_in_the_others():
    waveform = signals(URBAN)["speech 2"]
    whole = parts(features.compute(waveform, URBAN), URBAN)
    for part in whole:
        alone = replace(URBAN, **{name: 0 for name in whole if name != part})
        values = features.compute(waveform, alone)
        assert values.shape == (128, getattr(URBAN, part))
        np.testing.assert_array_equal(values.T, whole[part])


def test_a_result_is_not_touched_by_the_next_clip():
    made = signals(WORDS)
    first = features.compute(made["noise 0"], WORDS)
    kept = first.copy()
    features.compute(made["noise 1"], WORDS)
    features.compute(signals(URBAN)["noise 1"], URBAN)
    np.testing.assert_array_equal(first, kept)
    np.testing.assert_array_equal(features.compute(made["noise 0"], WORDS), kept)


def test_settings_beyond_the_fast_way_are_left_to_librosa():
    for settings in (replace(URBAN, n_fft=8_192), replace(URBAN, n_fft=600, log_mel=30)):
        assert not fast_features.supports(settings)
        waveform = signals(settings)["noise 0"]
        np.testing.assert_array_equal(
            features.compute(waveform, settings), features.reference_features(waveform, settings)
        )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_fft": 1023}, "n_fft must be even"),
        ({"sample_rate": 8_000}, "contrast 7 needs frequencies above half of sample_rate 8000"),
        ({"n_fft": 64, "hop_length": 64, "log_mel": 4}, "needs n_fft of at least 110"),
        ({"log_mel": 400}, "some of 400 mel bands hold no frequency"),
    ],
)
def test_settings_that_have_no_features_are_refused(change, message):
    settings = replace(URBAN, **change)
    with pytest.raises(UserError, match=message):
        features.compute(np.zeros(settings.n_samples, np.float32), settings)
