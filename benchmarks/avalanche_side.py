"""Avalanche's side of the comparison; it runs in an environment of its own."""

import warnings
from typing import Any

import torch
import torch.nn.functional as F
from peer_case import (
    BASE,
    BASE_EPOCHS,
    DATASET,
    HEAD_FIRST_EPOCHS,
    NETWORK,
    SGD,
    STEP,
    TEST,
    THEN_ALL_EPOCHS,
    TRAIN,
    Times,
    now,
)

from mtcil.learning.clips import of_labels
from mtcil.learning.fit import Seeds
from mtcil.learning.network import Network, train_mode

if torch.version.cuda is None:
    OPERATORS = torch.library.Library("torchvision", "DEF")
    for operator in ("nms", "qnms"):
        OPERATORS.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
for message in ("no QP solver found", "No loggers specified"):  # GEM's, not used; meant so
    warnings.filterwarnings("ignore", message=message)

from avalanche.benchmarks import tensors_benchmark  # noqa: E402
from avalanche.evaluation.metrics import accuracy_metrics  # noqa: E402
from avalanche.models import IncrementalClassifier  # noqa: E402
from avalanche.training import Naive  # noqa: E402
from avalanche.training.plugins import (  # noqa: E402
    EvaluationPlugin,
    ReplayPlugin,
    SupervisedPlugin,
)


class WithDropout(Network):
    """Our network for a loop that draws no dropout itself."""

    def embed(self, features: torch.Tensor, *_: Any) -> torch.Tensor:  # type: ignore[override]
        maps = self.maps(features)
        return F.dropout(maps, self.dropout, self.training).mean(dim=(2, 3))


class Recipe(SupervisedPlugin):
    """Our learning rates, update by update; our frozen blocks too, where `frozen` is not 0.

    Each phase starts with no momentum, as ours does. It also reads the clock.
    """

    def __init__(self, times: Times, frozen: int):
        super().__init__()
        self.times, self.frozen = times, frozen
        self.phase, self.settings, self.update, self.begun = "base", BASE, 0, 0.0

    def before_training_epoch(self, strategy: Any, **_: Any) -> None:
        step, epoch = strategy.experience.current_experience, strategy.clock.train_exp_epochs
        phase, settings, frozen = "base", BASE, 0
        if step and epoch < HEAD_FIRST_EPOCHS:
            phase, settings, frozen = "head_first", STEP.head_first, self.frozen
        elif step:
            phase, settings = "then_all", STEP.then_all
        if epoch in (0, HEAD_FIRST_EPOCHS if step else 0):
            strategy.optimizer.state.clear()
            self.update = 0
        train_mode(strategy.model, frozen)
        self.phase, self.settings, self.begun = phase, settings, now()

    def before_training_iteration(self, strategy: Any, **_: Any) -> None:
        rate = self.settings.rate(min(self.update, self.settings.updates - 1))
        strategy.optimizer.param_groups[0]["lr"] = rate

    def after_training_iteration(self, strategy: Any, **_: Any) -> None:
        self.update += 1
        self.times.updates[self.phase] += 1
        self.times.rows[self.phase] += len(strategy.mb_x)

    def after_training_epoch(self, strategy: Any, **_: Any) -> None:
        self.times.seconds[self.phase] += now() - self.begun


def avalanche(frozen: int, seed: int) -> Times:
    """Naive and ReplayPlugin; the head grows with Avalanche's IncrementalClassifier."""
    times, begun = Times(), now()
    torch.manual_seed(seed)
    network = WithDropout(NETWORK, DATASET.steps[0], Seeds(seed, 0).generator("weights"))
    head = IncrementalClassifier(network.head.in_features, DATASET.steps[0], masking=False)
    head.classifier = network.head
    network.head = head
    ends = [sum(DATASET.steps[: step + 1]) for step in range(len(DATASET.steps))]
    parts = [
        [
            (part.features, part.labels)
            for end, n in zip(ends, DATASET.steps, strict=True)
            for part in [whole[of_labels(whole, end - n, end)]]
        ]
        for whole in (TRAIN, TEST)
    ]
    benchmark = tensors_benchmark(
        train_tensors=parts[0], test_tensors=parts[1], task_labels=[0] * len(DATASET.steps)
    )
    optimiser = torch.optim.SGD(
        network.parameters(), BASE.learning_rate, SGD.momentum, weight_decay=SGD.weight_decay
    )
    strategy = Naive(
        model=network,
        optimizer=optimiser,
        train_mb_size=SGD.batch,
        train_epochs=BASE_EPOCHS,
        eval_mb_size=256,
        plugins=[ReplayPlugin(mem_size=DATASET.exemplars), Recipe(times, frozen)],
        evaluator=EvaluationPlugin(accuracy_metrics(stream=True), loggers=[]),
    )
    measured: dict[str, Any] = {}
    for step, experience in enumerate(benchmark.train_stream):
        strategy.train_epochs = HEAD_FIRST_EPOCHS + THEN_ALL_EPOCHS if step else BASE_EPOCHS
        strategy.train(experience, num_workers=0)
        measured = strategy.eval(benchmark.test_stream[: step + 1], num_workers=0)
    times.total = now() - begun
    times.accuracy = next(v for k, v in measured.items() if k.startswith("Top1_Acc_Stream"))
    return times
