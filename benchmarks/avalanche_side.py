"""Avalanche's side of the comparison; it runs in an environment of its own."""

import warnings
from typing import Any

import torch
from peer_case import (
    BASE,
    DATASET,
    HEAD_FIRST,
    NETWORK,
    SGD,
    TEST,
    THEN_ALL,
    TRAIN,
    Times,
    now,
)

from mtcil.learning.clips import of_labels
from mtcil.learning.fit import Streams, learning_rate
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


class Recipe(SupervisedPlugin):
    """Our learning rates, epoch by epoch; our frozen blocks too, where `frozen` is not 0.

    Each phase starts with no momentum, as ours does. It also reads the clock.
    """

    def __init__(self, times: Times, frozen: int):
        super().__init__()
        self.times, self.frozen, self.phase = times, frozen, ""

    def before_training_epoch(self, strategy: Any, **_: Any) -> None:
        step, epoch = strategy.experience.current_experience, strategy.clock.train_exp_epochs
        phase, settings, frozen = "base", BASE, 0
        if step and epoch < HEAD_FIRST.epochs:
            phase, settings, frozen = "head_first", HEAD_FIRST, self.frozen
        elif step:
            phase, settings, epoch = "then_all", THEN_ALL, epoch - HEAD_FIRST.epochs
        if epoch == 0:
            strategy.optimizer.state.clear()
        train_mode(strategy.model, frozen)
        strategy.optimizer.param_groups[0]["lr"] = learning_rate(settings, epoch)
        self.phase, self.times.rows[phase], self.times.begun = phase, 0, now()

    def after_training_iteration(self, strategy: Any, **_: Any) -> None:
        self.times.rows[self.phase] += len(strategy.mb_x)

    def after_training_epoch(self, strategy: Any, **_: Any) -> None:
        self.times.epoch_ends(self.phase)


def avalanche(frozen: int, seed: int) -> Times:
    """Naive and ReplayPlugin; the head grows with Avalanche's IncrementalClassifier."""
    times, begun = Times(), now()
    torch.manual_seed(seed)
    network = Network(NETWORK, DATASET.steps[0], Streams(seed, 0).generator("weights"))
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
        train_epochs=BASE.epochs,
        eval_mb_size=256,
        plugins=[ReplayPlugin(mem_size=DATASET.exemplars), Recipe(times, frozen)],
        evaluator=EvaluationPlugin(accuracy_metrics(stream=True), loggers=[]),
    )
    measured: dict[str, Any] = {}
    for step, experience in enumerate(benchmark.train_stream):
        strategy.train_epochs = HEAD_FIRST.epochs + THEN_ALL.epochs if step else BASE.epochs
        strategy.train(experience, num_workers=0)
        measured = strategy.eval(benchmark.test_stream[: step + 1], num_workers=0)
    times.total = now() - begun
    times.accuracy = next(v for k, v in measured.items() if k.startswith("Top1_Acc_Stream"))
    return times
