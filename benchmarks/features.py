"""How fast features are, and how near to librosa's; prints a Markdown table.

    python benchmarks/features.py                        # on sound made here
    python benchmarks/features.py speech_commands=ARCHIVE urbansound8k=ARCHIVE
    python benchmarks/features.py --tiny                 # a few clips, no peers

With archives, the clips are theirs, and the way from the archive to features.npy is timed too
(archive_to_features.py). Times of features are CPU milliseconds per clip on one thread: medians
over rounds in which all ways take turns; a ratio is the median of the rounds' ratios.

torchaudio and nnAudio are no dependencies of this project: log-mel is measured in an environment
that the script makes for them (.venv/features; needs the network once). torchaudio is published
for CUDA only, and its last release is for an older torch. Its compiled library, which a CPU build
of torch cannot load, is taken out: the log-mel is torch's own operations.
"""

# ruff: noqa: E402
import os

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_variable] = "1"  # before the libraries start their threads

import functools
import importlib.metadata
import importlib.util
import itertools
import json
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import archive_to_features
import environment
import librosa
import numpy as np
import torch
from archive_to_features import URBAN, WORDS, Array, Row, Way
from numpy.typing import NDArray
from size import TINY, sized

from mtcil.audio import features
from mtcil.audio.archives import read_members
from mtcil.audio.decode import decode
from mtcil.settings.sections import FeatureSettings

CLIPS, ROUNDS = sized((32, 31), (2, 1))
OURS = (
    *("torch", "librosa", "soundfile", "numpy", "joblib", "numba", "scipy", "soxr"),
    *("threadpoolctl", "tqdm", "isal", "pydantic", "ruamel.yaml"),
)  # of requirements.txt
PEERS = ("torchaudio==2.11.0", "nnAudio==0.3.4")


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


def measure(archives: dict[str, Path]) -> list[Row]:
    """Every row of the table; `archives` maps a file of mtcil/datasets to its archive."""
    rows = [*_words_beside_peers(archives), *_measure_urban(archives)]
    librosas: dict[str, Way] = {"speech_commands": one_call, "urbansound8k": four_calls}
    return [*rows, *archive_to_features.measure(archives, librosas)]


def _words_beside_peers(archives: dict[str, Path]) -> list[Row]:
    """`_measure_words` in the environment of the peers; here, where that cannot be made."""
    if TINY:
        return _measure_words(archives)
    directory = environment.ROOT / ".venv/features"
    pins = [
        line
        for line in (environment.ROOT / "requirements.txt").read_text().splitlines()
        if line.split("==")[0] in OURS
    ]
    try:
        python = environment.make(directory, pins, PEERS)
    except subprocess.CalledProcessError as error:
        why = f"pip cannot: {error.stderr.strip().splitlines()[-1]}"
        rows = _measure_words(archives)
        return [(what, how, why if how in PEERS else told, of) for what, how, told, of in rows]
    for library in directory.glob("lib/*/site-packages/torchaudio/lib/*.so"):
        library.unlink()
    words = [f"{kind}={path}" for kind, path in archives.items()]
    done = subprocess.run(
        [str(python), __file__, "--words", *words],
        env=environment.variables(),
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return [tuple(row) for row in json.loads(done.stdout)]


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
    for peer, way in zip(PEERS, (with_torchaudio, with_nnaudio), strict=True):
        if importlib.util.find_spec(peer.split("==")[0]):
            torch_version = importlib.metadata.version("torch")
            ways[f"{peer} on torch {torch_version}, eight clips at once".replace("==", " ")] = way
        else:
            rows.append(("32 x 32", peer, "not installed", ""))
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


def table(rows: Sequence[Row]) -> str:
    """The rows as Markdown."""
    lines = ["| what | how | measured | against the first |", "| --- | --- | --- | --- |"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def main(arguments: list[str]) -> None:
    pairs = (argument.split("=", 1) for argument in arguments if "=" in argument)
    archives = {kind: Path(path) for kind, path in pairs}
    torch.set_num_threads(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # librosa's, about silence
        if "--words" in arguments:
            print(json.dumps(_measure_words(archives)))
        else:
            print(table(measure(archives)))


if __name__ == "__main__":
    main(sys.argv[1:])
