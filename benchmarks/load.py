"""Both datasets at full size, on made audio: time, memory and disk of their first two stages.

`python benchmarks/load.py [FOLDER] [--tiny]` prints Markdown. It needs about 20 GB in FOLDER (else
where temporary files go) and some minutes. Words: 20 of 3,200 clips by `synthetic_words`. City
sounds: 8,732 clips of noise in the layout of UrbanSound8K, up to 4 s, of mixed rates, channels and
formats.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import yaml
from size import arguments, sized

from mtcil.audio.archives import write_tar
from mtcil.audio.waves import wav_bytes
from mtcil.datasets.urbansound8k import CLASSES

ROOT = Path(__file__).parents[1]
N_URBAN, N_WORDS = sized(8_732, 300), sized(64_000, 240)
FORMATS = (  # sample rate, channels, subtype: the commonest of UrbanSound8K and the extremes
    (44_100, 2, "PCM_16"), (44_100, 2, "PCM_24"), (48_000, 2, "PCM_16"), (96_000, 2, "PCM_24"),
    (44_100, 1, "PCM_16"), (22_050, 1, "PCM_16"), (11_025, 1, "PCM_16"), (8_000, 1, "PCM_16"),
    (192_000, 1, "PCM_16"), (44_100, 1, "FLOAT"),
)  # fmt: skip


def city_sounds() -> Iterator[tuple[str, bytes]]:
    """(name, wav) of clips of noise."""
    rng = np.random.default_rng(0)
    for k in range(N_URBAN):
        rate, n_channels, subtype = FORMATS[k % len(FORMATS)]
        seconds = 4.0 if k % 5 else rng.uniform(0.1, 4.0)
        wave = rng.random((round(rate * seconds), n_channels), np.float32) - np.float32(0.5)
        fold, label = k // 10 % 10 + 1, k % len(CLASSES)
        name = f"UrbanSound8K/audio/fold{fold}/{100_000 + k // 6}-{label}-0-{k}.wav"
        yield name, wav_bytes(wave.squeeze(), rate, subtype)


def make_study(folder: Path) -> None:
    """The root's study with synthesised words."""
    values = yaml.safe_load((ROOT / "params.yaml").read_text("utf-8"))
    values |= {"root": str(ROOT), "settings": str(ROOT / "settings.yaml")}
    words = values["datasets"]["gsc"]
    words |= {"kind": "synthetic_words", "clips_per_class": N_WORDS // len(words["classes"])}
    folder.mkdir()
    (folder / "params.yaml").write_text(yaml.safe_dump(values, sort_keys=False), "utf-8")
    shutil.copy(ROOT / "dvc.yaml", folder)
    (folder / "sources").mkdir()
    for name in values["datasets"]:  # lists of no file: whatever audio there is, is taken
        (folder / "sources" / f"{name}.csv").write_text("name,bytes,checksum\n", "utf-8")
    dvc("init", "--no-scm", folder=folder)
    dvc("config", "cache.type", "reflink,hardlink,symlink,copy", folder=folder)  # as the project's


def dvc(*arguments: str, folder: Path, **variables: str) -> None:
    """Run DVC; what it and the stage print is shown if it fails."""
    command = [sys.executable, "-m", "dvc", *arguments]
    bin_dir = Path(sys.executable).parent
    path = f"{bin_dir}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "OMP_NUM_THREADS": "1", **variables}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"dvc {' '.join(arguments)} failed:\n{done.stdout}{done.stderr}")


class Peak(threading.Thread):
    """Most memory of all processes below this one together, each shared page counted once."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.n_bytes, self._done = 0, threading.Event()

    def run(self) -> None:
        while not self._done.wait(0.25):
            now = 0
            for process in psutil.Process().children(recursive=True):
                try:
                    now += process.memory_full_info().pss
                except psutil.Error:  # it ended meanwhile
                    continue
            self.n_bytes = max(self.n_bytes, now)

    def stop(self) -> int:
        self._done.set()
        self.join()
        return self.n_bytes


def measured(stage: str, folder: Path, **variables: str) -> tuple[float, int]:
    """Wall seconds and peak bytes of one stage under DVC."""
    peak, start = Peak(), time.perf_counter()
    peak.start()
    dvc("repro", "--single-item", stage, folder=folder, **variables)
    return time.perf_counter() - start, peak.stop()


def on_disk(folder: Path) -> int:
    """Bytes of all files; one that several names lead to counts once."""
    files = (path.lstat() for path in folder.rglob("*") if path.is_file())
    return sum({(file.st_dev, file.st_ino): file.st_size for file in files}.values())


def seconds_of_status(folder: Path, *targets: str) -> float:
    """Wall seconds of `dvc status`."""
    start = time.perf_counter()
    dvc("status", *targets, folder=folder)
    return time.perf_counter() - start


def main() -> None:
    where = Path(arguments()[0]) if arguments() else None
    with tempfile.TemporaryDirectory(dir=where) as temporary:
        study, archive = Path(temporary, "study"), Path(temporary, "UrbanSound8K.tar")
        make_study(study)
        write_tar(archive, city_sounds())
        empty = seconds_of_status(study)
        print("| stage | clips | wall | peak memory | written |\n| --- | --- | --- | --- | --- |")
        for stage, n_clips in (
            ("download@gsc", N_WORDS), ("download@us8k", N_URBAN),
            ("extract_features@gsc", N_WORDS), ("extract_features@us8k", N_URBAN),
        ):  # fmt: skip
            before = on_disk(study)
            seconds, peak = measured(stage, study, MTCIL_SOURCE_US8K=str(archive))
            written = f"{(on_disk(study) - before) / 1e6:,.0f} MB"
            print(f"| {stage} | {n_clips:,} | {seconds:.0f} s | {peak / 1e6:,.0f} MB | {written} |")
        named = seconds_of_status(study, "download@gsc", "extract_features@gsc")
        whole = seconds_of_status(study)
        print(f"\n`dvc status` of the whole study: {whole:.1f} s, before there were any data")
        print(f"{empty:.1f} s; of the two stages of one dataset: {named:.1f} s.")


if __name__ == "__main__":
    main()
