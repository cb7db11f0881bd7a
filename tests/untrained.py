"""What tests of methods share: noisy clips, untrained networks, batches and steps made by hand."""

from collections.abc import Generator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import torch
from conftest import SGD, blobs, phase
from tiny_study import write_params
from torch import Tensor, nn

from mtcil.learning.clips import Clips, of_labels
from mtcil.learning.fit import Fit, Seeds
from mtcil.learning.learner import Learner
from mtcil.learning.network import Network
from mtcil.learning.steps import StepClips, StepTraining
from mtcil.running.alone import train
from mtcil.running.base_jobs import BaseJob, Folders, base_jobs
from mtcil.running.models import save_model
from mtcil.settings.files import read_study
from mtcil.settings.sections import NetworkSettings

TINY = NetworkSettings((4, 4), (3, 3), (1, 1), (2, 2), 0.5)
RATE = 0.05  # of the phase in which all learns
TRAINING = StepTraining(SGD, phase(2), phase(4, rate=RATE), 1, phase(6, rate=RATE))
NO_CLIPS = Clips(torch.empty(0, 1, 8, 8), torch.empty(0, dtype=torch.int64))
SEEDS = Seeds(0, 1)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=seeded(seed))


def network_of(n_classes: int, seed: int = 0) -> Network:
    """A network whose BatchNorm statistics are not the first ones, so that they count."""
    network = Network(TINY, n_classes, seeded(seed)).eval()
    for block in network.blocks:
        block[-1].running_mean += 0.1 * numbers(4, seed=seed + 1)
        block[-1].running_var *= 1 + 0.5 * numbers(4, seed=seed + 2).abs()
    return network


def clips_of(n_per_class: int, classes: list[int], seed: int = 0) -> Clips:
    """Clips of noise about the class's patch: no batch of them is easy."""
    clips = blobs(n_per_class, max(classes) + 1, seed)
    rows = torch.cat([of_labels(clips, label, label + 1) for label in classes])
    noisy = clips.features + 2 * numbers(*clips.features.shape, seed=seed + 50)
    return Clips(noisy, clips.labels)[rows]


def step_of(n_exemplars: int = 5) -> StepClips:
    """Four old classes with some exemplars each, two new ones with 12 clips each."""
    memory = clips_of(n_exemplars, [0, 1, 2, 3], seed=3) if n_exemplars else NO_CLIPS
    return StepClips(clips_of(12, [4, 5]), memory, NO_CLIPS, 4 * n_exemplars // 6, 4, 2)


def rows_of(clips: Clips, **more: Tensor | None) -> SimpleNamespace:
    """A batch of clips, as a loss is given it, without dropout unless `keep` is given."""
    return SimpleNamespace(
        **{"features": clips.features, "labels": clips.labels, "keep": None, **more}
    )


def run(steps: Generator[Fit, Any, Any], execute: Any = None) -> tuple[Any, list[Fit]]:
    """What a method's generator gives, and every Fit that it asked for.

    Args:
        execute: (fit) -> the module sent back; by default it is trained.
    """
    fits: list[Fit] = []
    try:
        fit = next(steps)
        while True:
            fits.append(fit)
            fit = steps.send(execute(fit) if execute else train(fit).module)
    except StopIteration as ended:
        return ended.value, fits


def learn(
    method: ModuleType,
    step: StepClips,
    config: Any,
    tensors: dict[str, Tensor] | None = None,
    training: StepTraining = TRAINING,
    execute: Any = None,
    apart: Clips | None = None,
) -> tuple[Learner, Learner, list[Fit]]:
    """The learner before a step, the one after it, and every Fit between."""
    learner = Learner(network_of(step.n_old), tensors or {}, apart)
    after, fits = run(method.learn_step(learner, step, config, training, SEEDS), execute)
    return learner, after, fits


def state_after(
    method: ModuleType,
    learner: Learner,
    clips: Clips = NO_CLIPS,
    memory: Clips = NO_CLIPS,
    config: Any = None,
    seeds: Seeds = SEEDS,
) -> Learner:
    """The learner with what a method keeps after a step."""
    return run(method.state_after(learner, clips, memory, config, seeds))[0]


def kept_apart(logits: Tensor, old_logits: Tensor, t: float) -> Tensor:
    """KL(softmax(old / T) || softmax(new / T)), mean over the batch, summed over classes; plain."""
    p, q = (old_logits / t).softmax(1), (logits / t).softmax(1)
    return (p * (p.log() - q.log())).sum(1).mean()


def close(found: Any, wanted: Any, tolerance: float = 1e-5) -> None:
    torch.testing.assert_close(
        torch.as_tensor(found), torch.as_tensor(wanted), rtol=tolerance, atol=tolerance,
        check_dtype=False,
    )  # fmt: skip


class Fixed(nn.Module):
    """Logits as given, whatever the features."""

    def __init__(self, logits: Tensor):
        super().__init__()
        self.logits = logits

    def forward(self, features: Tensor, keep: Tensor | None = None) -> Tensor:
        return self.logits


class Embedded(nn.Module):
    """A network whose features are their own embeddings."""

    def __init__(self, weight: Tensor, bias: Tensor):
        super().__init__()
        self.head = nn.Linear(weight.shape[1], len(weight))
        self.head.weight.data, self.head.bias.data = weight, bias
        self.n_classes = len(weight)

    def embed(self, features: Tensor, keep: Tensor | None = None) -> Tensor:
        return features

    def forward(self, features: Tensor, keep: Tensor | None = None) -> Tensor:
        return self.head(features)


def made_study(folder: Path, values: dict[str, Any], n_clips: int = 12) -> None:
    """A study as after `train_base`: noise as features of each word, untrained base models."""
    write_params(folder, values)
    make_features(folder / "data/features/words", values["datasets"]["words"]["classes"], n_clips)
    for job in bases_of(folder):
        save_untrained(job)


def make_features(folder: Path, words: list[str], n_clips: int) -> None:
    """Noise as the features of each word, and the table of its clips."""
    folder.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(0).normal(size=(len(words), n_clips, 32, 32))
    made = noise + np.arange(len(words))[:, None, None, None]
    np.save(folder / "features.npy", made.reshape(-1, 32, 32).astype(np.float32))
    rows = [f"{word}/{i},{word},{i},0,1.0" for word in words for i in range(n_clips)]
    table = "\n".join(["id,class,group,fold,seconds", *rows, ""])
    (folder / "clips.csv").write_text(table, "utf-8")


def bases_of(folder: Path, device: str = "cpu") -> list[BaseJob]:
    """The base models that a study asks for, in the order of its rows."""
    study = read_study(folder / "params.yaml")
    models = folder / "models/base/words"
    folders = Folders(folder / "data/features/words", models, folder / ".checkpoints")
    return base_jobs(study, "words", list(study.all_starts("words")), folders, device)


def save_untrained(job: BaseJob) -> None:
    network = Network(job.network, job.dataset.steps[0], seeded(job.seed)).eval()
    save_model(network, 2, job.key, job.file)
