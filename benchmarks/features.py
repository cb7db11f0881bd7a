"""How fast features are, and how near to librosa's; prints a Markdown table.

    python benchmarks/features.py                        # on sound made here
    python benchmarks/features.py speech_commands=ARCHIVE urbansound8k=ARCHIVE

With archives, the clips are theirs, and the way from the archive to features.npy is timed too,
against a plain loop over librosa.load. Times are CPU milliseconds per clip on one thread:
medians over rounds in which all ways take turns; a ratio is the median of the rounds' ratios.
"""

# ruff: noqa: E402
import os

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_variable] = "1"  # before the libraries start their threads

import functools
import importlib.util
import io
import itertools
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

import librosa
import numpy as np
import torch
from numpy.typing import NDArray

from mtcil import extraction, features
from mtcil.archives import read_members
from mtcil.audio import decode
from mtcil.lookup import find
from mtcil.settings import DatasetSettings, FeatureSettings

WORDS = FeatureSettings(16_000, 1.0, 1024, 512, True, log_mel=32)
URBAN = FeatureSettings(22_050, 3.0, 1024, 512, False, 60, 12, 6, 7)
SETTINGS = {"speech_commands": WORDS, "urbansound8k": URBAN}
FULL_SIZE = {"speech_commands": 64_000, "urbansound8k": 8_732}  # clips in the paper's study
CLIPS, ROUNDS = 32, 31

Array = NDArray[np.floating]
Way = Callable[[Sequence[Array]], Sequence[Array]]  # waveforms to features
Row = tuple[str, str, str, str]  # what, how, measured, against


def four_calls(clips: Sequence[Array]) -> Sequence[Array]:
    """librosa, each part from the waveform."""
    stft: dict[str, Any] = {"sr": 22_050, "n_fft": 1024, "hop_length": 512, "center": False}
    made = []
    for y in clips:
        mel = librosa.feature.melspectrogram(y=y, n_mels=60, **stft)
        chroma = librosa.feature.chroma_stft(y=y, **stft)
        parts = [
            librosa.power_to_db(mel, ref=1.0, amin=1e-10, top_db=None),
            chroma,
            librosa.feature.tonnetz(chroma=chroma),
            librosa.feature.spectral_contrast(y=y, **stft),
        ]
        made.append(np.concatenate(parts).T.astype(np.float32))
    return made


def one_call(clips: Sequence[Array]) -> Sequence[Array]:
    """librosa's log-mel, clip by clip."""
    made = []
    for y in clips:
        mel = librosa.feature.melspectrogram(y=y, sr=16_000, n_fft=1024, hop_length=512, n_mels=32)
        made.append(librosa.power_to_db(mel, ref=1.0, amin=1e-10, top_db=None).T)
    return made


def batched_torch(clips: Sequence[Array]) -> Sequence[Array]:
    """One transform and one matrix product for eight clips, float32."""
    window = torch.hann_window(1024)
    bank = torch.from_numpy(librosa.filters.mel(sr=16_000, n_fft=1024, n_mels=32))
    stft = functools.partial(
        torch.stft, n_fft=1024, hop_length=512, window=window, pad_mode="constant"
    )
    return _eight_at_once(lambda y: bank @ stft(y, return_complex=True).abs().square(), clips)


def with_torchaudio(clips: Sequence[Array]) -> Sequence[Array]:
    from torchaudio.transforms import MelSpectrogram

    kind: dict[str, Any] = {"norm": "slaney", "mel_scale": "slaney", "pad_mode": "constant"}
    return _eight_at_once(MelSpectrogram(16_000, 1024, None, 512, n_mels=32, **kind), clips)


def with_nnaudio(clips: Sequence[Array]) -> Sequence[Array]:
    from nnAudio.features import MelSpectrogram

    mel = MelSpectrogram(16_000, 1024, n_mels=32, hop_length=512, pad_mode="constant", verbose=0)
    return _eight_at_once(mel, clips)


def _eight_at_once(mel: Callable[..., torch.Tensor], clips: Sequence[Array]) -> Sequence[Array]:
    made: list[Array] = []
    for k in range(0, len(clips), 8):
        power = mel(torch.from_numpy(np.stack(clips[k : k + 8]))).detach()
        made += list((10 * power.clamp(min=1e-10).log10()).transpose(1, 2).numpy())
    return made


def by_us(settings: FeatureSettings, method: features.Method) -> Way:
    return lambda clips: [features.compute(y, settings, method) for y in clips]


# Measuring


def measure(archives: dict[str, Path] | None = None) -> list[Row]:
    """Every row of the table; `archives` maps a file of mtcil/datasets to its archive."""
    archives = archives or {}
    torch.set_num_threads(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # librosa's, about silence
        rows = [*_measure_words(archives), *_measure_urban(archives)]
        for kind, archive in archives.items():
            rows += _measure_archive(kind, archive)
    return rows


def _measure_urban(archives: dict[str, Path]) -> list[Row]:
    ways = {
        "librosa, four calls": four_calls,
        "librosa, one shared transform": by_us(URBAN, "librosa"),
        "ours": by_us(URBAN, "fast"),
    }
    clips = _clips(URBAN, archives.get("urbansound8k"))
    return [*_times("128 x 85", ways, clips), *_deviations("128 x 85", URBAN, clips)]


def _measure_words(archives: dict[str, Path]) -> list[Row]:
    ways = {
        "librosa, clip by clip": one_call,
        "torch, eight clips at once, float32": batched_torch,
        "ours": by_us(WORDS, "fast"),
    }
    rows: list[Row] = []
    for module, way in (("torchaudio", with_torchaudio), ("nnAudio", with_nnaudio)):
        if importlib.util.find_spec(module):
            ways[f"{module}, eight clips at once"] = way
        else:
            rows.append(("32 x 32", module, "not installed", ""))
    clips = _clips(WORDS, archives.get("speech_commands"))
    return [*_times("32 x 32", ways, clips), *rows, *_deviations("32 x 32", WORDS, clips)]


def _times(what: str, ways: dict[str, Way], clips: Sequence[Array]) -> list[Row]:
    """CPU time of each way, and how many times faster it is than the first."""
    for way in ways.values():
        way(clips)  # compiles, fills caches
    spent: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, way in ways.items():
            start = time.process_time()
            way(clips)
            spent[name].append((time.process_time() - start) / len(clips) * 1e3)
    first = np.array(next(iter(spent.values())))
    return [
        (what, name, f"{np.median(t):.3f} ms", f"{np.median(first / np.array(t)):.1f} x")
        for name, t in spent.items()
    ]


def _deviations(what: str, settings: FeatureSettings, clips: Sequence[Array]) -> list[Row]:
    """|ours - librosa| / max(1, |librosa|): the largest and the 99.9th percentile."""
    expected = np.stack(by_us(settings, "librosa")(clips)).astype(np.float64)
    gaps = np.abs(np.stack(by_us(settings, "fast")(clips)) - expected)
    gaps /= np.maximum(1, np.abs(expected))
    rows, first = [], 0
    for part in ("log_mel", "chroma", "tonnetz", "contrast"):
        size = getattr(settings, part)
        if size:
            cut = gaps[..., first : first + size]
            most = f"{np.quantile(cut, 0.999):.1e}, at worst {cut.max():.1e}"
            rows.append((what, f"ours, {part}: away from librosa", most, ""))
        first += size
    return rows


def _clips(settings: FeatureSettings, archive: Path | None) -> list[NDArray[np.float32]]:
    """Waveforms (n_samples,): the first of an archive, or noises under moving envelopes."""
    if archive:
        members = read_members(archive, lambda name: name.endswith(".wav"))
        return [decode(c, settings, n) for n, c in itertools.islice(members, CLIPS)]
    made = []
    for seed in range(CLIPS):
        rng = np.random.default_rng(seed)
        t = np.arange(settings.n_samples) / settings.sample_rate
        tones = sum(np.sin(2 * np.pi * hz * t) for hz in rng.uniform(80, 2_000, 5))
        noise = rng.standard_normal(len(t))
        envelope = 1 + np.sin(2 * np.pi * rng.uniform(0.5, 4) * t)
        made.append((0.05 * envelope * (tones + 10 ** rng.uniform(-3, 0) * noise)).astype("f4"))
    return made


# From the archive to features.npy


def _measure_archive(kind: str, archive: Path) -> list[Row]:
    """Wall and CPU seconds, the least of three; CPU seconds of this process alone."""
    labels = [clip.label for clip in map(find("datasets", kind).clip_of, _read(archive)) if clip]
    what = f"{kind}, {len(labels)} clips"
    with tempfile.TemporaryDirectory() as folder, redirect_stderr(io.StringIO()):
        extract = functools.partial(
            extraction.extract,
            archive,
            find("datasets", kind),
            kind,
            _everything(kind, labels),
            SETTINGS[kind],
            Path(folder),
        )
        for jobs in (1, 2):
            extract(jobs)  # compiles, starts the workers
        spent = {
            "a loop over librosa.load and librosa": _least(
                lambda: _plain_loop(archive, kind, Path(folder))
            ),
            "ours, 1 job": _least(lambda: extract(1)),
            "ours, 2 jobs": _least(lambda: extract(2)),
            "reading and decompressing alone": _least(lambda: _read(archive)),
        }
    loop, _ = spent["a loop over librosa.load and librosa"]
    rows = [
        (what, how, f"{wall:.2f} s, CPU {cpu:.2f} s", f"{loop / wall:.1f} x")
        for how, (wall, cpu) in spent.items()
    ]
    whole, reading = spent["ours, 1 job"][1], spent["reading and decompressing alone"][1]
    rows.append((what, "share of reading and decompressing", f"{reading / whole:.0%}", ""))
    each = (whole - reading) / len(labels)
    rows.append((what, "all the rest", f"{1e3 * each:.3f} ms CPU per clip", ""))
    full = FULL_SIZE[kind]
    how = f"all the rest, {full:,} clips on two idle cores"
    return [*rows, (kind, how, f"{each * full / 2:.0f} s", "")]


def _read(archive: Path) -> list[str]:
    """Read every sound file, keep the names."""
    return [name for name, _ in read_members(archive, lambda name: name.endswith(".wav"))]


def _plain_loop(archive: Path, kind: str, into: Path) -> None:
    settings, compute = SETTINGS[kind], four_calls if kind == "urbansound8k" else one_call
    made: list[Array] = []
    for name, content in read_members(archive, lambda name: name.endswith(".wav")):
        if find("datasets", kind).clip_of(name):
            y, _ = librosa.load(
                io.BytesIO(content), sr=settings.sample_rate, duration=settings.seconds
            )
            made += compute([librosa.util.fix_length(y, size=settings.n_samples)])
    np.save(into / "plain.npy", np.stack(made))


def _everything(kind: str, labels: Sequence[str]) -> DatasetSettings:
    """Settings that take every clip of the archive."""
    classes = tuple(sorted(set(labels)))
    return DatasetSettings(
        kind=kind,
        classes=classes,
        clips_per_class=max(10, *(labels.count(label) for label in classes)),
        steps=(2, *(1 for _ in classes[2:])),
        exemplars=0,
        features="",
        network="",
        multitask="2",
        class_order=None,
        folds=None,
        exclude=(),
    )


def _least(function: Callable[[], object]) -> tuple[float, float]:
    """Wall and CPU seconds of the fastest of three runs."""
    times = []
    for _ in range(3):
        wall, cpu = time.perf_counter(), time.process_time()
        function()
        times.append((time.perf_counter() - wall, time.process_time() - cpu))
    return min(times)


def table(rows: Sequence[Row]) -> str:
    """The rows as Markdown."""
    lines = ["| what | how | measured | against the first |", "| --- | --- | --- | --- |"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


if __name__ == "__main__":
    arguments = dict(argument.split("=", 1) for argument in sys.argv[1:])
    print(table(measure({kind: Path(path) for kind, path in arguments.items()})))
