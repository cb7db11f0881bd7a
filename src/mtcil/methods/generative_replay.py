"""Generative replay: a class-conditional decoder of old embeddings instead of exemplars.

After Shin et al.: Continual Learning with Deep Generative Replay (NeurIPS 2017), the paper's GAN
replay. We replay embeddings, not clips, and distil embeddings, as in Liu et al.: Generative Feature
Replay for Class-Incremental Learning (CVPR workshops 2020). The decoder is that of a conditional
variational autoencoder (Kingma and Welling 2014).
"""

from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from mtcil.learning.clips import Clips
from mtcil.learning.fit import Fit, Phase, Seeds, Steps, Table
from mtcil.learning.learner import Learner
from mtcil.learning.network import Network, draw_uniform, in_batches
from mtcil.learning.steps import (
    Cost,
    MethodConfig,
    StepClips,
    StepTraining,
    fit_whole,
    largest_logit,
    table,
    teacher_and_student,
)
from mtcil.settings.reader import STRICT
from mtcil.settings.sections import Positive, Weight, Whole
from mtcil.settings.training import SgdSettings

NO_SGD = SgdSettings(2, 0.0, 0.0)  # Adam ignores it
PARTS = ("classes.weight", "classes.bias", "latent.weight", "out.weight", "out.bias")
POOL = 20_000  # largest number of replayed embeddings in a step; they are reused after that
BATCH = 64  # of the autoencoder


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Config(MethodConfig):
    """Settings of this method only."""

    memory: Literal["exemplars", "none", "all"] = "none"
    feature_weight: Weight  # of the distillation of embeddings
    latent: Whole  # dimensions of the decoder's noise
    hidden: Whole  # width of its only hidden layer
    updates: Whole  # of the autoencoder after each step
    rate: Positive  # Adam's learning rate for the autoencoder


class Autoencoder(nn.Module):
    """Conditional variational autoencoder of embeddings (batch, d)."""

    def __init__(self, d: int, n_classes: int, latent: int, hidden: int):
        super().__init__()
        self.n_classes = n_classes
        self.encoder = nn.Linear(d + n_classes, hidden)
        self.to_latent = nn.Linear(hidden, 2 * latent)
        self.classes = nn.Linear(n_classes, hidden)
        self.latent = nn.Linear(latent, hidden, bias=False)
        self.out = nn.Linear(hidden, d)

    def one_hot(self, labels: Tensor) -> Tensor:
        """(batch,) -> (batch, n_classes) of 0 and 1."""
        places = torch.arange(self.n_classes, device=labels.device)
        return (labels.unsqueeze(1) == places).to(self.out.weight.dtype)

    def decode(self, noise: Tensor, labels: Tensor) -> Tensor:
        """(batch, latent) and (batch,) -> (batch, d)."""
        return self.out((self.classes(self.one_hot(labels)) + self.latent(noise)).relu())

    def encode(self, embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance of the latent: (batch, latent) each."""
        hidden = self.encoder(torch.cat([embeddings, self.one_hot(labels)], dim=1)).relu()
        mean, log_variance = self.to_latent(hidden).chunk(2, dim=1)
        return mean, log_variance


def autoencoder_loss(
    model: Autoencoder, batch: SimpleNamespace, numbers: SimpleNamespace, choices: None
) -> Tensor:
    """Negative evidence lower bound for unit variance, averaged over the batch."""
    rows = batch.points
    mean, log_variance = model.encode(rows.embeddings, rows.labels)
    decoded = model.decode(mean + rows.noise * (log_variance / 2).exp(), rows.labels)
    error = (decoded - rows.embeddings).square().sum(1) / 2
    return (error + divergence(mean, log_variance)).mean()


def divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(mean, variance) || N(0, 1)) of each row: (batch, latent) -> (batch,)."""
    return (log_variance.exp() + mean.square() - 1 - log_variance).sum(1) / 2


def learn_step(
    learner: Learner, clips: StepClips, config: Config, training: StepTraining, seeds: Seeds
) -> Steps[Learner]:
    """Learn the classes of one incremental step."""
    teacher, student = teacher_and_student(learner, clips, seeds)
    seen, batch = clips.seen(), training.sgd.batch
    n_replayed = round(batch * clips.n_old / clips.n_new)  # equally many per class
    pool = min(POOL, n_replayed * training.whole.updates)
    embeddings, labels = replay(learner.tensors, config, pool, seeds.generator("replay"))
    student = yield fit_whole(
        student,
        {
            "seen": table(seen, batch, embeddings=in_batches(teacher.embed, seen.features)),
            "replayed": Table({"embeddings": embeddings, "labels": labels}, n_replayed),
        },
        generative_replay_loss,
        clips,
        training,
        seeds,
        numbers={"feature_weight": config.feature_weight},
    )
    return Learner(student, learner.tensors)


def generative_replay_loss(
    network: Network, batch: SimpleNamespace, numbers: SimpleNamespace, choices: None
) -> Tensor:
    """Cross entropy on clips and replayed embeddings, plus distillation of embeddings."""
    seen, replayed = batch.seen, batch.replayed
    embeddings = network.embed(seen.features, seen.keep)
    logits = network.head(torch.cat([embeddings, replayed.embeddings]))
    learnt = F.cross_entropy(logits, torch.cat([seen.labels, replayed.labels]))
    return learnt + numbers.feature_weight * F.mse_loss(embeddings, seen.embeddings)


def state_after(
    learner: Learner, clips: Clips, memory: Clips, config: Config, seeds: Seeds
) -> Steps[Learner]:
    """Train a new decoder on the step's clips and on the old decoder's samples of old classes."""
    embeddings, labels = in_batches(learner.network.embed, clips.features), clips.labels
    if learner.tensors:
        n_old = len(learner.tensors["classes.weight"][0])
        number = len(labels) * n_old // (learner.n_classes - n_old)
        old = replay(learner.tensors, config, number, seeds.generator("old embeddings"))
        embeddings, labels = torch.cat([embeddings, old[0]]), torch.cat([labels, old[1]])
    centre, spread = embeddings.mean(0), embeddings.std(0) + 1e-6
    points = (embeddings - centre) / spread
    model = Autoencoder(points.shape[1], learner.n_classes, config.latent, config.hidden)
    draw = seeds.generator("decoder")
    for module in model.modules():
        if isinstance(module, nn.Linear):
            draw_uniform(module, draw)
    rows = {"embeddings": points, "labels": labels}
    model = yield Fit(
        name="decoder",
        network=model.to(points.device),
        tables={"points": Table(rows, BATCH, draw=noise_of(config.latent))},
        loss=autoencoder_loss,
        phase=Phase(config.updates, config.rate, optimiser="adam"),
        sgd=NO_SGD,
        seeds=seeds,
    )
    state = model.state_dict()
    tensors = {name: state[name].detach() for name in PARTS}
    return Learner(learner.network, {**tensors, "centre": centre, "spread": spread})


def noise_of(width: int) -> Callable[[int, torch.Generator], dict[str, Tensor]]:
    """A function that draws standard normal numbers for each row of a batch."""

    def draw(n: int, generator: torch.Generator) -> dict[str, Tensor]:
        return {"noise": torch.randn(n, width, generator=generator)}

    return draw


predict = largest_logit


def cost(network: Network, n_seen: int, config: Config) -> Cost:
    """The decoder."""
    d, hidden = network.head.in_features, config.hidden
    return Cost(4 * (hidden * (n_seen + 1 + config.latent) + d * (hidden + 1) + 2 * d))


def replay(
    tensors: Mapping[str, Tensor], config: Config, number: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Decoded embeddings (number, d) and their labels, which cycle through the classes."""
    n_classes, d = tensors["classes.weight"].shape[1], len(tensors["centre"])
    model = Autoencoder(d, n_classes, config.latent, config.hidden)
    model.load_state_dict({name: tensors[name] for name in PARTS}, strict=False)
    model.to(tensors["centre"].device)
    labels = torch.arange(number).remainder(n_classes).to(tensors["centre"].device)
    noise = torch.randn(number, config.latent, generator=generator).to(labels.device)
    with torch.no_grad():
        return model.decode(noise, labels) * tensors["spread"] + tensors["centre"], labels
