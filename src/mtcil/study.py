"""A study: the whole of `params.yaml`, its sections and its rows."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from mtcil.config import SettingsError, build, read_yaml
from mtcil.settings import (
    BaseTrainingSettings,
    DatasetSettings,
    FeatureSettings,
    Heads,
    MachineSettings,
    MemorySettings,
    NetworkSettings,
    SplitSettings,
    StepTrainingSettings,
    need,
    parse_losses,
)

# Sections whose rows start from a row of `base_models`.
RUN_SECTIONS = (
    *("exemplar_sweeps", "loss_ablations", "epoch_sweeps", "tunings", "comparisons"),
    "base_probes",
)


def need_once(values: Sequence[object], where: str) -> None:
    """Refuse an empty list, and one of whose values one stands twice: its run would count twice."""
    need(len(values) >= 1, f"{where}: name at least one.")
    need(len(set(values)) == len(values), f"{where}: one stands twice.")


@dataclass(frozen=True)
class BaseRow:
    """A base model: a dataset and the heads it is trained with."""

    dataset: str
    heads: int | str  # sizes of the tasks, largest first, e.g. "5-4-3-2"; or "all"
    method: str  # of the incremental steps: a file of mtcil/methods
    passes: Literal["separate", "shared"] = "separate"
    split: Literal["random", "group"] | None = None  # null: the study's split.kind
    # A control of what multitask training brings; null: none.
    # longer: so many more epochs that the one head sees as many clips as the dataset's
    # `multitask` heads do together; shuffled_labels: all heads but the full one learn noise.
    control: Literal["longer", "shuffled_labels"] | None = None

    def __post_init__(self) -> None:
        need(
            self.control != "shuffled_labels" or self.passes == "separate",
            "control shuffled_labels needs passes: separate.",
        )


@dataclass(frozen=True)
class SweepRow:
    """A base model and the memory budgets to try on it."""

    base: str  # a row of `base_models`
    dataset: str
    method: str
    exemplars: tuple[int, ...]
    seeds: tuple[int, ...] | None = None  # some of the study's; null: all

    def __post_init__(self) -> None:
        need(min(self.exemplars, default=-1) >= 0, "exemplars: a list of numbers, 0 or more.")
        need_once(self.exemplars, "exemplars")


@dataclass(frozen=True)
class AblationRow:
    """A base model and the sets of loss terms to try on it."""

    base: str  # a row of `base_models`
    dataset: str
    method: str
    losses: tuple[str, ...]  # e.g. "CE_N+CE_O"
    seeds: tuple[int, ...] | None = None  # some of the study's; null: all

    def __post_init__(self) -> None:
        need_once([frozenset(parse_losses(text)) for text in self.losses], "losses")


@dataclass(frozen=True)
class EpochSweepRow:
    """A base model, and the schedules and ends of fine-tuning to try on it."""

    base: str  # a row of `base_models`
    dataset: str
    method: str
    schedules: tuple[Literal["two_step", "cosine", "small"], ...]  # see mtcil/fine_tuning
    epochs: tuple[int | None, ...]  # of a step; null: early stopping, as step_training says
    large_rate: float  # of `cosine`
    small_rate: float  # of `small`
    seeds: tuple[int, ...] | None = None  # some of the study's; null: all

    def __post_init__(self) -> None:
        need_once(self.schedules, "schedules")
        need_once(self.epochs, "epochs")
        need(all(n is None or n >= 2 for n in self.epochs), "epochs: 2 or more, or null.")
        need(min(self.large_rate, self.small_rate) > 0, "rates must be above 0.")


@dataclass(frozen=True)
class Comparison:
    """How methods are compared: the same training and the same effort of tuning for all.

    Attributes:
        training: of every method's steps; a fixed number of epochs, so that no clip of an old
            class is needed to stop early.
        methods: seeds of each method (a row of `methods`).
        tuning_seeds: on their validation clips settings are chosen; none is a study's seed.
        grids: for each method the values to try of some of its settings; every combination.
    """

    training: StepTrainingSettings
    methods: dict[str, tuple[int, ...]]
    tuning_seeds: tuple[int, ...]
    grids: dict[str, dict[str, tuple[Any, ...]]]

    def __post_init__(self) -> None:
        need_once(self.tuning_seeds, "tuning_seeds")
        need(min(self.tuning_seeds) >= 0, "tuning_seeds must be 0 or more.")
        for name, grid in self.grids.items():
            need(name in self.methods, f"grids.{name}: there is no methods.{name} beside it.")
            for setting, values in grid.items():
                where = f"grids.{name}.{setting}"
                plain = all(isinstance(value, str | int | float | None) for value in values)
                need(plain, f"{where}: values must be numbers, words or null.")
                need_once(values, where)
        for name, seeds in self.methods.items():
            need_once(seeds, f"methods.{name}")
            both = set(seeds) & set(self.tuning_seeds)
            need(not both, f"tuning_seeds and methods.{name} share {sorted(both)}.")
        phases = self.training.head_first, self.training.then_all
        need(
            all(phase.patience is None for phase in phases)
            and self.training.validation != "all_seen",
            "training: no early stopping (patience: null) and not validation: all_seen, or kept "
            "validation clips of old classes would count as memory.",
        )


@dataclass(frozen=True)
class TuningRow:
    """A base model on which the methods' settings are chosen."""

    base: str  # a row of `base_models`
    dataset: str


@dataclass(frozen=True)
class ComparisonRow:
    """A base model from which every method starts."""

    base: str  # a row of `base_models`
    dataset: str
    tuning: str  # a row of `tunings`


@dataclass(frozen=True)
class ProbeRow:
    """A base model whose embeddings are probed."""

    base: str  # a row of `base_models`
    dataset: str


@dataclass(frozen=True)
class TimingRow:
    """The heads whose base training is timed."""

    dataset: str
    heads: tuple[str, ...]
    rounds: int  # epochs timed of each, in turns

    def __post_init__(self) -> None:
        need_once(self.heads, "heads")
        need(self.rounds >= 1, "rounds must be 1 or more.")


@dataclass(frozen=True)
class Study:
    """The whole of `params.yaml`."""

    root: str
    headline: int | str  # heads in plots/headline_*.csv; or "single", "multitask"
    shown: str  # the dataset in those files
    seeds: tuple[int, ...]
    machine: MachineSettings
    datasets: dict[str, DatasetSettings]
    features: dict[str, FeatureSettings]
    split: SplitSettings
    networks: dict[str, NetworkSettings]
    base_training: BaseTrainingSettings
    step_training: StepTrainingSettings
    memory: MemorySettings
    methods: dict[str, dict[str, Any]]  # each read by its own file, see mtcil/methods
    base_models: dict[str, BaseRow]
    exemplar_sweeps: dict[str, SweepRow]
    loss_ablations: dict[str, AblationRow]
    epoch_sweeps: dict[str, EpochSweepRow]
    heads_timings: dict[str, TimingRow]
    comparison: Comparison
    tunings: dict[str, TuningRow]
    comparisons: dict[str, ComparisonRow]
    probes: dict[str, dict[str, Any]]  # each read by its own file, see mtcil/probes
    base_probes: dict[str, ProbeRow]
    exemplars: int | None = field(default=None)  # an override of every dataset's K

    def __post_init__(self) -> None:
        need(len(self.seeds) >= 1, "seeds: name at least one.")
        need(min(self.seeds) >= 0, "seeds must be 0 or more.")
        need(len(set(self.seeds)) == len(self.seeds), "seeds: a seed stands twice.")
        need(
            self.exemplars is None or self.exemplars >= 0,
            f"exemplars must be a whole number, 0 or more, or null; got {self.exemplars}.",
        )
        need(self.shown in self.datasets, f"shown: there is no datasets.{self.shown}.")
        for name, dataset in self.datasets.items():
            self._check_dataset(f"datasets.{name}", dataset)
            self._check_heads(f"datasets.{name}.multitask", name, dataset.multitask)
        for name, base in self.base_models.items():
            where = f"base_models.{name}"
            need(base.dataset in self.datasets, f"{where}: no dataset {base.dataset}.")
            self._check_heads(f"{where}.heads", base.dataset, base.heads)
        known = {"single", "multitask", *(str(base.heads) for base in self.base_models.values())}
        need(str(self.headline) in known, f"headline must be one of {', '.join(sorted(known))}.")
        for section in RUN_SECTIONS:
            for name, row in getattr(self, section).items():
                self._check_row(f"{section}.{name}", row)
        need(bool(self.probes) or not self.base_probes, "probes: name one, or empty base_probes.")
        for name in self.comparison.methods:
            need(name in self.methods, f"comparison.methods: there is no methods.{name}.")
        for name, comparison in self.comparisons.items():
            need(
                comparison.tuning in self.tunings,
                f"comparisons.{name}.tuning: there is no tunings.{comparison.tuning}.",
            )
            of_seeds = {seed for seeds in self.comparison.methods.values() for seed in seeds}
            need(of_seeds <= set(self.seeds), "comparison.methods: seeds must be the study's.")
        for name, timing in self.heads_timings.items():
            where = f"heads_timings.{name}"
            need(timing.dataset in self.datasets, f"{where}: no dataset {timing.dataset}.")
            for heads in timing.heads:
                self._check_heads(f"{where}.heads", timing.dataset, heads)
            one = str(self.datasets[timing.dataset].steps[0])
            need(
                one in timing.heads,
                f'{where}.heads must hold "{one}", what others are compared to.',
            )

    def _check_dataset(self, where: str, dataset: DatasetSettings) -> None:
        features = self.features.get(dataset.features)
        if features is None:
            raise ValueError(f"{where}.features: there is no features.{dataset.features}.")
        network = self.networks.get(dataset.network)
        if network is None:
            raise ValueError(f"{where}.network: there is no networks.{dataset.network}.")
        need(
            min(network.left_of(features.n_frames), network.left_of(features.n_bins)) >= 1,
            f"networks.{dataset.network}: its pools leave nothing of the {features.n_frames} "
            f"frames x {features.n_bins} bins of features.{dataset.features}. Use smaller ones.",
        )
        for section, training in (
            ("step_training", self.step_training),
            ("comparison.training", self.comparison.training),
        ):
            need(
                training.frozen_blocks <= len(network.channels),
                f"{section}.frozen_blocks is more than networks.{dataset.network} has blocks.",
            )

    def _check_heads(self, where: str, dataset: str, heads: int | str) -> None:
        try:
            Heads.parse(heads, self.datasets[dataset].steps[0])
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from error

    def _check_row(self, where: str, row: Any) -> None:
        need(row.base in self.base_models, f"{where}.base: there is no base_models.{row.base}.")
        dataset = self.base_models[row.base].dataset
        need(row.dataset == dataset, f"{where}.dataset must be {dataset}, as of its base model.")
        seeds = getattr(row, "seeds", None)
        need(
            seeds is None or (0 < len(seeds) == len(set(seeds)) and set(seeds) <= set(self.seeds)),
            f"{where}.seeds must be some of the study's seeds, each once, or null.",
        )

    def headline_heads(self, dataset: str) -> str:
        """The heads setting that `headline` means for a dataset."""
        words = {
            "single": str(self.datasets[dataset].steps[0]),
            "multitask": self.datasets[dataset].multitask,
        }
        return words.get(str(self.headline), str(self.headline))

    def budget(self, dataset: str) -> int:
        """K in force: the study's override, or the dataset's own."""
        return self.datasets[dataset].exemplars if self.exemplars is None else self.exemplars


def read_study(path: Path) -> Study:
    """Read and check a whole `params.yaml`.

    Raises:
        SettingsError: anything in it is not right; one message says what, where, what to do.
    """
    values = read_yaml(path)
    if "exemplars" not in values:
        raise SettingsError(f"{path}: exemplars is missing. Add `exemplars: null`.")
    return build(Study, values, f"{path}:")
