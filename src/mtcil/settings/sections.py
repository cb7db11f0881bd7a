"""The sections of `settings.yaml` and of `params.yaml`, as frozen dataclasses.

They are apart from the code that they steer, because every stage checks both files first, and
stages that draw or summarise must not import torch. What each number is for, and whether it is
the paper's or ours, stands beside it in the file.
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass as plain_dataclass
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints
from pydantic.dataclasses import dataclass

from mtcil.settings.reader import STRICT

LOSS_TERMS = ("CE_N", "CE_O", "KD_N", "KD_O")

Count = Annotated[int, Field(ge=0)]
Seed = Annotated[int, Field(ge=0)]
Whole = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]
Weight = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(gt=0, lt=1)]
SplitKind = Literal["random", "group"]  # by clip (the paper), or by speaker / recording
# Rows name files and stages; DVC takes a name of digits for a number, and a dot for a section.
RowName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_-]*$")]
# `-S base_models.gsc.single.heads=5` writes the number 5.
HeadsText = Annotated[str, BeforeValidator(lambda v: str(v) if type(v) is int else v)]


# A name from a file system: macOS may store an umlaut as a letter and two dots.
Name = Annotated[str, AfterValidator(lambda text: unicodedata.normalize("NFC", text))]


def require(condition: bool, message: str) -> None:
    """Raise ValueError unless `condition` holds; the message says what is wrong and why."""
    if not condition:
        raise ValueError(message)


def require_unique(values: Sequence[object], where: str) -> None:
    """Reject empty lists and duplicates; a duplicate would be counted as a second run."""
    require(len(values) >= 1, f"{where}: name at least one.")
    require(len(set(values)) == len(values), f"{where}: duplicate entry.")


@dataclass(frozen=True, config=STRICT)
class UpdateSettings:
    """Lengths of training in updates, the same for all runs of one dataset and kind."""

    base: Whole
    head_first: Count
    then_all: Count
    compare: Whole  # of each method's steps in compare_methods, all phases together

    def __post_init__(self) -> None:
        require(self.head_first + self.then_all > 0, "head_first and then_all: not both 0.")


@dataclass(frozen=True, config=STRICT)
class DatasetSettings:
    """A dataset, its classes and its protocol."""

    kind: str  # a file of mtcil/datasets
    classes: tuple[Name, ...]
    clips_per_class: Annotated[int, Field(ge=10)]  # at most; which ones is fixed, not per seed
    steps: tuple[Whole, ...]  # classes per step; first the base step
    exemplars: Count  # K, all old classes together
    updates: UpdateSettings
    features: str  # a row of `features`
    network: str  # a row of `networks`
    class_order: tuple[Name, ...] | None  # null: drawn per seed
    folds: tuple[int, ...] | None  # the dataset's own folds to take clips from; null: all
    exclude: tuple[Name, ...]  # ids of clips to leave out, e.g. damaged ones
    # Finds the speaker or recording in a file's name, e.g. "^([^_]+)_"; null: the dataset does.
    group: str | None = None
    auxiliary: str = "none"  # a row of `auxiliary_words`

    def __post_init__(self) -> None:
        require(len(self.classes) >= 2, "classes: name at least two.")
        require(len(set(self.classes)) == len(self.classes), "classes: duplicate class.")
        folded = {name.casefold() for name in self.classes}
        require(len(folded) == len(self.classes), "classes: two names differ only in case.")
        bad = [name for name in self.classes if not _can_be_a_folder(name)]
        require(
            not bad,
            f"classes: {bad[:1]} cannot be used as a folder name, and archives keep one folder "
            "per class.",
        )
        require(len(self.steps) >= 1, "steps: every step needs at least one class.")
        require(self.steps[0] >= 2, "steps: the base step needs at least two classes.")
        require(
            sum(self.steps) == len(self.classes),
            f"steps {'-'.join(map(str, self.steps))} add up to {sum(self.steps)} classes, "
            f"but {len(self.classes)} are named.",
        )
        require(
            self.class_order is None or sorted(self.class_order) == sorted(self.classes),
            "class_order must name each class once, or be null.",
        )
        require(
            self.group is None or has_one_group(self.group),
            "group must be null, or a regular expression with one pair of parentheses around the "
            'speaker or recording, e.g. "^([^_]+)_".',
        )
        require(self.folds is None or len(self.folds) >= 1, "folds: name at least one, or null.")


def _can_be_a_folder(name: str) -> bool:
    plain = name.isprintable() and name == name.strip() and "/" not in name
    return plain and name not in ("", ".", "..")


def has_one_group(pattern: str) -> bool:
    """Whether a text is a regular expression with one pair of parentheses."""
    try:
        return re.compile(pattern).groups == 1
    except re.error:
        return False


SPEAKABLE = re.compile(r"[A-Za-z][A-Za-z' -]*")  # what `synthetic_words` can speak


@dataclass(frozen=True, config=STRICT)
class AuxiliaryWords:
    """Words that espeak-ng speaks for the part `auxiliary` of a base training."""

    words: tuple[Name, ...]
    clips_per_word: Annotated[int, Field(ge=10)]

    def __post_init__(self) -> None:
        require(len(self.words) >= 2, "words: name at least two.")
        folded = {word.casefold() for word in self.words}
        require(len(folded) == len(self.words), "words: two names differ only in case.")
        odd = [word for word in self.words if not SPEAKABLE.fullmatch(word)]
        require(not odd, f"words: {odd[:1]} cannot be spoken. Write English words.")


@dataclass(frozen=True, config=STRICT)
class FeatureSettings:
    """What is computed from a waveform; the parts stand in this order along the bins."""

    sample_rate: Annotated[int, Field(ge=1_000, le=384_000)]  # Hz
    seconds: Annotated[float, Field(gt=0, le=60)]  # shorter clips are padded, longer ones cut
    n_fft: Annotated[int, Field(ge=32, le=65_536)]  # samples
    hop_length: Whole  # samples
    centred: bool  # librosa's center=
    log_mel: Count  # bins; 0 leaves a part out
    chroma: Count = 0
    tonnetz: Count = 0  # from chroma_stft; 0 or 6
    contrast: Annotated[int, Field(ge=0, le=16)] = 0  # bands + 1

    def __post_init__(self) -> None:
        require(self.hop_length <= self.n_fft, "hop_length must be 1 to n_fft samples.")
        require(self.n_samples >= self.n_fft, "a clip must hold at least one frame of n_fft.")
        require(
            max(self.log_mel, self.chroma) <= self.n_fft // 2,
            f"log_mel and chroma can be at most half of n_fft {self.n_fft}.",
        )
        # not Literal[0, 6], to which `false` is 0
        require(self.tonnetz in (0, 6), "tonnetz must be 0 or 6.")
        require(self.contrast != 1, "contrast must be 0, or bands + 1: 2 to 16.")
        require(self.n_bins > 0, "at least one part must have bins.")

    @property
    def n_samples(self) -> int:
        return round(self.sample_rate * self.seconds)

    @property
    def n_frames(self) -> int:
        padded = self.n_samples if self.centred else self.n_samples - self.n_fft
        return 1 + padded // self.hop_length

    @property
    def n_bins(self) -> int:
        return self.log_mel + self.chroma + self.tonnetz + self.contrast


@dataclass(frozen=True, config=STRICT)
class SplitShares:
    """Shares of each class (paper, section 4.1: 0.7 / 0.2 / 0.1)."""

    train: Share
    test: Share
    validation: Share

    def __post_init__(self) -> None:
        total = self.train + self.test + self.validation
        require(abs(total - 1) < 1e-9, f"the shares must add up to 1, got {total:g}.")


def source_variable(dataset: str) -> str:
    """Name of the environment variable that says where the user has a dataset already."""
    return "MTCIL_SOURCE_" + re.sub(r"\W", "_", dataset, flags=re.ASCII).upper()


@plain_dataclass(frozen=True)
class SplitSettings:
    """How the clips of one run are divided, and what must stay together."""

    kind: SplitKind
    train: float
    test: float
    validation: float


BlockNumber = Annotated[int, Field(ge=1, le=4096)]


@dataclass(frozen=True, config=STRICT)
class NetworkSettings:
    """Blocks of Conv2D, max-pooling, ReLU, BatchNorm; then dropout and average pooling."""

    channels: tuple[BlockNumber, ...]
    kernels: tuple[BlockNumber, ...]
    strides: tuple[BlockNumber, ...]
    pools: tuple[BlockNumber, ...]  # side of the max-pooling after the convolution; 1 is none
    dropout: Annotated[float, Field(ge=0, lt=1)]

    def __post_init__(self) -> None:
        lists = (self.channels, self.kernels, self.strides, self.pools)
        require(
            len({len(x) for x in lists}) == 1 and len(self.channels) >= 1,
            "channels, kernels, strides and pools must be equally long: one number per block.",
        )
        require(all(k % 2 == 1 for k in self.kernels), "kernels must be odd.")

    def left_of(self, n: int) -> int:
        """How many of `n` frames or bins are left before the average pooling."""
        for stride, pool in zip(self.strides, self.pools, strict=True):
            n = (1 + (n - 1) // stride) // pool  # odd kernels, padded by half of them
        return n


@dataclass(frozen=True, config=STRICT)
class MachineSettings:
    """Where and how things run. Only `time_heads` depends on it, on `device`."""

    device: str  # auto, cpu, cuda, cuda:1 ...
    jobs: Annotated[int, Field(ge=0, le=1024)]  # runs at once; 0: one per core allowed
    backend: Literal["loky", "dask"]
    scheduler: str | None  # address of the Dask scheduler
    fresh: bool  # true: ignore finished runs

    def __post_init__(self) -> None:
        require(
            self.backend != "dask" or bool(self.scheduler),
            "backend dask needs scheduler: the address of the Dask scheduler.",
        )


@plain_dataclass(frozen=True)
class Heads:
    """A heads setting: how many classes each task of the base step holds."""

    text: str
    sizes: tuple[int, ...] | None  # None: all subsets of at least two classes

    @classmethod
    def parse(cls, text: str, n_base: int) -> "Heads":
        """Read e.g. "5-4-3-2" or "all"; the first task holds all `n_base` classes.

        Raises:
            ValueError: not of that form, a task of fewer than 2 or more than `n_base`
                classes, a first task that is not the full one, or "all" of more than 12
                base classes, which would be thousands of tasks.
        """
        if text == "all":
            require(n_base <= 12, f'heads "all" of {n_base} base classes are too many. Name some.')
            return cls(text, None)
        try:
            sizes = tuple(int(part) for part in text.split("-"))
        except ValueError:
            sizes = ()
        require(
            "-".join(map(str, sizes)) == text != "",
            f'write heads as "5-4-3-2" or "all", got {text!r}.',
        )
        require(
            sizes[0] == n_base,
            f"the first head must cover all {n_base} base classes, got {text!r}.",
        )
        require(
            all(2 <= size <= n_base for size in sizes),
            f"every task needs 2 to {n_base} classes, got {text!r}.",
        )
        return cls(text, sizes)


def parse_losses(text: str) -> tuple[str, ...]:
    """Read a set of loss terms such as "CE_N+CE_O+KD_N+KD_O".

    Raises:
        ValueError: an unknown or repeated term, another order (tables and claims find the terms by
            their text), or CE_N missing: nothing would be learnt.
    """
    terms = tuple(text.split("+"))
    in_order = tuple(term for term in LOSS_TERMS if term in terms)
    require(
        terms == in_order and "CE_N" in terms,
        f"losses must be CE_N and any of CE_O, KD_N, KD_O, in this order, with +; got {text!r}.",
    )
    return terms
