"""The jobs that train base models: each one's settings, file and key."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mtcil.core.errors import UserError
from mtcil.core.lookup import find
from mtcil.core.randomness import numpy_generator
from mtcil.learning.fit import Phase, phase_of
from mtcil.learning.parts import says
from mtcil.learning.protocol import draw_tasks
from mtcil.records.rows import BaseName
from mtcil.running.keys import (
    code_digest,
    digest,
    environment,
    features_digest,
    functions_digest,
)
from mtcil.settings.reader import build
from mtcil.settings.sections import (
    DatasetSettings,
    Heads,
    NetworkSettings,
    SplitKind,
    SplitSettings,
)
from mtcil.settings.study import AUXILIARY, CEILING, MULTITASK, BaseRow, Study
from mtcil.settings.training import BaseTrainingSettings

# The files that train; results depend on their code too.
ON_CPU, ON_GPU = "running/alone.py", "running/together.py"
PARTS, WHERE = "learning/parts", "settings.yaml: base_parts"


@dataclass(frozen=True)
class Folders:
    """The folders that the runs of one dataset read and write.

    Attributes:
        features: the dataset's features.
        models: its base models.
        checkpoints: finished runs that are not in the records yet.
    """

    features: Path
    models: Path
    checkpoints: Path

    def resolved(self) -> "Folders":
        """The folders as absolute paths, for workers in other directories."""
        return Folders(self.features.resolve(), self.models.resolve(), self.checkpoints.resolve())


@dataclass(frozen=True)
class BaseJob:
    """Everything that a worker needs to train one base model.

    Attributes:
        order_seed: seed of the class order.
        parts: name and `Config` of each file of mtcil/learning/parts that is used.
        file: path of the model.
    """

    name: BaseName
    seed: int
    order_seed: int
    heads: Heads
    training: BaseTrainingSettings
    phase: Phase
    parts: tuple[tuple[str, Any], ...]
    dataset: DatasetSettings
    split: SplitSettings
    network: NetworkSettings
    folders: Folders
    file: Path
    device: str
    key: str

    @property
    def is_on_gpu(self) -> bool:
        return self.device.startswith("cuda")

    def size(self) -> int:
        """Largest number of updates, also of a teacher."""
        return self.phase.updates * (2 if has_flag(self.parts, "NEEDS_TEACHER") else 1)

    @property
    def needs_words(self) -> bool:
        """Whether a part learns auxiliary words."""
        return has_flag(self.parts, "NEEDS_WORDS")

    def data_bytes(self) -> int:
        """Bytes of the features of the dataset, and of its auxiliary words if they are used."""
        folders = [self.folders.features, self.folders.features / AUXILIARY]
        used = folders if self.needs_words else folders[:1]
        return sum((folder / "features.npy").stat().st_size for folder in used)

    def likeness(self) -> str:
        """Jobs of equal text can be trained together."""
        return f"{self.name.base} {self.name.passes}"


def has_flag(parts: tuple[tuple[str, Any], ...], flag: str) -> bool:
    """Whether the file of one of these parts has this flag."""
    return any(says(find(PARTS, part), flag) for part, _ in parts)


def executor(device: str) -> str:
    """The file that trains on a device."""
    return ON_GPU if device.startswith("cuda") else ON_CPU


def training_of_base(training: BaseTrainingSettings, heads: Heads) -> BaseTrainingSettings:
    """Base training with the settings that these heads use; the others get fixed values."""
    if heads.sizes is None or len(heads.sizes) > 1:
        return replace(training, fit=replace(training.fit, learning_rate=training.multitask_rate))
    rate = training.fit.learning_rate
    return BaseTrainingSettings(training.sgd, training.fit, rate, 1.0, "mean", "full_task")


def base_phase(study: Study, dataset: str, row: BaseRow) -> Phase:
    """The phase of base training; `longer` and `ceiling` have lengths of their own."""
    settings = study.datasets[dataset]
    n_base = settings.steps[0]
    training = training_of_base(study.base_training, Heads.parse(row.heads, n_base))
    phase = phase_of(training.fit, max(1, round(row.length * settings.updates.base)))
    if row.control == CEILING:
        return replace(phase, updates=round(sum(settings.steps) / n_base * phase.updates))
    if row.control != "longer":
        return phase
    heads = Heads.parse(study.base_models[dataset][MULTITASK].heads, n_base)
    tasks = draw_tasks(heads, n_base, numpy_generator(0, "tasks"))
    times = sum(len(task) for task in tasks) / n_base
    return replace(phase, updates=round(times * phase.updates))


def parts_of(study: Study, row: BaseRow) -> tuple[tuple[str, Any], ...]:
    """Name and `Config` of each part of a row of `base_models`.

    Raises:
        UserError: if there is no such part, a value in it is invalid, or two exclude each other.
    """
    files = {part: find(PARTS, part) for part in row.parts}
    mixing = [part for part, file in files.items() if says(file, "MIXES_CLASSES")]
    of_labels = [part for part, file in files.items() if says(file, "NEEDS_LABELS")]
    if mixing and (of_labels or row.has_tasks):
        what = of_labels[0] if of_labels else f"heads {row.heads}"
        raise UserError(
            f"params.yaml: base_models: {mixing[0]} mixes clips of different classes, but {what} "
            "needs each clip's one class. Use one of both."
        )
    return tuple(
        (part, build(file.Config, study.base_parts[part], f"{WHERE}.{part}"))
        for part, file in files.items()
    )


def base_jobs(
    study: Study,
    dataset: str,
    starts: Sequence[tuple[str, SplitKind, Sequence[int]]],
    folders: Folders,
    device: str,
) -> list[BaseJob]:
    """A job per base model.

    Args:
        starts: base (a row of `base_models`), split and seeds.
        device: "cpu", "cuda" ...

    Raises:
        UserError: if the features are missing.
    """
    folders = folders.resolved()
    settings = study.datasets[dataset]
    shared = [
        *environment(device),
        code_digest("learning/base_step.py", "learning/split.py", executor(device)),
        functions_digest("running/run.py", "base_training", "load_data"),
        functions_digest("running/device.py", "prepare_worker"),
        features_digest(folders.features),
        [settings.classes, settings.steps, settings.class_order],
        study.networks[settings.network],
    ]
    jobs = []
    for base, kind, seeds in starts:
        row, split = study.base_models[dataset][base], study.split_of(kind)
        heads = Heads.parse(row.heads, settings.steps[0])
        training = training_of_base(study.base_training, heads)
        phase = base_phase(study, dataset, row)
        parts = parts_of(study, row)
        control = row.control or "+".join(row.parts) or "none"
        if row.length != 1:
            control = f"{'+'.join(row.parts)}, {row.length:g} x as long".removeprefix(", ")
        name = BaseName(dataset, kind, base, row.heads, row.passes, control)
        own = [split, training, phase, heads, row.passes, row.control == "shuffled_labels"]
        if parts or row.control == CEILING:
            files = [f"{PARTS}/{part}.py" for part, _ in parts]
            own += [parts, row.control, code_digest("learning/parts_step.py", *files)]
            if has_flag(parts, "NEEDS_WORDS"):
                words = folders.features / AUXILIARY
                own += [code_digest("learning/words.py"), features_digest(words)]
        for seed in seeds:
            order_seed = seed if row.order_seed is None else row.order_seed
            file = folders.models / f"{base}-{kind}" / f"seed{seed}.pt"
            jobs.append(
                BaseJob(
                    name=name,
                    seed=seed,
                    order_seed=order_seed,
                    heads=heads,
                    training=training,
                    phase=phase,
                    parts=parts,
                    dataset=settings,
                    split=split,
                    network=study.networks[settings.network],
                    folders=folders,
                    file=file,
                    device=device,
                    key=digest(*shared, *own, seed, order_seed),
                )
            )
    return jobs
