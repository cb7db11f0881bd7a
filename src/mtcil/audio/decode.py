"""From the bytes of a sound file to a waveform of one sample rate and one length.

The channels are mixed first and the mix is resampled, with soxr's "HQ" quality: what
`librosa.load(res_type="soxr_hq")` does. Both are part of the features' definition.
"""

import io
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from mtcil.core.errors import UserError
from mtcil.settings.sections import FeatureSettings

FILTER_REACH = 1_600  # samples at the lower of the two rates; soxr HQ reaches less far
SAMPLE_RATES = (1_000, 1_000_000)  # Hz; a header beyond them is damaged
LOUDEST = 1e12  # float files may go beyond full scale; beyond this, a power overflows


# A header of these may state any length: their samples are counted. libsndfile corrects others'.
COMPRESSED = ("CAF", "FLAC", "MP3", "OGG")
BLOCK = 1024  # frames read at once where they are only counted; damage loses one block


class Sound(NamedTuple):
    """What a sound file holds."""

    format: str  # libsndfile's name: "WAV", "FLAC", ...
    rate: int  # Hz
    channels: int
    seconds: float


class ClipError(UserError):
    """A clip that cannot be used; the message is its name, a colon and the reason."""


def decode(content: bytes, settings: FeatureSettings, name: str) -> NDArray[np.float32]:
    """The waveform of a sound file: (settings.n_samples,), mono, 1.0 is full scale.

    Longer clips are cut, shorter ones padded with zeros at the end. `name` is for messages.

    Raises:
        ClipError: not an audio file, no samples, or samples that are not finite numbers.
    """
    return decode_timed(content, settings, name)[0]


def decode_timed(
    content: bytes, settings: FeatureSettings, name: str
) -> tuple[NDArray[np.float32], float]:
    """Like `decode`, with the seconds that the whole file lasts.

    Of a long file only the beginning is read, with more than soxr's filter reaches behind
    it: the waveform is, bit for bit, the beginning of the whole file's, resampled. Damage
    after that point is not noticed, and ends the seconds.
    """
    samples, rate, seconds = _read(content, settings, name)
    if len(samples) == 0:
        raise ClipError(f"{name}: contains no samples")
    mono = _mix(samples)
    if rate != settings.sample_rate:
        mono = soxr.resample(mono, rate, settings.sample_rate, quality="HQ")
    if len(mono) < settings.n_samples:
        mono = np.pad(mono, (0, settings.n_samples - len(mono)))
    return mono[: settings.n_samples], seconds


def measure(content: bytes, name: str) -> Sound:
    """What a sound file holds, its length counted where the header may be wrong.

    Raises:
        ClipError: not an audio file, or no samples.
    """
    with _opened(content, name) as file:
        n_frames = _frames_after(file, 0) if file.format in COMPRESSED else file.frames
        if n_frames == 0:
            raise ClipError(f"{name}: contains no samples")
        return Sound(file.format, file.samplerate, file.channels, n_frames / file.samplerate)


class _Stream(soundfile.SoundFile):
    """A sound file that is read from its beginning to its end.

    Seeking, as soundfile does after each read, fails in a FLAC file that states no length.
    """

    def seekable(self) -> bool:
        return False


@contextmanager
def _opened(content: bytes, name: str) -> Iterator[_Stream]:
    try:
        with _Stream(io.BytesIO(content)) as file:
            if not SAMPLE_RATES[0] <= file.samplerate <= SAMPLE_RATES[1]:
                raise ClipError(f"{name}: states a sample rate of {file.samplerate} Hz")
            yield file
    except soundfile.SoundFileError as error:
        reason = getattr(error, "error_string", str(error))  # without the address of an object
        raise ClipError(f"{name}: is not a readable audio file ({reason})") from error


def _frames_after(file: _Stream, n_frames: int) -> int:
    """Total frames of a file, `n_frames` of which are read; it ends where damage begins."""
    try:
        while n_read := len(file.read(BLOCK, "int16")):
            n_frames += n_read
    except soundfile.SoundFileError:
        if n_frames == 0:
            raise
    return n_frames


def _read(
    content: bytes, settings: FeatureSettings, name: str
) -> tuple[NDArray[np.float32], int, float]:
    """The samples (n, n_channels) that decide the waveform, the rate, and the seconds in all."""
    with _opened(content, name) as file:
        rate = file.samplerate
        n_frames, is_16_bit = _frames_needed(rate, settings), file.subtype == "PCM_16"
        # Of 16-bit files integers come twice as fast, and make the same floats.
        samples = file.read(n_frames, "int16" if is_16_bit else "float32", always_2d=True)
        n_read = len(samples)
        if n_read == n_frames:
            is_counted = file.format in COMPRESSED
            n_read = _frames_after(file, n_read) if is_counted else file.frames
        seconds = n_read / rate
    if is_16_bit:
        return samples * np.float32(2**-15), rate, seconds
    if len(samples) and not np.abs(samples).max() <= LOUDEST:
        raise ClipError(f"{name}: contains samples that are NaN, infinite or beyond {LOUDEST:g}")
    return samples, rate, seconds


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
