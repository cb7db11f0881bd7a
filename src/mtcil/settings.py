"""The sections of `params.yaml`, as frozen dataclasses; `mtcil.study` is the whole file.

They stand in one file, apart from the code that they steer, because every stage checks the
whole `params.yaml` first, and stages that draw or summarise must not import torch.
What each number is for, and whether it is the paper's or ours, stands in `params.yaml`.
"""

from dataclasses import dataclass
from typing import Literal

LOSS_TERMS = ("CE_N", "CE_O", "KD_N", "KD_O")


def need(condition: bool, message: str) -> None:
    """Refuse settings of which `condition` does not hold; the message says what and why."""
    if not condition:
        raise ValueError(message)


@dataclass(frozen=True)
class DatasetSettings:
    """A dataset, its classes and its protocol."""

    kind: str  # a file of mtcil/datasets
    classes: tuple[str, ...]
    clips_per_class: int  # at most; which ones is fixed per dataset, not per seed
    steps: tuple[int, ...]  # classes per step; the first is the base step
    exemplars: int  # K, all old classes together
    features: str  # a row of `features`
    network: str  # a row of `networks`
    multitask: str  # the heads setting that stands for "multitask" in tables and figures
    class_order: tuple[str, ...] | None  # null: drawn per seed
    folds: tuple[int, ...] | None  # the dataset's own folds to take clips from; null: all
    exclude: tuple[str, ...]  # ids of clips to leave out, e.g. damaged ones

    def __post_init__(self) -> None:
        need(len(self.classes) >= 2, "classes: name at least two.")
        need(len(set(self.classes)) == len(self.classes), "classes: a class stands twice.")
        folded = {name.casefold() for name in self.classes}
        need(len(folded) == len(self.classes), "classes: two differ in capitals alone.")
        bad = [name for name in self.classes if not _can_be_a_folder(name)]
        need(not bad, f"classes: {bad[:1]} is no name of a folder, which a class is in archives.")
        need(self.clips_per_class >= 10, "clips_per_class must be 10 or more.")
        need(min(self.steps, default=0) >= 1, "steps: every step needs at least one class.")
        need(self.steps[0] >= 2, "steps: the base step needs at least two classes.")
        need(
            sum(self.steps) == len(self.classes),
            f"steps {'-'.join(map(str, self.steps))} add up to {sum(self.steps)} classes, "
            f"but {len(self.classes)} are named.",
        )
        need(self.exemplars >= 0, f"exemplars must be 0 or more, got {self.exemplars}.")
        need(
            self.class_order is None or sorted(self.class_order) == sorted(self.classes),
            "class_order must name each class once, or be null.",
        )
        need(self.folds is None or len(self.folds) >= 1, "folds: name at least one, or null.")
        Heads.parse(self.multitask, self.steps[0])


def _can_be_a_folder(name: str) -> bool:
    plain = name.isprintable() and name == name.strip() and "/" not in name
    return plain and name not in ("", ".", "..")


@dataclass(frozen=True)
class FeatureSettings:
    """What is computed from a waveform; the parts stand in this order along the bins."""

    sample_rate: int  # Hz
    seconds: float  # shorter clips are padded with silence, longer ones cut
    n_fft: int  # samples
    hop_length: int  # samples
    centred: bool  # librosa's center=
    log_mel: int  # bins; 0 leaves a part out
    chroma: int = 0
    tonnetz: int = 0  # 0 or 6, from chroma_stft
    contrast: int = 0  # bands + 1

    def __post_init__(self) -> None:
        need(1_000 <= self.sample_rate <= 384_000, "sample_rate must be 1,000 to 384,000 Hz.")
        need(0 < self.seconds <= 60, "seconds must be above 0 and at most 60.")
        need(32 <= self.n_fft <= 65_536, "n_fft must be 32 to 65,536 samples.")
        need(1 <= self.hop_length <= self.n_fft, "hop_length must be 1 to n_fft samples.")
        need(self.n_samples >= self.n_fft, "a clip must hold at least one frame of n_fft samples.")
        need(self.log_mel >= 0 and self.chroma >= 0, "log_mel and chroma must be 0 or more.")
        need(self.tonnetz in (0, 6), "tonnetz must be 0 or 6.")
        need(
            max(self.log_mel, self.chroma) <= self.n_fft // 2,
            f"log_mel and chroma can be at most half of n_fft {self.n_fft}.",
        )
        need(self.contrast in (0, *range(2, 17)), "contrast must be 0, or bands + 1: 2 to 16.")
        need(self.n_bins > 0, "at least one part must have bins.")

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


@dataclass(frozen=True)
class SplitSettings:
    """Shares of each class (paper, section 4.1: 0.7 / 0.2 / 0.1) and what may not be torn apart."""

    kind: Literal["random", "group"]  # by clip (the paper), or by speaker / recording
    train: float
    test: float
    validation: float

    def __post_init__(self) -> None:
        shares = (self.train, self.test, self.validation)
        need(min(shares) > 0, "train, test and validation must all be above 0.")
        need(abs(sum(shares) - 1) < 1e-9, f"the shares must add up to 1, got {sum(shares):g}.")


@dataclass(frozen=True)
class NetworkSettings:
    """Blocks of Conv2D, max-pooling, ReLU, BatchNorm; then dropout and average pooling."""

    channels: tuple[int, ...]
    kernels: tuple[int, ...]
    strides: tuple[int, ...]
    pools: tuple[int, ...]  # side of the max-pooling after the convolution; 1 is none
    dropout: float

    def __post_init__(self) -> None:
        lists = (self.channels, self.kernels, self.strides, self.pools)
        need(
            len({len(x) for x in lists}) == 1 and len(self.channels) >= 1,
            "channels, kernels, strides and pools must be equally long: one number per block.",
        )
        need(
            all(1 <= number <= 4096 for x in lists for number in x),
            "numbers of a block must be 1 to 4,096.",
        )
        need(all(k % 2 == 1 for k in self.kernels), "kernels must be odd.")
        need(0 <= self.dropout < 1, "dropout must be 0 or more and below 1.")

    def left_of(self, n: int) -> int:
        """How many of `n` frames or bins are left before the average pooling."""
        for stride, pool in zip(self.strides, self.pools, strict=True):
            n = (1 + (n - 1) // stride) // pool  # odd kernels, padded by half of them
        return n


@dataclass(frozen=True)
class PhaseSettings:
    """One stretch of training, with one learning-rate curve and early stopping."""

    epochs: int  # at most; 0 leaves the phase out
    patience: int | None  # epochs without a better validation result; null trains all epochs
    learning_rate: float
    schedule: Literal["constant", "cosine"]

    def __post_init__(self) -> None:
        need(self.epochs >= 0, f"epochs must be 0 or more, got {self.epochs}.")
        need(self.patience is None or self.patience >= 1, "patience must be 1 or more, or null.")
        need(self.learning_rate > 0, "learning_rate must be above 0.")


@dataclass(frozen=True)
class SgdSettings:
    """Stochastic gradient descent, as the paper names it; its numbers are ours."""

    batch: int
    momentum: float
    weight_decay: float

    def __post_init__(self) -> None:
        need(self.batch >= 2, "batch must be 2 or more (BatchNorm needs two clips).")
        need(0 <= self.momentum < 1, "momentum must be 0 or more and below 1.")
        need(self.weight_decay >= 0, "weight_decay must be 0 or more.")


@dataclass(frozen=True)
class BaseTrainingSettings:
    """How the base step is learnt."""

    sgd: SgdSettings
    fit: PhaseSettings
    task_weight: float  # weight of each task but the full one, whose weight is 1

    def __post_init__(self) -> None:
        need(self.task_weight >= 0, "task_weight must be 0 or more.")
        need(self.fit.epochs >= 1, "the base step needs at least one epoch.")


@dataclass(frozen=True)
class StepTrainingSettings:
    """How an incremental step is learnt: two-step fine-tuning (paper, section 3.3)."""

    sgd: SgdSettings
    head_first: PhaseSettings
    then_all: PhaseSettings
    frozen_blocks: int  # up-stream blocks that `head_first` keeps frozen
    validation: Literal["all_seen", "new_only", "memory"]
    validation_share: float  # of the exemplars, under `memory`

    def __post_init__(self) -> None:
        need(self.frozen_blocks >= 0, "frozen_blocks must be 0 or more.")
        need(0 < self.validation_share < 1, "validation_share must be between 0 and 1.")


@dataclass(frozen=True)
class MemorySettings:
    """Which clips of learnt classes are kept; how many is `exemplars` (K)."""

    selection: Literal["herding", "random", "official"]


@dataclass(frozen=True)
class MachineSettings:
    """Where and how things run. No stage lists it: it must not make results stale."""

    device: str  # auto, cpu, cuda, cuda:1 ...
    jobs: int  # runs at once; 0: as many as there are cores
    backend: Literal["loky", "dask"]
    scheduler: str | None  # address of the Dask scheduler
    fresh: bool  # true: do not take up finished or half-finished runs

    def __post_init__(self) -> None:
        need(0 <= self.jobs <= 1024, "jobs must be 0 to 1,024.")
        need(
            self.backend != "dask" or bool(self.scheduler),
            "backend dask needs scheduler: the address of the Dask scheduler.",
        )


@dataclass(frozen=True)
class Heads:
    """A heads setting: how many classes each task of the base step holds."""

    text: str
    sizes: tuple[int, ...] | None  # None: all subsets of at least two classes

    @classmethod
    def parse(cls, value: int | str, n_base: int) -> "Heads":
        """Read e.g. "5-4-3-2" or "all"; the first task holds all `n_base` classes.

        Raises:
            ValueError: not of that form, a task of fewer than 2 or more than `n_base`
                classes, a first task that is not the full one, or "all" of more than 12
                base classes, which would be thousands of tasks.
        """
        text = str(value)
        if text == "all":
            need(n_base <= 12, f'heads "all" of {n_base} base classes are too many. Name some.')
            return cls(text, None)
        try:
            sizes = tuple(int(part) for part in text.split("-"))
        except ValueError:
            sizes = ()
        need(
            "-".join(map(str, sizes)) == text != "",
            f'write heads as "5-4-3-2" or "all", got {text!r}.',
        )
        need(
            sizes[0] == n_base,
            f"the first head must cover all {n_base} base classes, got {text!r}.",
        )
        need(
            all(2 <= size <= n_base for size in sizes),
            f"every task needs 2 to {n_base} classes, got {text!r}.",
        )
        return cls(text, sizes)


def parse_losses(text: str) -> tuple[str, ...]:
    """Read a set of loss terms such as "CE_N+CE_O+KD_N+KD_O".

    Raises:
        ValueError: an unknown or repeated term, or CE_N missing: nothing would be learnt.
    """
    terms = tuple(text.split("+"))
    need(
        set(terms) <= set(LOSS_TERMS) and len(set(terms)) == len(terms) and "CE_N" in terms,
        f"losses must be CE_N and any of CE_O, KD_N, KD_O, joined by +; got {text!r}.",
    )
    return terms
