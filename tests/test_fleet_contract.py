"""Every loss can be trained for many runs at once: a vmapped gradient equals each run's own.

The parameters of three runs are stacked, as `torch.func` has it, and each run brings a batch and
numbers of its own. In float64, so that only rounding may differ.
"""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
import torch
from conftest import SGD, batches_of, blobs
from tiny_study import ROOT
from torch import Tensor, nn
from torch.func import functional_call, grad, stack_module_state, vmap
from untrained import NO_CLIPS, TINY, TRAINING, network_of, run, state_after

from mtcil.core.lookup import find, names
from mtcil.core.randomness import numpy_generator
from mtcil.learning.base_step import learn_base
from mtcil.learning.clips import of_labels
from mtcil.learning.fit import Fit, Phase, Seeds, namespace
from mtcil.learning.learner import Learner
from mtcil.learning.network import backbone_of, train_mode
from mtcil.learning.protocol import draw_tasks
from mtcil.learning.steps import StepClips
from mtcil.running.jobs import method_settings
from mtcil.settings.files import read_study
from mtcil.settings.sections import BaseTrainingSettings, Heads, PhaseSettings

STUDY = read_study(ROOT / "params.yaml")
SEEDS = (0, 1, 2)  # of the runs that are trained together


class LossOf(nn.Module):
    """A Fit's loss as a module in training mode, whose parameters can be handed in."""

    def __init__(self, fit: Fit):
        super().__init__()
        self.module, self.fit = copy.deepcopy(fit.network).double(), fit
        train_mode(self.module, fit.frozen_blocks)
        network = backbone_of(self.module)
        if network is not None:
            network.first = fit.frozen_blocks

    def forward(self, batch: dict, numbers: dict) -> Tensor:
        batch = dict.fromkeys(self.fit.tables) | batch  # None: a table without rows
        return self.fit.loss(self.module, namespace(batch), namespace(numbers), self.fit.choices)


def batch_of(fit: Fit) -> dict[str, dict[str, Tensor]]:
    """The first batch of a Fit, without tables that have no rows."""
    (batch,) = batches_of(fit, 1)
    tables = {name: vars(rows) for name, rows in vars(batch).items() if rows is not None}
    return {
        name: {column: value for column, value in rows.items() if value is not None}
        for name, rows in tables.items()
    }


def in_float64(values: Mapping[str, Any]) -> dict[str, Any]:
    """Nested numbers and tensors as float64 tensors; whole numbers stay whole."""

    def tensor(value: Any) -> Any:
        if isinstance(value, Mapping):
            return in_float64(value)
        value = torch.as_tensor(value)
        return value.double() if value.is_floating_point() else value

    return {name: tensor(value) for name, value in values.items()}


def stacked(values: Sequence[Any]) -> Any:
    """Nested tensors of all runs, each stacked along a new first dimension."""
    if isinstance(values[0], Mapping):
        return {name: stacked([value[name] for value in values]) for name in values[0]}
    return torch.stack(list(values))


def assert_gradients_equal(fits: Sequence[Fit]) -> None:
    """The vmapped gradient of all runs equals the gradient of each alone."""
    losses = [LossOf(fit) for fit in fits]
    batches = [in_float64(batch_of(fit)) for fit in fits]
    numbers = [in_float64(fit.numbers) for fit in fits]
    parameters, buffers = stack_module_state(losses)
    learning = [name for name, value in losses[0].named_parameters() if value.requires_grad]
    learnt = {name: parameters[name].detach() for name in learning}
    fixed = {name: v.detach() for name, v in parameters.items() if name not in learning}

    def loss(learnt: dict, fixed: dict, buffers: dict, batch: dict, numbers: dict) -> Tensor:
        return functional_call(losses[0], ({**learnt, **fixed}, buffers), (batch, numbers))

    together = vmap(grad(loss))(learnt, fixed, buffers, stacked(batches), stacked(numbers))
    assert learning and any(gradient.any() for gradient in together.values())
    for place, own in enumerate(losses):
        of_own = dict(own.named_parameters())
        alone = torch.autograd.grad(
            own(batches[place], numbers[place]),
            [of_own[name] for name in learning],
            allow_unused=True,
            materialize_grads=True,
        )
        for name, wanted in zip(learning, alone, strict=True):
            torch.testing.assert_close(together[name][place], wanted, rtol=1e-9, atol=1e-11)


def method_fits(name: str, seed: int, n_memory: int) -> list[Fit]:
    """All Fits of a step of one run; four old classes, two new ones."""
    section = next(s for s, v in STUDY.methods.items() if v.get("kind", s) == name)
    quick = {"updates": 20} if name == "generative_replay" else {}
    _, config = method_settings(STUDY, section, quick)
    method, clips = find("methods", name), blobs(12, 6, seed)
    base, new = clips[of_labels(clips, 0, 4)], clips[of_labels(clips, 4, 6)]
    memory = base[torch.cat([of_labels(base, k, k + 1)[:n_memory] for k in range(4)])]
    before = Learner(network_of(4, seed))
    before = state_after(method, before, base, memory, config, Seeds(seed, 0))
    step = StepClips(new, memory, NO_CLIPS, n_memory * 4 // 6, 4, 2)
    learnt, fits = run(method.learn_step(before, step, config, TRAINING, Seeds(seed, 1)))
    assert learnt.n_classes == 6
    return fits


@pytest.mark.parametrize("name", names("methods"))
@pytest.mark.parametrize("n_memory", [5, 0], ids=["exemplars", "none"])
def test_a_methods_vmapped_gradient_equals_each_runs_own(name, n_memory):
    by_run = [method_fits(name, seed, n_memory) for seed in SEEDS]
    assert len({len(fits) for fits in by_run}) == 1
    for fits in zip(*by_run, strict=True):
        assert len({(f.name, f.loss, f.choices, f.frozen_blocks) for f in fits}) == 1
        assert_gradients_equal(fits)


def test_the_decoders_vmapped_gradient_equals_each_runs_own():
    method, clips = find("methods", "generative_replay"), blobs(12, 4, 0)
    _, config = method_settings(STUDY, "generative_replay", {"updates": 1})
    fits = []
    for seed in SEEDS:
        learner = Learner(network_of(4, seed))
        steps = method.state_after(learner, clips, NO_CLIPS, config, Seeds(seed, 0))
        fits += run(steps)[1]
    assert_gradients_equal(fits)


@pytest.mark.parametrize("passes", ["separate", "shared"])
@pytest.mark.parametrize("statistics", ["full_task", "all_tasks"])
def test_the_base_steps_vmapped_gradient_equals_each_runs_own(passes, statistics):
    settings = BaseTrainingSettings(
        SGD, PhaseSettings(None, 0.1, "constant"), 1.0, "mean", statistics
    )
    fits = []
    for seed in SEEDS:
        tasks = draw_tasks(Heads.parse("4-3-2", 4), 4, numpy_generator(seed, "tasks"))
        clips = blobs(12, 4, seed)
        steps = learn_base(
            clips, clips[:0], tasks, passes, TINY, settings, Phase(2, 0.1), Seeds(seed, 0)
        )
        fits.append(next(steps))
    assert_gradients_equal(fits)
