"""A study: its `params.yaml` together with the `settings.yaml` that all studies share."""

from collections.abc import Iterator, Sequence
from dataclasses import field
from typing import Annotated, Any, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from mtcil.settings.reader import STRICT
from mtcil.settings.sections import (
    AuxiliaryWords,
    Count,
    DatasetSettings,
    FeatureSettings,
    HeadsText,
    MachineSettings,
    NetworkSettings,
    Positive,
    RowName,
    Seed,
    SplitKind,
    SplitSettings,
    SplitShares,
    Whole,
    parse_losses,
    require,
    require_unique,
)
from mtcil.settings.training import (
    BaseTrainingSettings,
    ComparisonSettings,
    MemorySettings,
    ScheduleRates,
    StepTrainingSettings,
)

SINGLE, MULTITASK = "single", "multitask"  # the base models that the paper compares
CEILING = "ceiling"  # a value of `control`
AUXILIARY = "auxiliary"  # a value of `parts`
# Of a base model's training: one of these, or "<part>.<setting>" of `base_parts`.
BASE_SETTINGS = ("learning_rate", "task_weight", "length")


@dataclass(frozen=True, config=STRICT)
class BaseRow:
    """A base model: the heads it is trained with, and the method that learns on from it.

    Attributes:
        heads: sizes of the tasks, largest first, e.g. "5-4-3-2"; or "all".
        method: of the incremental steps: a row of `methods`.
        splits: a base model for each of them.
        passes: whether each task has its own batches and forward pass, or all share one.
        control: of what multitask training brings; null: none. longer: more updates, so that the
            one head may see as many clips as the heads of `multitask` together; shuffled_labels:
            all heads except the full one learn noise; ceiling: a backbone that has seen the
            classes of all steps, which shows how much a base model could help.
        parts: of the training, rows of `base_parts`, in the order in which they change clips.
        length: of the training, as a multiple of the dataset's updates.
        order_seed: draws the class order; null: the run's seed does.
        seeds: some of the study's; null: all.
    """

    heads: HeadsText
    method: str = "ccil"
    splits: tuple[SplitKind, ...] = ("random",)
    passes: Literal["separate", "shared"] = "separate"
    control: Literal["longer", "shuffled_labels", "ceiling"] | None = None
    parts: tuple[str, ...] = ()
    length: Positive = 1.0
    order_seed: Seed | None = None
    seeds: tuple[Seed, ...] | None = None

    def __post_init__(self) -> None:
        require_unique(self.splits, "splits")
        require(
            self.control != "shuffled_labels" or self.passes == "separate",
            "control shuffled_labels needs passes: separate.",
        )
        require(
            self.control != "shuffled_labels" or self.has_tasks,
            "control shuffled_labels needs more heads than one: it shuffles the labels of the "
            "smaller tasks.",
        )
        require(self.control != CEILING or not self.has_tasks, "control ceiling needs one head.")
        require(self.control is None or self.length == 1, "set length or control, not both.")
        if self.parts:
            require_unique(self.parts, "parts")
            require(self.control is None, "parts and control: only one of both.")
            require(
                self.passes == "shared" or not self.has_tasks,
                "parts and several heads need passes: shared.",
            )

    @property
    def has_tasks(self) -> bool:
        """Whether there are heads other than the full one."""
        return "-" in self.heads or self.heads == "all"


@dataclass(frozen=True, config=STRICT, kw_only=True)
class FromBases:
    """What every section may say that starts from base models of a dataset.

    Attributes:
        bases: rows of `base_models`; null: all of the dataset's.
        splits: of those of the base models.
        seeds: some of the base models'; null: all.
    """

    bases: tuple[str, ...] | None = None
    splits: tuple[SplitKind, ...] = ("random",)
    seeds: tuple[Seed, ...] | None = None

    def __post_init__(self) -> None:
        require_unique(self.splits, "splits")
        if self.bases is not None:
            require_unique(self.bases, "bases")


@dataclass(frozen=True, config=STRICT, kw_only=True)
class ExemplarSweep(FromBases):
    """The memory budgets to try."""

    exemplars: tuple[Count, ...]
    method: str = "ccil"

    def __post_init__(self) -> None:
        super().__post_init__()
        require_unique(self.exemplars, "exemplars")


@dataclass(frozen=True, config=STRICT, kw_only=True)
class LossAblation(FromBases):
    """The sets of loss terms to try, e.g. "CE_N+CE_O"."""

    losses: tuple[str, ...]
    method: str = "ccil"

    def __post_init__(self) -> None:
        super().__post_init__()
        require_unique([parse_losses(text) for text in self.losses], "losses")


@dataclass(frozen=True, config=STRICT, kw_only=True)
class EpochSweep(FromBases):
    """The schedules and ends of fine-tuning to try.

    Attributes:
        schedules: see `mtcil.running.schedules`.
        epochs: of a step; null: early stopping, as `step_training` says.
    """

    schedules: tuple[Literal["two_step", "cosine", "small"], ...]
    epochs: tuple[Annotated[int, Field(ge=2)] | None, ...]
    method: str = "ccil"

    def __post_init__(self) -> None:
        super().__post_init__()
        require_unique(self.schedules, "schedules")
        require_unique(self.epochs, "epochs")


@dataclass(frozen=True, config=STRICT)
class HeadsTiming:
    """The heads whose base training is timed, in so many rounds."""

    heads: tuple[HeadsText, ...]
    rounds: Whole

    def __post_init__(self) -> None:
        require_unique(self.heads, "heads")


@dataclass(frozen=True, config=STRICT)
class Tuning:
    """Where settings of methods and of base trainings are chosen.

    Validation and test clips choose together, so nothing of the study can be reported.

    Attributes:
        base: the row of `base_models` that the methods start from.
        seeds: of all tuned runs; none of them is a seed of the study.
        methods: of those with a grid; null: all; empty: none.
        base_grids: for a row of `base_models`, values of `learning_rate`, `task_weight`, `length`
            (updates as a multiple of the dataset's) and settings of its parts, such as
            `mixup.alpha`; every combination is tried.
    """

    base: str
    seeds: tuple[Seed, ...]
    methods: tuple[str, ...] | None = None
    split: SplitKind = "random"
    base_grids: dict[str, dict[str, tuple[Positive, ...]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        require_unique(self.seeds, "seeds")
        if self.methods:
            require_unique(self.methods, "methods")
        for name, grid in self.base_grids.items():
            for setting, values in grid.items():
                unique = len(set(values)) == len(values)
                require(unique, f"base_grids.{name}.{setting}: duplicate entry.")
        require(
            self.methods != () or bool(self.base_grids),
            "tunes nothing: name methods or base_grids.",
        )


@dataclass(frozen=True, config=STRICT, kw_only=True)
class Comparison(FromBases):
    """The methods that start from the same base models: rows of `methods`; null: all of them."""

    methods: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.methods is not None:
            require_unique(self.methods, "methods")


Start = tuple[str, SplitKind, Sequence[int]]  # base (a row of `base_models`), split, seeds


@dataclass(frozen=True, config=STRICT)
class Study:
    """Both files of a study. Sections from `base_models` on are keyed by dataset."""

    root: str
    settings: str
    exemplars: Count | None  # an override of every dataset's K
    headline: str  # the base model in plots/headline_*.csv
    shown: str  # the dataset in those files
    seeds: tuple[Seed, ...]  # may be empty in a study that only tunes
    machine: MachineSettings
    datasets: dict[RowName, DatasetSettings]
    base_models: dict[RowName, dict[RowName, BaseRow]]
    exemplar_sweeps: dict[RowName, ExemplarSweep]
    loss_ablations: dict[RowName, LossAblation]
    epoch_sweeps: dict[RowName, EpochSweep]
    heads_timings: dict[RowName, HeadsTiming]
    tunings: dict[RowName, Tuning]
    comparisons: dict[RowName, Comparison]
    base_probes: dict[RowName, FromBases]
    # of settings.yaml
    features: dict[RowName, FeatureSettings]
    networks: dict[RowName, NetworkSettings]
    split: SplitShares
    base_training: BaseTrainingSettings
    auxiliary_words: dict[RowName, AuxiliaryWords | None]
    base_parts: dict[RowName, dict[str, Any]]  # each read by its own file, see learning/parts
    step_training: StepTrainingSettings
    memory: MemorySettings
    methods: dict[RowName, dict[str, Any]]  # each read by its own file, see mtcil/methods
    schedules: ScheduleRates
    comparison: ComparisonSettings
    probes: dict[RowName, dict[str, Any]]  # each read by its own file, see mtcil/probes

    def __post_init__(self) -> None:
        learnt = (self.exemplar_sweeps, self.loss_ablations, self.epoch_sweeps, self.comparisons)
        others = (self.base_probes, self.heads_timings)
        only_tunes = self.tunings and not any((*learnt, *others))
        if self.seeds or not only_tunes:
            require_unique(self.seeds, "seeds")

    def budget(self, dataset: str) -> int:
        """K in force: the study's override, or the dataset's own."""
        return self.datasets[dataset].exemplars if self.exemplars is None else self.exemplars

    def split_of(self, kind: SplitKind) -> SplitSettings:
        """The split of one kind."""
        return SplitSettings(kind, self.split.train, self.split.test, self.split.validation)

    def base_seeds(self, dataset: str, base: str) -> tuple[int, ...]:
        """Seeds of the base models of a row."""
        return self.base_models[dataset][base].seeds or self.seeds

    def all_starts(self, dataset: str) -> Iterator[Start]:
        """Every base model of a dataset."""
        for base, row in self.base_models[dataset].items():
            for split in row.splits:
                yield base, split, self.base_seeds(dataset, base)

    def starts(self, dataset: str, row: FromBases) -> Iterator[Start]:
        """The base models that a section's row starts from."""
        for base in row.bases or self.base_models[dataset]:
            for split in row.splits:
                yield base, split, row.seeds or self.base_seeds(dataset, base)
