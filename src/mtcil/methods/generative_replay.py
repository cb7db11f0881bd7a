"""Generative replay: a class-conditional generator of old embeddings instead of exemplars.

After Shin et al.: Continual Learning with Deep Generative Replay (NeurIPS 2017), the paper's GAN
replay; of embeddings rather than of clips, and held to the old ones by feature distillation, as Liu
et al.: Generative Feature Replay for Class-Incremental Learning (CVPR workshops 2020). The
generator is the decoder of a conditional variational autoencoder (Kingma and Welling 2014).
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from mtcil.learning.clips import Clips, join
from mtcil.learning.fit import Streams, endless
from mtcil.learning.learner import Learner
from mtcil.learning.network import Network, draw_uniform, frozen_copy, in_batches, widen_head
from mtcil.learning.phases import fit_whole, shuffled_rows
from mtcil.learning.steps import Cost, MethodConfig, StepClips
from mtcil.settings.reader import STRICT
from mtcil.settings.sections import Positive, StepTrainingSettings, Weight, Whole

PARTS = ("classes.weight", "classes.bias", "latent.weight", "out.weight", "out.bias")


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Config(MethodConfig):
    """Settings of this method alone."""

    memory: Literal["exemplars", "none", "all"] = "none"
    feature_weight: Weight  # of the distillation of embeddings
    latent: Whole  # dimensions of the generator's noise
    hidden: Whole  # width of its only hidden layer
    updates: Whole  # of the generator after each step
    rate: Positive  # Adam's, of the generator


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

    def decode(self, noise: Tensor, labels: Tensor) -> Tensor:
        """(batch, latent) and (batch,) -> (batch, d)."""
        one_hot = F.one_hot(labels, self.n_classes).to(noise.dtype)
        return self.out((self.classes(one_hot) + self.latent(noise)).relu())

    def loss(self, embeddings: Tensor, labels: Tensor, noise: Tensor) -> Tensor:
        """Minus the evidence lower bound for unit variance, averaged over the batch."""
        one_hot = F.one_hot(labels, self.n_classes).to(embeddings.dtype)
        mean, log_variance = self.to_latent(
            self.encoder(torch.cat([embeddings, one_hot], dim=1)).relu()
        ).chunk(2, dim=1)
        decoded = self.decode(mean + noise * (log_variance / 2).exp(), labels)
        error = (decoded - embeddings).square().sum(1) / 2
        return (error + divergence(mean, log_variance)).mean()


def divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(mean, variance) || N(0, 1)) of each row: (batch, latent) -> (batch,)."""
    return (log_variance.exp() + mean.square() - 1 - log_variance).sum(1) / 2


def learn_step(
    learner: Learner,
    clips: StepClips,
    training: StepTrainingSettings,
    config: Config,
    streams: Streams,
    report: Callable[[str], None] | None = None,
) -> Learner:
    """Learn the classes of one incremental step."""
    teacher = frozen_copy(learner.network)
    n_old, n_new = teacher.n_classes, len(clips.new.labels.unique())
    network = widen_head(learner.network, n_new, streams.generator("weights"))
    seen = join(clips.new, clips.memory)
    old_embeddings = in_batches(teacher.embed, seen.features)
    generated = generator_of(learner.tensors, config)
    draw = streams.generator("replay")

    def loss(rows: Tensor) -> Tensor:
        embeddings = network.embed(seen.features[rows])
        n_replayed = round(len(rows) * n_old / n_new)  # as many of each class
        replayed, labels = generated(n_replayed, draw)
        logits = network.head(torch.cat([embeddings, replayed]))
        kept = F.mse_loss(embeddings, old_embeddings[rows])
        learnt = F.cross_entropy(logits, torch.cat([seen.labels[rows], labels]))
        return learnt + config.feature_weight * kept

    batches = shuffled_rows(len(seen), training)
    epochs = fit_whole(network, batches, loss, clips, training, streams, report)
    return Learner(network, learner.tensors, epochs=epochs)


def keep(
    learner: Learner, clips: Clips, memory: Clips, config: Config, streams: Streams
) -> Learner:
    """Train a new generator on the step's clips and on what the old one makes of old classes."""
    embeddings, labels = in_batches(learner.network.embed, clips.features), clips.labels
    if learner.tensors:
        n_old = len(learner.tensors["classes.weight"][0])
        n_new = learner.n_classes - n_old
        draw = streams.generator("old embeddings")
        replayed, of = generator_of(learner.tensors, config)(len(labels) * n_old // n_new, draw)
        embeddings, labels = torch.cat([embeddings, replayed]), torch.cat([labels, of])
    model = train_generator(embeddings, labels, learner.n_classes, config, streams)
    tensors = {name: model[name] for name in PARTS}
    tensors |= {"centre": model["centre"], "spread": model["spread"]}
    return replace(learner, tensors=tensors)


def cost(network: Network, n_seen: int, config: Config) -> Cost:
    """The decoder."""
    d, hidden = network.head.in_features, config.hidden
    return Cost(4 * (hidden * (n_seen + 1 + config.latent) + d * (hidden + 1) + 2 * d))


def train_generator(
    embeddings: Tensor, labels: Tensor, n_classes: int, config: Config, streams: Streams
) -> dict[str, Tensor]:
    """Weights of an autoencoder of normalised embeddings, and `centre` and `spread` of those."""
    centre, spread = embeddings.mean(0), embeddings.std(0) + 1e-6
    points = (embeddings - centre) / spread
    model = Autoencoder(points.shape[1], n_classes, config.latent, config.hidden)
    draw = streams.generator("generator")
    for module in model.modules():
        if isinstance(module, nn.Linear):
            draw_uniform(module, draw)
    model.to(points.device)
    optimiser = torch.optim.Adam(model.parameters(), config.rate)
    batches = endless(len(points), 64, draw)
    for _ in range(config.updates):
        rows = next(batches)
        noise = torch.randn(len(rows), config.latent, generator=draw).to(points.device)
        optimiser.zero_grad()
        model.loss(points[rows], labels[rows], noise).backward()
        optimiser.step()
    state = {name: value.detach() for name, value in model.state_dict().items()}
    return {**state, "centre": centre, "spread": spread}


def generator_of(
    tensors: Mapping[str, Tensor], config: Config
) -> Callable[[int, torch.Generator], tuple[Tensor, Tensor]]:
    """(number, generator of noise) -> embeddings (number, d) and labels, classes in turn."""
    n_classes, d = tensors["classes.weight"].shape[1], len(tensors["centre"])
    model = Autoencoder(d, n_classes, config.latent, config.hidden)
    model.load_state_dict({name: tensors[name] for name in PARTS}, strict=False)
    model.to(tensors["centre"].device).requires_grad_(False)

    def generate(number: int, draw: torch.Generator) -> tuple[Tensor, Tensor]:
        labels = torch.arange(number).remainder(n_classes).to(tensors["centre"].device)
        noise = torch.randn(number, config.latent, generator=draw).to(labels.device)
        return model.decode(noise, labels) * tensors["spread"] + tensors["centre"], labels

    return generate
