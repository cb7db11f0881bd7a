"""CCIL's step written the obvious way: nothing is computed once that could be computed again.

The same losses, batches, phases and optimiser as `mtcil.methods.ccil`, with the teacher, the
frozen blocks and the validation pass run anew in every batch and epoch. It is what the fast form
is measured against, and it must give the same network except for rounding.
"""

import math

import torch
import torch.nn.functional as F

from mtcil.learning.fit import learning_rate
from mtcil.learning.losses import distillation_loss, distillation_weight, new_class_loss
from mtcil.learning.network import copy_state, frozen_copy, train_mode, widen_head
from mtcil.methods.ccil import balanced_set, batches_of


def learn_step(learner, clips, training, config, streams, report=None):
    """As `mtcil.methods.ccil.learn_step` with all four terms, `together`."""
    teacher = frozen_copy(learner.network)
    n_old, n_new = teacher.n_classes, len(clips.new.labels.unique())
    network = widen_head(learner.network, n_new, streams.generator("weights"))
    balanced = balanced_set(clips, n_old, streams.generator("balanced set"))
    weight = distillation_weight(config.kd_weight, n_old + n_new, n_new, config.kd_exponent)
    for name in ("head_first", "then_all"):
        phase = getattr(training, name)
        frozen = training.frozen_blocks if name == "head_first" else 0
        generator = streams.generator("batches", name)
        torch.manual_seed(streams.number("dropout", name))
        train_mode(network, frozen)
        optimiser = torch.optim.SGD(
            [p for p in network.parameters() if p.requires_grad],
            phase.learning_rate,
            training.sgd.momentum,
            weight_decay=training.sgd.weight_decay,
        )
        best, best_state, waited = (-1.0, -math.inf), copy_state(network), 0
        for epoch in range(phase.epochs):
            optimiser.param_groups[0]["lr"] = learning_rate(phase, epoch)
            for new, old in batches_of(
                (len(clips.new), len(balanced)), training.sgd.batch, generator
            ):
                x = torch.cat([clips.new.features[new], balanced.features[old]])
                with torch.no_grad():
                    targets = teacher(x)
                logits = network(x)
                n = len(new)
                loss = new_class_loss(logits[:n], clips.new.labels[new], n_old)
                loss = loss + F.cross_entropy(logits[n:], balanced.labels[old])
                for rows in (slice(None, n), slice(n, None)):
                    loss = loss + weight * distillation_loss(
                        logits[rows, :n_old], targets[rows], config.temperature
                    )
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
            network.eval()
            with torch.no_grad():
                scored = network(clips.validation.features)
            accuracy = (scored.argmax(1) == clips.validation.labels).float().mean().item()
            now = (accuracy, -F.cross_entropy(scored, clips.validation.labels).item())
            train_mode(network, frozen)
            if now > best:
                best, best_state, waited = now, copy_state(network), 0
            else:
                waited += 1
            if phase.patience is not None and waited >= phase.patience:
                break
        network.load_state_dict(best_state)
        network.requires_grad_(True).eval()
    return type(learner)(network)
