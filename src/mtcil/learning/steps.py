"""One file per method of an incremental step, found by its name (`mtcil.core.lookup.find`).

A method file states:

    Config      a frozen dataclass of its own settings (a `MethodConfig`), read from
                `methods.<name>`; a section of another name says `kind: <file>`
    def learn_step(learner, clips, training, config, streams, report) -> Learner
        learn the classes of one incremental step; the learner given is not changed

and, if it keeps more than exemplars, both of:

    def keep(learner, clips, memory, config, streams) -> Learner
        after each step, the base step too: the learner with what it remembers (`tensors`) and
        how it predicts (`rule`). `clips` are the training clips of the step's classes, `memory`
        the exemplars of all classes seen, class by class, as they were just chosen; what
        `learn_step` wants to keep from before it passes on in its learner's tensors
    def cost(network, n_seen, config) -> Cost
        bytes of those tensors, which leave fewer for exemplars
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

from pydantic.dataclasses import dataclass as settings_class

from mtcil.learning.clips import Clips
from mtcil.settings.reader import STRICT
from mtcil.settings.sections import Positive


@settings_class(frozen=True, kw_only=True, config=STRICT)
class MethodConfig:
    """What the settings of every method may say."""

    memory: Literal["exemplars", "none", "all"] = "exemplars"  # clips of old classes it may see
    bits: Literal[8, 16, 32] = 32  # of each stored feature value
    learning_rate: Positive | None = None  # of the phase `then_all`; null: step_training's


class Cost(NamedTuple):
    """Bytes that a method keeps from step to step besides its network and its exemplars."""

    fixed: int
    per_exemplar: int = 0


@dataclass(frozen=True)
class StepClips:
    """What a method may see in an incremental step.

    Attributes:
        new: training clips of the new classes.
        memory: exemplars of the old classes, the same number of each, class by class.
        validation: clips for early stopping; may be empty.
        per_class: exemplars of each class, the new ones too, that the memory holds afterwards.
    """

    new: Clips
    memory: Clips
    validation: Clips
    per_class: int
