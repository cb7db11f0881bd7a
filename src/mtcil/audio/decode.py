"""From the bytes of a sound file to a waveform of one sample rate and one length.

The channels are mixed first and the mix is resampled, with soxr's "HQ" quality: what
`librosa.load(res_type="soxr_hq")` does. Both are part of the features' definition.
"""

import io
import math
import struct

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from mtcil.core.errors import UserError
from mtcil.settings.sections import FeatureSettings

FILTER_REACH = 1_600  # samples at the lower of the two rates; soxr HQ reaches less far
SAMPLE_RATES = (1_000, 1_000_000)  # Hz; a header beyond them is damaged
LOUDEST = 1e12  # float files may go beyond full scale; beyond this, a power overflows

_HEADER = struct.Struct("<4sI8sI HHIIHH 4sI")  # of a wav file with nothing but its samples


class ClipError(UserError):
    """A clip that cannot be used; the message is its name, a colon and the reason."""


def decode(
    content: bytes | memoryview, settings: FeatureSettings, name: str
) -> NDArray[np.float32]:
    """The waveform of a sound file: (settings.n_samples,), mono, 1.0 is full scale.

    Longer clips are cut, shorter ones padded with zeros at the end. `name` is for messages.

    Raises:
        ClipError: no sound file, no samples, or samples that are no finite numbers.
    """
    return decode_timed(content, settings, name)[0]


def decode_timed(
    content: bytes | memoryview, settings: FeatureSettings, name: str
) -> tuple[NDArray[np.float32], float]:
    """Like `decode`, with the seconds that the whole file lasts.

    Of a long file only the beginning is read, with more than soxr's filter reaches behind
    it: the waveform is, bit for bit, the beginning of the whole file's, resampled. Damage
    behind that point goes unseen.
    """
    samples, rate, seconds = _plain_wav(content, settings) or _any_file(content, settings, name)
    if len(samples) == 0:
        raise ClipError(f"{name}: holds no samples")
    mono = _mix(samples)
    if rate != settings.sample_rate:
        mono = soxr.resample(mono, rate, settings.sample_rate, quality="HQ")
    waveform = np.zeros(settings.n_samples, np.float32)
    waveform[: len(mono)] = mono[: settings.n_samples]
    return waveform, seconds


def _plain_wav(
    content: bytes | memoryview, settings: FeatureSettings
) -> tuple[NDArray[np.float32], int, float] | None:
    """What `_any_file` gives, of the commonest kind of file; None of any other.

    That is 16-bit PCM, mono or stereo, right behind a header of 44 bytes which agrees with
    itself and with the file's length. libsndfile takes several times longer for it, as it
    asks Python for every piece.
    """
    if len(content) < _HEADER.size:
        return None
    riff, n_riff, wave, n_format, *form, data, n_bytes = _HEADER.unpack_from(content)
    kind, n_channels, rate, byte_rate, n_block, bits = form
    plain = (
        (riff, wave, n_format, kind, bits, data) == (b"RIFF", b"WAVEfmt ", 16, 1, 16, b"data")
        and (n_riff, n_bytes) == (len(content) - 8, len(content) - _HEADER.size)
        and n_channels in (1, 2)
        and (n_block, byte_rate) == (2 * n_channels, 2 * n_channels * rate)
        and n_bytes % n_block == 0
        and SAMPLE_RATES[0] <= rate <= SAMPLE_RATES[1]
    )
    if not plain:
        return None
    pcm = np.frombuffer(content, "<i2", offset=_HEADER.size).reshape(-1, n_channels)
    samples = pcm[: _frames_needed(rate, settings)].astype(np.float32)
    samples *= np.float32(2**-15)
    return samples, rate, len(pcm) / rate


def _any_file(
    content: bytes | memoryview, settings: FeatureSettings, name: str
) -> tuple[NDArray[np.float32], int, float]:
    """By libsndfile: samples (n, n_channels) that decide the waveform, rate, seconds in all."""
    try:
        with soundfile.SoundFile(_Content(content)) as file:
            rate, seconds = file.samplerate, file.frames / file.samplerate
            if not SAMPLE_RATES[0] <= rate <= SAMPLE_RATES[1]:
                raise ClipError(f"{name}: states a sample rate of {rate} Hz")
            samples = file.read(_frames_needed(rate, settings), dtype="float32", always_2d=True)
    except soundfile.SoundFileError as error:
        reason = getattr(error, "error_string", str(error))  # without the address of an object
        raise ClipError(f"{name}: is no sound file that can be read ({reason})") from error
    if len(samples) and not np.abs(samples).max() <= LOUDEST:
        raise ClipError(f"{name}: holds samples that are NaN, infinite or beyond {LOUDEST:g}")
    return samples, rate, seconds


class _Content(io.BytesIO):
    """A file in memory that stays where it is when asked for a place before its beginning, as a
    damaged header asks; else Python prints a traceback, from inside libsndfile's call."""

    def seek(self, place: int, whence: int = 0) -> int:
        try:
            return super().seek(place, whence)
        except ValueError:
            return self.tell()


def _frames_needed(rate: int, settings: FeatureSettings) -> int:
    """How much of a file of this rate decides the waveform."""
    if rate == settings.sample_rate:
        return settings.n_samples
    seconds = settings.seconds + FILTER_REACH / min(rate, settings.sample_rate)
    return math.ceil(seconds * rate)


def _mix(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """The mean over the channels of (n, n_channels); column by column, the fast way."""
    n_channels = samples.shape[1]
    total = samples[:, 0]
    for channel in range(1, n_channels):
        total = total + samples[:, channel]
    return total / np.float32(n_channels) if n_channels > 1 else total
