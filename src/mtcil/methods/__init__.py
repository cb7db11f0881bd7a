"""One file per method of an incremental step, found by its name (`mtcil.lookup.find`).

A method file states:

    Config      a frozen dataclass of its own settings, read from `methods.<name>`
    def learn_step(learner, clips, training, config, streams, report) -> Learner
        learn the classes of one incremental step; the learner given is not changed
"""

from dataclasses import dataclass

from mtcil.clips import Clips


@dataclass(frozen=True)
class StepClips:
    """What a method may see in an incremental step.

    Attributes:
        new: training clips of the new classes.
        memory: exemplars of the old classes, the same number of each.
        validation: clips for early stopping; may be empty.
    """

    new: Clips
    memory: Clips
    validation: Clips
