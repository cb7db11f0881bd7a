"""Strange and damaged sound files: which are used, which are refused, and how to go on."""

import io
import json
import struct

import numpy as np
import pytest
import soundfile
import yaml
from refused import refusal
from tiny_study import params, run_stage, write_params

from mtcil.audio import features
from mtcil.audio.archives import write_tar
from mtcil.audio.decode import ClipError, decode
from mtcil.settings.sections import FeatureSettings

WORDS = FeatureSettings(16_000, 1.0, 1024, 512, True, 32)
URBAN = FeatureSettings(22_050, 3.0, 1024, 512, False, 60, 12, 6, 7)
NOISE = 0.25 * np.random.default_rng(0).uniform(-1, 1, 8_000)


def sound(samples=NOISE, rate=16_000, container="WAV", subtype="PCM_16", endian=None) -> bytes:
    stream = io.BytesIO()
    soundfile.write(stream, samples, rate, format=container, subtype=subtype, endian=endian)
    return stream.getvalue()


def chunks(*parts: tuple[bytes, bytes]) -> bytes:
    """A RIFF file of chunks whose sizes are true."""
    body = b"WAVE" + b"".join(
        name + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)
        for name, content in parts
    )
    return b"RIFF" + struct.pack("<I", len(body)) + body


def stating(n_bytes: int, riff: int | None = None) -> bytes:
    """A plain wav whose header states other numbers of bytes than follow."""
    plain = bytearray(sound())
    plain[40:44] = struct.pack("<I", n_bytes)
    if riff is not None:
        plain[4:8] = struct.pack("<I", riff)
    return bytes(plain)


def form(tag=1, channels=1, rate=16_000, bits=16, block=None) -> bytes:
    block = channels * bits // 8 if block is None else block
    return struct.pack("<HHIIHH", tag, channels, rate, rate * block, block, bits)


PCM = (NOISE * 32767).astype("<i2").tobytes()
PLAIN = sound()
# These have features, and they are finite.
USABLE = {
    "8 bit": sound(subtype="PCM_U8"),
    "24 bit": sound(subtype="PCM_24"),
    "32 bit": sound(subtype="PCM_32"),
    "float": sound(subtype="FLOAT"),
    "double": sound(subtype="DOUBLE"),
    "A-law": sound(subtype="ALAW"),
    "mu-law": sound(subtype="ULAW"),
    "ADPCM": sound(subtype="IMA_ADPCM"),
    "GSM 6.10": sound(subtype="GSM610"),
    "six channels": sound(np.stack([NOISE] * 6, axis=1)),
    "extensible": sound(np.stack([NOISE] * 2, axis=1), container="WAVEX"),
    "RF64": sound(container="RF64"),
    "Wave64 named wav": sound(container="W64"),
    "AIFF named wav": sound(container="AIFF"),
    "FLAC named wav": sound(container="FLAC"),
    "Ogg named wav": sound(container="OGG", subtype="VORBIS"),
    "MP3 named wav": sound(container="MP3", subtype="MPEG_LAYER_III"),
    "big-endian": sound(endian="BIG"),
    "1 kHz": sound(rate=1_000),
    "384 kHz": sound(rate=384_000),
    "1 MHz": sound(rate=1_000_000),
    "one sample": sound(NOISE[:1]),
    "silence": sound(np.zeros(16_000)),
    "a constant": sound(np.full(16_000, 0.5)),
    "full scale, square": sound(np.sign(NOISE)),
    "a click": sound(np.eye(1, 16_000, 700)[0]),
    "far beyond full scale": sound(NOISE * 1e12, subtype="FLOAT"),
    "next to nothing": sound(NOISE * 1e-40, subtype="FLOAT"),
    "a sine at half the rate": sound(np.tile([0.9, -0.9], 8_000)),
    "fewer samples than stated": PLAIN[:-4000],
    "half a sample at the end": PLAIN[:-1],
    "half a frame of stereo": sound(np.stack([NOISE] * 2, axis=1))[:-2],
    "more samples than stated": stating(400),
    "an endless stream, as recorders write it": stating(0xFFFFFFFF, 0xFFFFFFFF),
    "a chunk before the samples": chunks((b"LIST", b"x" * 33), (b"fmt ", form()), (b"data", PCM)),
    "a chunk after the samples": PLAIN + b"LIST" + struct.pack("<I", 1000) + b"x",
    "text after the end": PLAIN + b"</html>",
}
# These are listed by name.
REFUSED = {
    "an empty file": (b"", "is not a readable audio file"),
    "text": (b"hello", "is not a readable audio file"),
    "a web page": (b"<!DOCTYPE html>" * 100, "is not a readable audio file"),
    "zeros": (bytes(5_000), "is not a readable audio file"),
    "a picture": (b"\x89PNG\r\n\x1a\n" + bytes(500), "is not a readable audio file"),
    "half a header": (PLAIN[:30], "is not a readable audio file"),
    "no samples": (sound(NOISE[:0]), "contains no samples"),
    "a header alone": (PLAIN[:44], "contains no samples"),
    "no format": (chunks((b"data", PCM)), "is not a readable audio file"),
    "no channel": (
        chunks((b"fmt ", form(channels=0, block=2)), (b"data", PCM)),
        "is not a readable audio",
    ),
    "no bits": (
        chunks((b"fmt ", form(bits=0, block=0)), (b"data", PCM)),
        "is not a readable audio file",
    ),
    "an unknown coding": (
        chunks((b"fmt ", form(tag=0x9999)), (b"data", PCM)),
        "is not a readable audio file",
    ),
    "0 Hz": (chunks((b"fmt ", form(rate=0)), (b"data", PCM)), "is not a readable audio file"),
    "1 Hz": (sound(rate=1), "states a sample rate of 1 Hz"),
    "2 GHz": (sound(rate=2_000_000_000), "states a sample rate of 2000000000 Hz"),
    "NaN": (sound([*NOISE, np.nan], subtype="FLOAT"), "NaN, infinite or beyond"),
    "infinite": (sound([*NOISE, np.inf], subtype="FLOAT"), "NaN, infinite or beyond"),
    "louder than any power": (sound(NOISE * 1e30, subtype="DOUBLE"), "NaN, infinite or beyond"),
    "an MP3 of nothing": (b"ID3\x04" + bytes(2_000), "is not a readable audio file"),
    "a FLAC cut in its header": (sound(container="FLAC")[:20], "is not a readable audio file"),
}


@pytest.mark.parametrize("settings", [WORDS, URBAN], ids=["words", "urban"])
@pytest.mark.parametrize("case", USABLE)
def test_a_strange_file_has_finite_features(settings, case):
    waveform = decode(USABLE[case], settings, "clip")
    found = features.compute(waveform, settings)
    assert found.shape == (settings.n_frames, settings.n_bins)
    assert np.isfinite(found).all()


@pytest.mark.parametrize("case", REFUSED)
def test_a_file_without_use_is_refused_by_name(case):
    content, says = REFUSED[case]
    with pytest.raises(ClipError, match=r"^yes/a: ") as refused:
        decode(content, WORDS, "yes/a")
    assert says in str(refused.value)
    assert "\n" not in str(refused.value) and "object at" not in str(refused.value)


@pytest.fixture
def study(tmp_path):
    """As after the stage download; every file of REFUSED lies among the clips of "no"."""
    values = params(".")
    words = values["datasets"]["words"]
    words |= {"classes": ["yes", "no"], "steps": [2], "clips_per_class": 99}
    values["base_models"] = {"words": {"multitask": {"heads": "2"}}}
    sections = "exemplar_sweeps loss_ablations epoch_sweeps heads_timings tunings comparisons"
    values |= {section: {} for section in [*sections.split(), "base_probes"]}
    write_params(tmp_path, values)
    damaged = [content for content, _ in REFUSED.values()]
    contents = {"yes": [PLAIN] * 12, "no": [PLAIN, *damaged[:10], PLAIN, *damaged[10:], PLAIN]}
    raw = tmp_path / "data" / "raw" / "words"
    raw.mkdir(parents=True)
    files = [
        (f"{word}/{k:08x}_nohash_0.wav", content)
        for word, of_word in contents.items()
        for k, content in enumerate(of_word)
    ]
    write_tar(raw / "words.tar", files)
    (raw / "source.json").write_text(json.dumps({"dataset": "words"}))
    return tmp_path


def test_all_damaged_clips_are_listed_at_once_and_with_these_ids_excluded_it_passes(study):
    first, *lines, last = refusal(study, "extract_features", "words").splitlines()
    assert first == f"error: words: {len(REFUSED)} of {12 + 3 + len(REFUSED)} clips cannot be used:"
    assert len(lines) == len(REFUSED)
    assert "datasets.words.exclude in params.yaml" in last
    ids = [line.split(":")[0].strip() for line in lines]
    values = yaml.safe_load((study / "params.yaml").read_text())
    values["datasets"]["words"]["exclude"] = ids
    write_params(study, values)
    done = run_stage(study, "extract_features", "words")
    assert done.returncode == 0 and "yes 12, no 3." in done.stderr
    table = (study / "data/features/words/clips.csv").read_text()
    assert len(table.splitlines()) == 1 + 12 + 3 and not any(f"{id}," in table for id in ids)


def test_with_all_but_one_excluded_the_one_is_still_named(study):
    lines = refusal(study, "extract_features", "words").splitlines()[1:-1]
    values = yaml.safe_load((study / "params.yaml").read_text())
    values["datasets"]["words"]["exclude"] = [line.split(":")[0].strip() for line in lines[1:]]
    write_params(study, values)
    again = refusal(study, "extract_features", "words").splitlines()
    assert again[0].startswith("error: words: 1 of 16 clips") and again[1] == lines[0]
