"""What several tests share: small clips, a small network, small settings."""

import mtcil.core  # noqa: F401 - first: it limits numpy and torch to AVX2

# isort: split

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from local_server import server  # noqa: F401 - a fixture

from mtcil.learning.clips import Clips
from mtcil.learning.fit import Fit, Phase
from mtcil.learning.split import SplitData
from mtcil.learning.steps import StepTraining
from mtcil.running.alone import train
from mtcil.settings.sections import NetworkSettings
from mtcil.settings.training import BaseTrainingSettings, PhaseSettings, SgdSettings

torch.set_num_threads(1)

SGD = SgdSettings(batch=16, momentum=0.9, weight_decay=0.0)
NETWORK = NetworkSettings((4, 8, 8, 8), (3, 3, 3, 3), (1, 1, 1, 1), (2, 2, 1, 1), 0.5)


def phase(updates: int, patience: int | None = None, rate: float = 0.1) -> Phase:
    return Phase(updates, rate, "constant", patience)


def blobs(n_per_class: int, n_classes: int, seed: int) -> Clips:
    """Clips that are easy to tell apart: each class has a bright patch in its own place."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(n_classes).repeat_interleave(n_per_class)
    x = 0.3 * torch.randn(len(labels), 1, 8, 8, generator=generator)
    for row, label in enumerate(labels.tolist()):
        top, left = divmod(label, 4)
        x[row, 0, 2 * top : 2 * top + 2, 2 * left : 2 * left + 2] += 3
    return Clips(x.to(memory_format=torch.channels_last), labels)


def batches_of(fit: Fit, n: int) -> list[SimpleNamespace]:
    """The first batches that an executor makes for a Fit."""
    noted = []

    def note(module, batch, numbers, choices):
        noted.append(batch)
        return 0 * sum(p.sum() for p in module.parameters() if p.requires_grad)

    train(replace(fit, loss=note, phase=phase(n), validation=None))
    return noted


@pytest.fixture(autouse=True)
def numbers_as_small_as_they_come():
    """Undo what a stage in this process did (`prepare_worker`): hypothesis needs all numbers."""
    yield
    torch.set_flush_denormal(False)


@pytest.fixture
def base_training() -> BaseTrainingSettings:
    fit = PhaseSettings(patience=None, learning_rate=0.1, schedule="constant")
    return BaseTrainingSettings(SGD, fit, 0.1, 1.0, "mean", "full_task")


@pytest.fixture
def step_training() -> StepTraining:
    """The last block learns with the head first; then the whole network."""
    return StepTraining(SGD, phase(9), phase(9, rate=0.02), 3, phase(18, rate=0.02))


@pytest.fixture
def data() -> SplitData:
    """Eight classes: 20 training, 10 test and 4 validation clips of each."""
    order = tuple(f"class{i}" for i in range(8))
    sizes = {"train": 20, "test": 10, "validation": 4}
    parts = {part: blobs(n, 8, seed) for seed, (part, n) in enumerate(sizes.items())}
    return SplitData(order, {part: np.arange(0) for part in parts}, **parts)
