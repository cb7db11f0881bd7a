"""Words spoken by espeak-ng, in the layout of Speech Commands; for demos and tests.

A speaker is a voice variant of espeak-ng with an accent of its own. Speed, pitch, loudness,
start and background noise vary from take to take. The numbers below are ours.
"""

import ctypes
import hashlib
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import espeakng_loader
import numpy as np
import soxr
from numpy.typing import NDArray

from mtcil.audio.archives import write_tar
from mtcil.audio.source import ClipInfo, Source
from mtcil.audio.waves import Wave, at_level, band_noise, rms, wav_bytes
from mtcil.core.errors import UserError
from mtcil.core.randomness import numpy_generator, seed_for
from mtcil.datasets.speech_commands import clip_of_any_word
from mtcil.settings.sections import SPEAKABLE, DatasetSettings

SOURCE: Source | None = None
CLASSES: tuple[str, ...] | None = None

SAMPLE_RATE = 16_000  # Hz
N_SAMPLES = 16_000  # one second, as in Speech Commands
TAKES = 2  # of a word by a speaker, while there are speakers left
ACCENTS = (
    *("en-us", "en-us-nyc", "en-029", "en", "en-gb-scotland"),
    *("en-gb-x-rp", "en-gb-x-gbclan", "en-gb-x-gbcwmd"),
)

_AUDIO_OUTPUT_SYNCHRONOUS, _RATE, _PITCH, _UTF8 = 2, 1, 3, 1  # espeak-ng's speak_lib.h
_CALLBACK = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p
)


def clip_of(member: str) -> ClipInfo | None:
    """Word, speaker and id of a clip, as Speech Commands has them, for any word."""
    return clip_of_any_word(member)


def make(archive: Path, settings: DatasetSettings) -> None:
    """Write `settings.clips_per_class` clips of each of `settings.classes`.

    The same settings give the same bytes, whatever ran before in the process.

    Raises:
        UserError: a class is no English word that could be spoken.
    """
    for word in settings.classes:
        if not SPEAKABLE.fullmatch(word):
            raise UserError(
                f"synthetic_words cannot speak the class {word!r}. "
                "Write English words into `classes` of params.yaml."
            )
    write_tar(archive, _clips(settings.classes, settings.clips_per_class))


def _clips(words: tuple[str, ...], n_clips: int) -> Iterator[tuple[str, bytes]]:
    """(name, wav) of every clip; each speaker says a word once before one says it again."""
    voices = _voices()[: max(10, -(-n_clips // TAKES))]
    with _espeak() as espeak:
        for word in words:
            for k in range(n_clips):
                take, speaker = divmod(k, len(voices))
                voice = voices[speaker]
                name = f"{word}/{_speaker_id(voice)}_nohash_{take}.wav"
                rng = numpy_generator(0, "synthetic words", name)
                wave = _one_second(espeak.speak(word, voice, rng), rng)
                yield name, wav_bytes(wave, SAMPLE_RATE)


def _voices() -> list[str]:
    """All voice variants, mixed up, each with one accent, e.g. "en-us+f3"."""
    folder = Path(espeakng_loader.get_data_path(), "voices", "!v")
    variants = sorted(file.name for file in folder.iterdir())
    rng = numpy_generator(0, "synthetic words", "voices")
    return [f"{rng.choice(ACCENTS)}+{variants[i]}" for i in rng.permutation(len(variants))]


def _speaker_id(voice: str) -> str:
    return hashlib.sha256(voice.encode()).hexdigest()[:8]


def _one_second(speech: Wave, rng: np.random.Generator) -> Wave:
    """Put speech at a random place and level into a second of random noise.

    Args:
        speech: (samples,) at SAMPLE_RATE; what is longer than a second is cut.
        rng: draws place, noise and levels.

    Returns:
        (N_SAMPLES,), within -PEAK..PEAK.
    """
    speech = speech[:N_SAMPLES]
    start = int(rng.uniform(0.35, 0.65) * (N_SAMPLES - len(speech)))
    low, high = rng.uniform(20, 500), rng.uniform(500, 6000)  # Hz
    signal_to_noise = rng.uniform(10, 40)  # dB
    wave = band_noise(N_SAMPLES, SAMPLE_RATE, low, high, rng)
    wave *= np.float32(rms(speech) * 10 ** (-signal_to_noise / 20))
    wave[start : start + len(speech)] += speech
    return at_level(wave, rng.uniform(-35, -15))


class _Espeak:
    """espeak-ng's C library, one voice at a time."""

    def __init__(self, library: str) -> None:
        self._pieces: list[bytes] = []
        self._library = ctypes.CDLL(library)
        self._c = ctypes.CDLL(None)
        data = espeakng_loader.get_data_path().encode()
        self._rate = self._library.espeak_Initialize(_AUDIO_OUTPUT_SYNCHRONOUS, 0, data, 0)
        if self._rate <= 0:
            raise UserError("espeak-ng does not start. Reinstall espeakng-loader.")
        self._callback = _CALLBACK(self._keep)  # held here: C does not
        self._library.espeak_SetSynthCallback(self._callback)

    def _keep(self, samples: object, n_samples: int, events: object) -> int:
        if samples and n_samples > 0:
            self._pieces.append(ctypes.string_at(samples, 2 * n_samples))  # type: ignore[arg-type]
        return 0

    def speak(self, word: str, voice: str, rng: np.random.Generator) -> Wave:
        """(samples,) at SAMPLE_RATE, without silence around; `rng` draws speed and pitch."""
        self._pieces.clear()
        if self._library.espeak_SetVoiceByName(voice.encode()):
            raise UserError(f"espeak-ng has no voice {voice!r}. Reinstall espeakng-loader.")
        self._library.espeak_SetParameter(_RATE, int(rng.integers(120, 220)), 0)  # words / minute
        self._library.espeak_SetParameter(_PITCH, int(rng.integers(30, 71)), 0)  # 50: the voice's
        seed = seed_for(0, word, voice) % 2**31
        self._c.srand(seed)  # breath and flutter draw from both
        self._library.espeak_ng_SetRandSeed(ctypes.c_long(seed))
        text = word.encode()
        size = ctypes.c_size_t(len(text) + 1)
        self._library.espeak_Synth(text, size, 0, 1, 0, _UTF8, None, None)
        self._library.espeak_Synchronize()
        wave = np.frombuffer(b"".join(self._pieces), np.int16).astype(np.float32) / 2**15
        return _without_silence(soxr.resample(wave, self._rate, SAMPLE_RATE))

    def close(self) -> None:
        self._library.espeak_Terminate()


@contextmanager
def _espeak() -> Iterator[_Espeak]:
    """Load a private copy of espeak-ng.

    The library never resets its generators and filters, so that a second use in the same
    process would give other bytes; a copy under a new path starts afresh.
    """
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        espeak = _Espeak(shutil.copy(espeakng_loader.get_library_path(), folder))
        try:
            yield espeak
        finally:
            espeak.close()


def _without_silence(wave: Wave) -> Wave:
    """Cut what is below 1 % of the peak at both ends."""
    loud: NDArray[np.intp] = np.flatnonzero(np.abs(wave) > 0.01 * np.abs(wave).max())
    return wave[loud[0] : loud[-1] + 1]
