"""Ten procedural sounds of a city, in the layout of UrbanSound8K; for demos and tests.

Each class is a function of time and of a recording's timbre (four numbers in 0..1): slices of
one recording share timbre, rate, channels and sample format. Street noise, and often another
class, sounds in the background. The numbers below are ours.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soxr
from numpy.typing import NDArray

from mtcil.audio.archives import write_tar
from mtcil.audio.source import ClipInfo, Source
from mtcil.audio.waves import Wave, at_level, band_noise, rms, wav_bytes
from mtcil.core.errors import UserError
from mtcil.core.randomness import numpy_generator
from mtcil.datasets import urbansound8k
from mtcil.settings.sections import DatasetSettings

SOURCE: Source | None = None
CLASSES = urbansound8k.CLASSES

RATE = 22_050  # Hz, of everything made here; some recordings are then written at twice that
SCARCE = {"car_horn": 0.43, "gun_shot": 0.37}  # UrbanSound8K: 429 and 374 clips, not 1,000
SLICES = 5  # of a recording, about
N_FOLDS = 10


def clip_of(member: str) -> ClipInfo | None:
    """Class, recording, fold and id of a clip, as of UrbanSound8K."""
    return urbansound8k.clip_of(member)


def make(archive: Path, settings: DatasetSettings) -> None:
    """Write `settings.clips_per_class` clips of each of `settings.classes`, fewer of SCARCE ones.

    The same settings give the same bytes.

    Raises:
        UserError: a class that is not one of UrbanSound8K's.
    """
    unknown = [name for name in settings.classes if name not in CLASSES]
    if unknown:
        raise UserError(
            f"synthetic_urban has no class {', '.join(unknown)}. There are: {', '.join(CLASSES)}. "
            "Correct `classes` in params.yaml."
        )
    write_tar(archive, _files(settings.classes, settings.clips_per_class))


class _Slice(NamedTuple):
    """One clip to make."""

    label: str
    recording: int  # fsID
    number: int  # of the slice in its recording
    fold: int

    @property
    def file_name(self) -> str:
        return f"{self.recording}-{CLASSES.index(self.label)}-0-{self.number}.wav"


def _files(classes: tuple[str, ...], clips_per_class: int) -> Iterator[tuple[str, bytes]]:
    slices = [s for label in classes for s in _slices(label, clips_per_class)]
    rows = [
        f"{s.file_name},{s.recording},{s.fold},{CLASSES.index(s.label)},{s.label}\n" for s in slices
    ]
    table = "slice_file_name,fsID,fold,classID,class\n" + "".join(rows)
    yield "UrbanSound8K/metadata/UrbanSound8K.csv", table.encode()
    for one in slices:
        yield f"UrbanSound8K/audio/fold{one.fold}/{one.file_name}", _wav(one)


def _slices(label: str, clips_per_class: int) -> Iterator[_Slice]:
    """The clips of a class: at least ten, of at least ten recordings, so that no fold lacks it."""
    n_clips = max(10, round(SCARCE.get(label, 1) * clips_per_class))
    n_recordings = max(10, n_clips // SLICES)
    for k in range(n_clips):
        number, recording = divmod(k, n_recordings)
        fold = recording % N_FOLDS + 1
        yield _Slice(label, 100_000 * (1 + CLASSES.index(label)) + recording, number, fold)


def _wav(one: _Slice) -> bytes:
    """Synthesise a slice; what belongs to the recording is drawn from a generator of its own."""
    recorder = numpy_generator(0, "synthetic urban", one.recording)
    timbre = recorder.random(4)
    doubled, stereo = recorder.random() < 0.4, recorder.random() < 0.4
    subtype = str(recorder.choice(["PCM_16", "PCM_24", "FLOAT"], p=[0.6, 0.3, 0.1]))
    rng = numpy_generator(0, "synthetic urban", one.recording, one.number)
    wave = _mix(one.label, timbre, rng)
    if doubled:
        wave = soxr.resample(wave, RATE, 2 * RATE)
    if stereo:  # the right ear hears the same, softer and 0.5 ms later
        right = np.roll(wave, RATE // 2000) * np.float32(0.7)
        wave = np.stack([wave, right], axis=1)
    return wav_bytes(at_level(wave, rng.uniform(-35, -12)), RATE * (1 + doubled), subtype)


def _mix(label: str, timbre: NDArray[np.float64], rng: np.random.Generator) -> Wave:
    """(samples,) at RATE, 0.5 to 4 s: the class before street noise and perhaps another class."""
    seconds = 4.0 if rng.random() < 0.3 else rng.uniform(0.5, 4.0)
    time = np.arange(round(seconds * RATE)) / RATE
    wave = _unit(SOUNDS[label](time, timbre, rng))
    noise = band_noise(len(time), RATE, rng.uniform(30, 200), rng.uniform(300, 4000), rng)
    wave += noise * np.float32(10 ** (-rng.uniform(-3, 15) / 20))
    if rng.random() < 0.35:
        other = SOUNDS[str(rng.choice(CLASSES))]
        wave += _unit(other(time, rng.random(4), rng)) * np.float32(
            10 ** (-rng.uniform(3, 15) / 20)
        )
    return wave


def _unit(wave: Wave) -> Wave:
    return wave / np.float32(rms(wave))


# Building blocks. All times in seconds, all frequencies in Hz.


def _tone(hertz: NDArray[np.float64] | float, time: NDArray[np.float64], falloff: float) -> Wave:
    """A tone of up to 12 harmonics k of amplitude k ** -falloff, read from a table of one period.

    Args:
        hertz: fundamental, one number or (samples,).
    """
    n_harmonics = int(np.clip(RATE / 2 / np.max(hertz), 1, 12))
    period = 2 * np.pi * np.arange(2048) / 2048
    table = sum(np.sin(k * period) * k**-falloff for k in range(1, n_harmonics + 1))
    turns = np.cumsum(np.broadcast_to(hertz, time.shape)) / RATE
    return np.asarray(table, np.float32)[(turns * 2048).astype(np.int64) % 2048]


def _strikes(time: NDArray[np.float64], starts: NDArray[np.float64], strike: Wave) -> Wave:
    """The same short sound at several moments."""
    wave = np.zeros(len(time), np.float32)
    for first in (starts * RATE).astype(int):
        end = min(first + len(strike), len(wave))
        if first < end:
            wave[first:end] += strike[: end - first]
    return wave


def _moments(
    time: NDArray[np.float64], gap: float, jitter: float, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Moments about `gap` apart, the first one in the first tenth of a second."""
    n_moments = int(time[-1] / gap) + 2
    gaps = gap * (1 + jitter * rng.uniform(-1, 1, n_moments))
    return rng.uniform(0, 0.1) + np.cumsum(gaps) - gaps[0]


def _decay(seconds: float, length: float) -> tuple[NDArray[np.float64], Wave]:
    """Time axis of `length` seconds, and an envelope that falls to 1/e in `seconds`."""
    time = np.arange(int(length * RATE)) / RATE
    return time, np.exp(-time / seconds).astype(np.float32)


# The classes. Each: (time (samples,), timbre (4,) in 0..1, rng of the slice) -> (samples,).


def _air_conditioner(time: NDArray, timbre: NDArray, rng: np.random.Generator) -> Wave:
    hiss = band_noise(len(time), RATE, 60, 300 + 900 * timbre[0], rng)
    return hiss + np.float32(0.2 + timbre[1]) * _tone(90 + 60 * timbre[2], time, 1.5)


def _car_horn(time: NDArray, timbre: NDArray, rng: np.random.Generator) -> Wave:
    hertz = 300 + 250 * timbre[0]
    chord = _tone(hertz, time, 0.5 + timbre[1]) + _tone(hertz * (1.2 + 0.1 * timbre[2]), time, 0.7)
    gap = rng.uniform(0.4, 1.5)
    return chord * ((time + rng.uniform(0, gap)) % gap < 0.7 * gap)


def _children_playing(time: NDArray, timbre: NDArray, rng: np.random.Generator) -> Wave:
    wave = 0.3 * band_noise(len(time), RATE, 500, 4000, rng)
    for _ in range(4):
        sway = np.sin(2 * np.pi * (rng.uniform(0.5, 2) * time + rng.random()))
        voice = _tone((300 + 300 * timbre[0]) * rng.uniform(0.8, 1.4) * 2 ** (0.4 * sway), time, 1)
        syllables = np.sin(2 * np.pi * (rng.uniform(1, 3) * time + rng.random()))
        wave += voice * np.maximum(syllables, 0).astype(np.float32)
    return wave


def _dog_bark(time: NDArray, timbre: NDArray, rng: np.random.Generator) -> Wave:
    axis, envelope = _decay(0.04 + 0.05 * timbre[1], 0.3)
    hertz = (350 + 500 * timbre[0]) * (0.6 + np.exp(-axis / 0.08))
    bark = _tone(hertz, axis, 0.8) + timbre[2] * band_noise(len(axis), RATE, 500, 2500, rng)
    return _strikes(time, _moments(time, rng.uniform(0.3, 0.8), 0.3, rng), bark * envelope)


def _drilling(time: NDArray, timbre: NDArray, rng: np.random.Generator) -> Wave:
    wobble = 1 + 0.05 * np.sin(2 * np.pi * (rng.uniform(0.3, 2) * time + rng.random()))
    whine = _tone((150 + 350 * timbre[0]) * wobble, time, 0.3)
    grit = band_noise(len(time), RATE, 1000 + 1500 * timbre[1], 6000, rng)
    return whine + grit * (1 + whine) * np.float32(0.3 + timbre[2])


def _engine_idling(time: NDArray, timbre: NDArray, rng: np.random.Generator) -> Wave:
    axis, envelope = _decay(0.02, 0.1)
    stroke = _tone(70 + 80 * timbre[0], axis, 1.2) * envelope
    strokes = _strikes(time, _moments(time, 1 / (14 + 16 * timbre[1]), 0.1, rng), stroke)
    return strokes + 0.2 * band_noise(len(time), RATE, 50, 200 + 800 * timbre[2], rng)


def _gun_shot(time: NDArray, timbre: NDArray, rng: np.random.Generator) -> Wave:
    axis, envelope = _decay(0.03 + 0.1 * timbre[0], 0.8)
    bang = band_noise(len(axis), RATE, 80, 800 + 4000 * timbre[1], rng) * envelope
    shots = _moments(time, rng.uniform(0.15, 2.0), 0.1, rng)[: rng.integers(1, 5)]
    return _strikes(time, shots, bang)


def _jackhammer(time: NDArray, timbre: NDArray, rng: np.random.Generator) -> Wave:
    axis, envelope = _decay(0.015 + 0.02 * timbre[2], 0.12)
    blow = _tone(900 + 1500 * timbre[0], axis, 0.5)
    blow = (blow + band_noise(len(axis), RATE, 300, 5000, rng)) * envelope
    return _strikes(time, _moments(time, 1 / (10 + 10 * timbre[1]), 0.05, rng), blow)


def _siren(time: NDArray, timbre: NDArray, rng: np.random.Generator) -> Wave:
    speed = 0.25 * 16 ** timbre[0]  # wail to yelp
    sweep = np.sin(2 * np.pi * (speed * time + rng.random()))
    return _tone(950 + 250 * timbre[1] + (250 + 200 * timbre[2]) * sweep, time, 1.5)


def _street_music(time: NDArray, timbre: NDArray, rng: np.random.Generator) -> Wave:
    axis, envelope = _decay(0.15 + 0.2 * timbre[0], 0.8)
    beat = 0.18 + 0.15 * timbre[1]
    moments = _moments(time, beat, 0, rng)
    scale = 220 * 2 ** (timbre[2] + np.array([0, 2, 4, 7, 9, 12, 16]) / 12)
    wave = np.zeros(len(time), np.float32)
    for hertz in scale:
        struck = moments[rng.random(len(moments)) < 0.3]
        wave += _strikes(time, struck, _tone(float(hertz), axis, 1 + timbre[3]) * envelope)
    thump = band_noise(len(axis), RATE, 50, 120, rng) * envelope
    return wave + _strikes(time, moments[::4], thump)


Sound = Callable[[NDArray, NDArray, np.random.Generator], Wave]
SOUNDS: dict[str, Sound] = {
    "air_conditioner": _air_conditioner,
    "car_horn": _car_horn,
    "children_playing": _children_playing,
    "dog_bark": _dog_bark,
    "drilling": _drilling,
    "engine_idling": _engine_idling,
    "gun_shot": _gun_shot,
    "jackhammer": _jackhammer,
    "siren": _siren,
    "street_music": _street_music,
}
