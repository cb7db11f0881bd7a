"""CCIL's step written the obvious way: nothing is computed once that could be computed again.

The same losses, batches, phases and optimiser as `mtcil.methods.ccil`, with the teacher, the
frozen blocks and the validation pass run again in every batch and check. It is what the fast form
is measured against, and it must give the same network except for rounding.
"""

import math
from types import SimpleNamespace

import torch
import torch.nn.functional as F

from mtcil.learning.fit import Seeds
from mtcil.learning.losses import distillation_weight
from mtcil.learning.network import copy_state, train_mode
from mtcil.learning.steps import balanced_set, teacher_and_student
from mtcil.methods.ccil import Choices, ccil_loss
from mtcil.settings.sections import parse_losses


def learn_step(learner, clips, config, training, seeds: Seeds):
    """As `mtcil.methods.ccil.learn_step` with all four terms, `together`."""
    teacher, network = teacher_and_student(learner, clips, seeds)
    balanced = balanced_set(clips, seeds.generator("balanced set"))
    n_seen, half = clips.n_old + clips.n_new, training.sgd.batch // 2
    weight = distillation_weight(config.kd_weight, n_seen, clips.n_new, config.kd_exponent)
    terms = frozenset(parse_losses(config.losses))
    choices = Choices(terms, config.kd_reduction, config.temperature)
    parts = {"new": clips.new, "balanced": balanced}
    with torch.no_grad():
        shape = network.eval().maps(clips.new.features[:1]).shape[1:]
    for name in ("head_first", "then_all"):
        phase = getattr(training, name)
        frozen = training.frozen_blocks if name == "head_first" else 0
        places = {
            k: draws(len(part), half, seeds.generator("batches", name, k))
            for k, part in parts.items()
        }
        factors = {
            k: dropout_factors(seeds.generator("dropout", name, k), half, shape) for k in parts
        }
        train_mode(network, frozen)
        optimiser = torch.optim.SGD(
            [p for p in network.parameters() if p.requires_grad], phase.learning_rate,
            training.sgd.momentum, weight_decay=training.sgd.weight_decay,
        )  # fmt: skip
        best, best_state = (-1.0, -math.inf), copy_state(network)
        for update in range(1, phase.updates + 1):
            optimiser.param_groups[0]["lr"] = phase.rate(update - 1)
            batch = {}
            for k, part in parts.items():
                rows = next(places[k])
                x = part.features[rows]
                with torch.no_grad():
                    logits = teacher(x)
                batch[k] = SimpleNamespace(
                    features=x, labels=part.labels[rows], logits=logits, keep=next(factors[k])
                )
            numbers = SimpleNamespace(kd_weight=weight)
            optimiser.zero_grad()
            ccil_loss(network, SimpleNamespace(**batch), numbers, choices).backward()
            optimiser.step()
            if not phase.is_check(update):
                continue
            network.eval()
            with torch.no_grad():
                scored = network(clips.validation.features)
            accuracy = (scored.argmax(1) == clips.validation.labels).float().mean().item()
            now = (accuracy, -F.cross_entropy(scored, clips.validation.labels).item())
            train_mode(network, frozen)
            if now > best:
                best, best_state = now, copy_state(network)
        network.load_state_dict(best_state)
        network.requires_grad_(True).eval()
    return type(learner)(network)


def draws(n_rows, share, generator):
    """Full batches of rows; every row once before any comes again."""
    waiting = torch.empty(0, dtype=torch.int64)
    while True:
        while len(waiting) < share:
            waiting = torch.cat([waiting, torch.randperm(n_rows, generator=generator)])
        yield waiting[:share]
        waiting = waiting[share:]


def dropout_factors(generator, n, shape):
    """As the executor draws them, for dropout of a half: 64 updates at once."""
    while True:
        yield from (torch.rand((64, n, *shape), generator=generator) < 0.5).float() / 0.5
