"""From bytes to a waveform: against librosa.load, and what is refused."""

import io
from dataclasses import replace

import librosa
import numpy as np
import pytest
import soundfile

from mtcil.audio.decode import ClipError, decode, decode_timed
from mtcil.settings.sections import FeatureSettings

SETTINGS = FeatureSettings(
    sample_rate=22_050, seconds=3.0, n_fft=1024, hop_length=512, centred=False, log_mel=60
)
FORMATS = [
    (8_000, 1, "WAV", "PCM_U8"),
    (11_025, 2, "WAV", "PCM_16"),
    (22_050, 1, "WAV", "PCM_16"),
    (22_050, 2, "WAV", "PCM_16"),
    (44_100, 2, "WAV", "PCM_24"),
    (44_100, 6, "WAV", "PCM_32"),
    (48_000, 2, "WAV", "FLOAT"),
    (96_000, 1, "WAV", "DOUBLE"),
    (44_100, 2, "FLAC", "PCM_16"),
    (44_100, 1, "OGG", "VORBIS"),
]


def noise(seconds, rate, channels=1):
    """Other noise in each channel, at -12 dB."""
    rng = np.random.default_rng([rate, channels])
    return 0.25 * rng.uniform(-1, 1, (round(seconds * rate), channels)).astype(np.float32)


def file_of(samples, rate, container="WAV", subtype="FLOAT"):
    stream = io.BytesIO()
    soundfile.write(stream, samples, rate, format=container, subtype=subtype)
    return stream.getvalue()


@pytest.mark.filterwarnings("ignore:'(aifc|audioop|sunau)' is deprecated")  # inside librosa.load
@pytest.mark.parametrize(("rate", "channels", "container", "subtype"), FORMATS)
@pytest.mark.parametrize("seconds", [0.5, 2.999, 3.0, 3.01, 4.0, 6.0])
def test_gives_what_librosa_load_gives_cut_or_padded(rate, channels, container, subtype, seconds):
    content = file_of(noise(seconds, rate, channels), rate, container, subtype)
    whole, _ = librosa.load(io.BytesIO(content), sr=22_050, res_type="soxr_hq")
    waveform = decode(content, SETTINGS, "clip")
    assert waveform.dtype == np.float32
    np.testing.assert_array_equal(waveform, librosa.util.fix_length(whole, size=66_150))


@pytest.mark.parametrize(("rate", "to"), [(8_000, 22_050), (44_100, 8_000), (384_000, 16_000)])
def test_reading_only_the_beginning_changes_no_bit_of_it(rate, to):
    samples = noise(5, rate)
    settings = replace(SETTINGS, sample_rate=to, seconds=1.0)
    whole = librosa.resample(samples[:, 0], orig_sr=rate, target_sr=to, res_type="soxr_hq")
    np.testing.assert_array_equal(decode(file_of(samples, rate), settings, "clip"), whole[:to])


def test_channels_are_mixed_before_resampling_by_their_mean():
    left = np.array([0.5, 0.25, -1.0], np.float32)
    right = np.array([0.0, 0.25, 0.5], np.float32)
    waveform = decode(file_of(np.stack([left, right], axis=1), 22_050), SETTINGS, "clip")
    assert waveform[:4].tolist() == [0.25, 0.25, -0.25, 0.0]


def test_channels_of_opposite_sign_cancel_exactly():
    samples = noise(3.5, 44_100)
    content = file_of(np.concatenate([samples, -samples], axis=1), 44_100)
    assert not decode(content, SETTINGS, "clip").any()


def test_short_clips_end_in_zeros_and_one_sample_is_enough():
    waveform = decode(file_of(np.array([0.5], np.float32), 22_050), SETTINGS, "clip")
    assert waveform.shape == (66_150,)
    assert waveform[0] == 0.5
    assert not waveform[1:].any()
    assert decode(file_of(np.array([0.5]), 384_000), SETTINGS, "clip").shape == (66_150,)


@pytest.mark.parametrize("seconds", [0.5, 6.0])
def test_tells_how_long_the_whole_file_lasts(seconds):
    assert decode_timed(file_of(noise(seconds, 44_100), 44_100), SETTINGS, "clip")[1] == seconds


def test_the_content_stays_as_it_was_for_a_second_reading():
    content = file_of(noise(1, 44_100, 2), 44_100)
    np.testing.assert_array_equal(
        decode(content, SETTINGS, "clip"), decode(content, SETTINGS, "clip")
    )


@pytest.mark.parametrize("content", [b"", b"RIFF", b"not a sound file" * 99, b"\x00" * 4096])
def test_bytes_that_are_not_an_audio_file_are_refused_by_name(content):
    with pytest.raises(ClipError, match=r"^yes/a_nohash_0: is not a readable audio file"):
        decode(content, SETTINGS, "yes/a_nohash_0")


def test_a_file_that_is_cut_off_in_its_header_is_refused():
    with pytest.raises(ClipError, match=r"^clip: "):
        decode(file_of(noise(1, 22_050), 22_050)[:30], SETTINGS, "clip")


def test_a_file_without_samples_is_refused():
    with pytest.raises(ClipError, match="clip: contains no samples"):
        decode(file_of(np.zeros((0, 1)), 22_050), SETTINGS, "clip")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30])
def test_samples_that_have_no_features_are_refused(value):
    samples = noise(1, 22_050)
    samples[17] = value
    with pytest.raises(ClipError, match="clip: contains samples that are NaN, infinite or beyond"):
        decode(file_of(samples, 22_050), SETTINGS, "clip")


def test_a_sample_rate_that_no_recorder_has_is_refused():
    with pytest.raises(ClipError, match="clip: states a sample rate of 7 Hz"):
        decode(file_of(noise(1, 22_050), 7), SETTINGS, "clip")
