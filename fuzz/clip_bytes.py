"""Any bytes as a sound file: a waveform of the length asked for comes out, or our own error."""

import functools
import io
import random

import numpy as np
import soundfile
from mutations import mutated

from mtcil.audio import decode as audio
from mtcil.settings.sections import FeatureSettings

MAX_BYTES = 8 * 1024  # of an input
SETTINGS = (
    FeatureSettings(16_000, 0.1, 256, 128, True, log_mel=8),
    FeatureSettings(22_050, 0.3, 512, 256, False, log_mel=8),
)
KINDS = (
    *(("WAV", "PCM_16"), ("WAV", "PCM_U8"), ("WAV", "PCM_24"), ("WAV", "FLOAT"), ("WAV", "ULAW")),
    *(("WAV", "IMA_ADPCM"), ("WAV", "MS_ADPCM"), ("AIFF", "PCM_16"), ("FLAC", "PCM_16")),
    *(("OGG", "VORBIS"), ("MP3", "MPEG_LAYER_III"), ("CAF", "ALAC_16"), ("AU", "PCM_16")),
)


@functools.cache
def seeds() -> list[bytes]:
    """Short sound files of the kinds that datasets use, and of some rare ones."""
    tone = 0.5 * np.sin(np.arange(700) / 5)
    clips = []
    for k, (form, subtype) in enumerate(KINDS):
        stream = io.BytesIO()
        samples = np.stack([tone] * (1 + k % 2), axis=1)
        soundfile.write(stream, samples, 8_000 if k % 3 else 16_000, subtype, format=form)
        clips.append(stream.getvalue())
    return clips


def damaged(data: bytes, rng: random.Random) -> bytes:
    """Damage; mostly at the beginning, where the header is."""
    whole = seeds()
    if rng.random() < 0.7:
        return mutated(data[:128], [clip[:128] for clip in whole], rng) + data[128:]
    return mutated(data, whole, rng)


def check(data: bytes) -> None:
    """Decode `data`; only our own error may come of it."""
    for settings in SETTINGS:
        try:
            waveform, seconds = audio.decode_timed(data, settings, "clip")
        except audio.ClipError:
            continue
        assert waveform.shape == (settings.n_samples,) and waveform.dtype == np.float32
        assert np.isfinite(waveform).all() and np.isfinite(seconds) and seconds > 0
