"""The jobs that learn incremental steps: each run's name, everything that it needs, and its key."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from mtcil.core.errors import UserError
from mtcil.core.lookup import find
from mtcil.learning.steps import Method, StepTraining
from mtcil.learning.trajectory import Plan, training_of
from mtcil.records.rows import Run
from mtcil.running.base_jobs import BaseJob, executor
from mtcil.running.keys import code_digest, digest, environment, functions_digest
from mtcil.running.schedules import compared, step_training
from mtcil.settings.reader import build
from mtcil.settings.study import Study

Validation = Literal["all_seen", "new_only", "memory"]


@dataclass(frozen=True)
class Variant:
    """A method, with changes to the study's settings; None keeps the study's setting.

    Attributes:
        method: a row of `methods`.
        exemplars: K.
        settings: the method's own, by name, e.g. {"losses": "CE_N+CE_O"}.
        name: the method's name in records, if it must show the settings.
    """

    method: str
    exemplars: int
    settings: Mapping[str, Any] = field(default_factory=dict)
    training: StepTraining | None = None
    validation: Validation | None = None
    validation_share: float | None = None
    schedule: str = "two_step"
    stopping: str = "early"
    measured: Literal["test", "held_out"] = "test"
    name: str | None = None


@dataclass(frozen=True)
class RunJob:
    """Everything that a worker needs to learn all incremental steps of one run."""

    run: Run
    plan: Plan
    base: BaseJob
    checkpoint: Path
    key: str

    def size(self) -> int:
        """Largest number of updates of all incremental steps."""
        training = training_of(self.plan)
        of_step = training.head_first.updates + training.then_all.updates
        return (len(self.plan.steps) - 1) * of_step

    def data_bytes(self) -> int:
        """Bytes of the dataset's features."""
        return self.base.data_bytes()

    def likeness(self) -> str:
        """Jobs of equal text can be trained together."""
        return f"{self.plan.method} {self.plan.config} {self.plan.exemplars} {self.plan.training}"


def run_jobs(study: Study, bases: Sequence[BaseJob], variants: Sequence[Variant]) -> list[RunJob]:
    """A job per base model and variant, sorted by row of base models, then by variant.

    Raises:
        UserError: if a setting of a method is invalid; raised before any file is read.
    """
    methods = [method_settings(study, v.method, v.settings) for v in variants]
    jobs = []
    rows = dict.fromkeys(base.name for base in bases)
    for name in rows:
        for variant, (kind, config) in zip(variants, methods, strict=True):
            code = code_digest(
                *("learning/trajectory.py", f"methods/{kind}.py", "records/rows.py"),
                executor(bases[0].device),
            )
            own = [base for base in bases if base.name == name]
            jobs += [_run_job(study, base, variant, kind, config, code) for base in own]
    return jobs


def _run_job(
    study: Study, base: BaseJob, variant: Variant, kind: str, config: Any, code: str
) -> RunJob:
    plan = Plan(
        steps=base.dataset.steps,
        method=kind,
        config=config,
        training=variant.training or own_training(study, base.name.dataset),
        validation=variant.validation or study.step_training.validation,
        validation_share=variant.validation_share or study.step_training.validation_share,
        memory=study.memory,
        exemplars=variant.exemplars,
        network=base.network,
        measured=variant.measured,
    )
    run = Run(
        **vars(base.name),
        method=variant.name or variant.method,
        losses=getattr(config, "losses", "none"),
        schedule=variant.schedule,
        stopping=variant.stopping,
        exemplars=variant.exemplars,
        seed=base.seed,
    )
    begin = functions_digest("running/run.py", "run_training")
    key = digest(*environment(base.device), code, begin, base.key, plan, base.seed)
    return RunJob(run, plan, base, base.folders.checkpoints / f"{key}.json", key)


def own_training(study: Study, dataset: str) -> StepTraining:
    """The study's own training of steps: `step_training`, with the dataset's updates."""
    updates = study.datasets[dataset].updates
    return step_training(study.step_training, updates.head_first, updates.then_all)


def comparison_training(study: Study, dataset: str) -> StepTraining:
    """The training of steps for comparing methods: the same updates for all."""
    how, updates = study.comparison, study.datasets[dataset].updates
    return compared(how.training, updates.compare, how.head_first_share)


def method_settings(
    study: Study, name: str, changed: Mapping[str, Any] | None = None
) -> tuple[str, Any]:
    """The file of a method and its `Config`, with some settings changed.

    Raises:
        UserError: if the method or its section does not exist, its file lacks a member, or a value
            is invalid.
    """
    if name not in study.methods:
        find("methods", name)  # raises an error that lists the methods, if this is not one
        raise UserError(f"settings.yaml: methods.{name} is missing, but a row asks for it. Add it.")
    values = {**study.methods[name], **(changed or {})}
    kind = values.pop("kind", name)
    if not isinstance(kind, str):
        raise UserError(f"settings.yaml: methods.{name}.kind must be a file of mtcil/methods.")
    file = find("methods", kind)
    missing = [member for member in Method.__annotations__ if not hasattr(file, member)]
    if missing:
        raise UserError(
            f"src/mtcil/methods/{kind}.py does not define {', '.join(missing)}. What a method must "
            "define is in src/mtcil/learning/steps.py; methods/finetune.py is a short example."
        )
    where = f"settings.yaml: methods.{name}" + (f" with {dict(changed)}" if changed else "")
    return kind, build(file.Config, values, where)
