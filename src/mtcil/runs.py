"""Runs: what identifies one, and performing many of them, each resumable."""

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import torch

from mtcil.base import train_base
from mtcil.checkpoints import UNREADABLE, Checkpoint, code_digest, digest, read_model, save_plain
from mtcil.clips import of_labels
from mtcil.config import build
from mtcil.data import load_split
from mtcil.device import environment, prepare_worker
from mtcil.errors import UserError
from mtcil.files import file_digest
from mtcil.learner import Learner, from_plain, to_plain
from mtcil.lookup import PACKAGE_DIR, find
from mtcil.parallel import run_all
from mtcil.progress import reporter, watched
from mtcil.protocol import draw_tasks
from mtcil.randomness import numpy_generator
from mtcil.settings import (
    BaseTrainingSettings,
    DatasetSettings,
    Heads,
    SplitSettings,
    StepTrainingSettings,
)
from mtcil.study import BaseRow, Study
from mtcil.training import Streams
from mtcil.trajectory import Plan, State, advance, start, state_from_plain, state_to_plain


@dataclass(frozen=True)
class Run:
    """What tells one run from another; the first columns of every record."""

    dataset: str
    split: str
    heads: str
    passes: str
    control: str  # of the base model, or "none"
    method: str
    losses: str  # or "none", for a method without a choice of them
    schedule: str  # of fine-tuning
    stopping: str  # "early", or the number of epochs of each step
    exemplars: int
    seed: int


@dataclass(frozen=True)
class Variant:
    """A method, and how its runs differ from the study's settings; None: as they are.

    Attributes:
        method: a row of `methods`.
        exemplars: K.
        settings: the method's own, by name, e.g. {"losses": "CE_N+CE_O"}.
        name: the method's name in records, where the settings must show in it.
    """

    method: str
    exemplars: int
    seeds: Sequence[int] | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    training: StepTrainingSettings | None = None
    schedule: str = "two_step"
    stopping: str = "early"
    measured: Literal["test", "validation"] = "test"
    name: str | None = None


@dataclass(frozen=True)
class BaseTask:
    """Everything that a worker needs to train one base model."""

    row: str
    base: BaseRow
    heads: Heads
    training: BaseTrainingSettings
    seed: int
    study: Study
    dataset: DatasetSettings
    split: SplitSettings
    features_dir: Path
    checkpoint: Checkpoint
    device: str
    board: Path | None = None


@dataclass(frozen=True)
class StepTask:
    """Everything that a worker needs to learn all incremental steps of one run."""

    run: Run
    plan: Plan
    dataset: DatasetSettings
    split: SplitSettings
    features_dir: Path
    base_file: Path
    checkpoint: Checkpoint
    device: str
    board: Path | None = None


def split_of(study: Study, row: str) -> SplitSettings:
    """The split of a base model's row: its own kind, or the study's."""
    kind = study.base_models[row].split
    return study.split if kind is None else replace(study.split, kind=kind)


def base_training_of(study: Study, base: BaseRow) -> BaseTrainingSettings:
    """The settings of base training, with more epochs for the control `longer`."""
    training = study.base_training
    if base.control != "longer":
        return training
    dataset = study.datasets[base.dataset]
    n_base = dataset.steps[0]
    tasks = draw_tasks(Heads.parse(dataset.multitask, n_base), n_base, numpy_generator(0, "tasks"))
    times = sum(len(task) for task in tasks) / n_base
    patience = training.fit.patience
    fit = replace(
        training.fit,
        epochs=round(times * training.fit.epochs),
        patience=None if patience is None else round(times * patience),
    )
    return replace(training, fit=fit)


def base_tasks(
    study: Study,
    row: str,
    seeds: Sequence[int],
    features_dir: Path,
    checkpoints: Path,
    device: str,
) -> list[BaseTask]:
    """One task per seed; paths are absolute, for workers that run elsewhere."""
    features_dir, checkpoints = features_dir.resolve(), checkpoints.resolve()
    base = study.base_models[row]
    dataset = study.datasets[base.dataset]
    heads, split = Heads.parse(base.heads, dataset.steps[0]), split_of(study, row)
    training = base_training_of(study, base)
    about = [
        *environment(device), code_digest([PACKAGE_DIR / "base.py", PACKAGE_DIR / "data.py"]),
        features_digest(features_dir), learnt_from(dataset), split, study.networks[dataset.network],
        training, heads, base.passes, base.control == "shuffled_labels",
    ]  # fmt: skip
    return [
        BaseTask(
            row, base, heads, training, seed, study, dataset, split, features_dir,
            Checkpoint(checkpoints, "base-" + digest(*about, seed), study.machine.fresh), device,
        )
        for seed in seeds
    ]  # fmt: skip


def finished_base(task: BaseTask) -> tuple[int, dict[str, Any]] | None:
    """What `train_one_base` gave before, or None."""
    plain = task.checkpoint.load()
    return None if plain is None else (task.seed, plain)


def train_one_base(task: BaseTask) -> tuple[int, dict[str, Any]]:
    """Train one base model; returns its seed and the plain learner."""
    device = prepare_worker(task.device)
    data = load_split(task.features_dir, task.dataset, task.split, task.seed, device)
    n_base = task.dataset.steps[0]
    tasks = draw_tasks(task.heads, n_base, numpy_generator(task.seed, "tasks"))
    network, epochs = train_base(
        data.train[of_labels(data.train, 0, n_base)],
        data.validation[of_labels(data.validation, 0, n_base)],
        tasks,
        task.base.passes,
        task.study.networks[task.dataset.network],
        task.training,
        Streams(task.seed, 0),
        reporter(task.board, f"{task.row} seed {task.seed}"),
        task.base.control == "shuffled_labels",
    )
    plain = to_plain(Learner(network, epochs={"base": epochs}))
    task.checkpoint.save(plain)
    return task.seed, plain


def step_tasks(
    study: Study,
    row: str,
    variants: Sequence[Variant],
    features_dir: Path,
    models_dir: Path,
    checkpoints: Path,
    device: str,
) -> list[StepTask]:
    """One task per variant and seed, all from the base models of `row`."""
    features_dir, checkpoints = features_dir.resolve(), checkpoints.resolve()
    base = study.base_models[row]
    dataset, split = study.datasets[base.dataset], split_of(study, row)
    about = features_digest(features_dir), learnt_from(dataset), split
    # Of all variants first: a wrong setting is refused before any file is read.
    methods = [method_settings(study, v.method, v.settings) for v in variants]
    tasks = []
    for variant, (kind, config) in zip(variants, methods, strict=True):
        code = code_digest([PACKAGE_DIR / "trajectory.py", PACKAGE_DIR / f"methods/{kind}.py"])
        plan = Plan(
            dataset.steps, kind, config, variant.training or study.step_training,
            study.memory, variant.exemplars, study.networks[dataset.network], variant.measured,
        )  # fmt: skip
        for seed in variant.seeds or study.seeds:
            run = Run(
                base.dataset, split.kind, str(base.heads), base.passes, base.control or "none",
                variant.name or variant.method, getattr(config, "losses", "none"),
                variant.schedule, variant.stopping, variant.exemplars, seed,
            )  # fmt: skip
            file = models_dir.resolve() / f"seed{seed}.pt"
            about_run = plan, seed, _model_digest(file)
            key = "steps-" + digest(*environment(device), code, *about, *about_run)
            checkpoint = Checkpoint(checkpoints, key, study.machine.fresh)
            tasks.append(
                StepTask(run, plan, dataset, split, features_dir, file, checkpoint, device)
            )
    return tasks


def method_settings(
    study: Study, name: str, changed: Mapping[str, Any] | None = None
) -> tuple[str, Any]:
    """The file of a method, and its settings, of its own class, some of them changed.

    Raises:
        UserError: no such method, no such section, or a value in it is not right.
    """
    if name not in study.methods:
        find("methods", name)  # no such method at all: says which there are
        raise UserError(f"params.yaml: methods.{name} is missing, but a row asks for it. Add it.")
    where = f"params.yaml: methods.{name}"
    if not isinstance(study.methods[name], Mapping):
        raise UserError(f"{where} must hold the settings of the method (`name: ...`).")
    if changed:
        where += f" with {dict(changed)}"
    values = {**study.methods[name], **(changed or {})}
    kind = values.pop("kind", name)
    if not isinstance(kind, str):
        raise UserError(f"{where}.kind must be the name of a file of mtcil/methods.")
    return kind, build(find("methods", kind).Config, values, where)


def finished_run(task: StepTask) -> tuple[Run, State] | None:
    """What `learn_one_run` gave before, or None if it did not come to the last step."""
    state = _saved_state(task, torch.device("cpu"))
    if state is None or len(state.results) < len(task.plan.steps):
        return None
    return task.run, state


def _saved_state(task: StepTask, device: torch.device) -> State | None:
    """Where the run stood when it was last saved; None if that is damaged: it starts again."""
    saved = task.checkpoint.load()
    try:
        return None if saved is None else state_from_plain(saved, task.plan.network, device)
    except UNREADABLE:
        return None


def learn_one_run(task: StepTask) -> tuple[Run, State]:
    """Learn all incremental steps of one run, saved after each; goes on where it was."""
    device = prepare_worker(task.device)
    state, run = _saved_state(task, device), task.run
    data = load_split(task.features_dir, task.dataset, task.split, run.seed, device)
    method = find("methods", task.plan.method)
    if state is None:
        learner = read_model(task.base_file, lambda plain: _base_learner(plain, task.plan, device))
        state = start(learner, data, task.plan, method, run.seed)
    for step in range(len(state.results), len(task.plan.steps)):
        name = (
            f"{run.dataset} {run.heads} {run.method} K={run.exemplars} seed {run.seed} step {step}"
        )
        state = advance(state, data, task.plan, method, run.seed, reporter(task.board, name))
        task.checkpoint.save(state_to_plain(state))
    return run, state


def _base_learner(plain: dict[str, Any], plan: Plan, device: torch.device) -> Learner:
    learner = from_plain(plain, plan.network, device)
    if learner.n_classes != plan.steps[0]:
        raise ValueError(f"a base model of {learner.n_classes} classes")
    return learner


def train_all(tasks: list[BaseTask], study: Study) -> list[tuple[int, dict[str, Any]]]:
    """Train all base models at once, as many at a time as `machine.jobs` says."""
    done = _perform(train_one_base, finished_base, tasks, study, "base models")
    return sorted(done, key=lambda result: result[0])


def learn_all(tasks: list[StepTask], study: Study) -> list[tuple[Run, State]]:
    """Learn all runs, in the order of the tasks whatever the order in which they finish."""
    place = {task.run: i for i, task in enumerate(tasks)}
    done = _perform(learn_one_run, finished_run, tasks, study, "runs")
    return sorted(done, key=lambda result: place[result[0]])


def _perform(
    function: Callable[[Any], Any],
    finished: Callable[[Any], Any],
    tasks: Sequence[Any],
    study: Study,
    title: str,
) -> Iterator[Any]:
    """Results of all tasks; workers are started for those alone that are not finished yet."""
    results = [finished(task) for task in tasks]
    yield from (result for result in results if result is not None)
    waiting = [task for task, result in zip(tasks, results, strict=True) if result is None]
    if waiting:
        yield from watched(
            lambda board: run_all(
                function, [(replace(task, board=board),) for task in waiting], study.machine
            ),
            len(waiting),
            title,
        )


def save_base(plain: dict[str, Any], path: Path) -> None:
    """Write a base model, whole or not at all; tensors, text and numbers only."""
    save_plain(plain, path)


def learnt_from(dataset: DatasetSettings) -> list[Any]:
    """The settings of a dataset that training sees; the others are in the features already."""
    return [dataset.classes, dataset.steps, dataset.class_order]


def features_digest(features_dir: Path) -> list[str]:
    """Checksums of the features and the clip table.

    Raises:
        UserError: they are not there.
    """
    files = [features_dir / "features.npy", features_dir / "clips.csv"]
    for file in files:
        if not file.is_file():
            raise UserError(f"{file} is missing. Run the stages before: dvc repro.")
    return [file_digest(file) for file in files]


@functools.cache
def _model_digest(file: Path) -> str:
    """Hash of the weights and of the epochs, which go into records."""

    def of_plain(plain: dict[str, Any]) -> str:
        tensors = sorted(plain["network"].items())
        weights = [(name, value.numpy().tobytes().hex()) for name, value in tensors]
        return digest(weights, plain["epochs"])

    return read_model(file, of_plain)
