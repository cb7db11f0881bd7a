"""Train many runs at once on one GPU: phases of the same kind are trained together.

The networks of a fleet are stacked along a first dimension. One update of all of them is
`torch.func.vmap` of the gradient of the loss, captured once as a CUDA graph. Every run has its own
rows, random numbers, learning rates, `numbers`, early stopping and best state, so its result does
not depend on other runs, except for rounding. The same code runs on a CPU without the graph, but
slower than one run after the other.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor
from torch.func import functional_call, grad, vmap

from mtcil.learning.fit import Fit, Score, Trained
from mtcil.learning.network import train_mode
from mtcil.running.batches import BLOCK, training_copy
from mtcil.running.stacks import Held, LossOf, Rows, Tensors, stacked

WARM_UP = 3  # updates before the CUDA graph is captured, as PyTorch's documentation requires


@dataclass
class Course:
    """State of the early stopping of one run."""

    best: Score | None = None
    best_check: int = 0
    stopped_after: int | None = None  # updates


class Fleet:
    """Fits of one kind in training; an update reads and writes the same memory every time."""

    def __init__(self, fits: Sequence[Fit]):
        fit, n_runs = fits[0], len(fits)
        modules = [training_copy(fit) for fit in fits]
        self.fits, self.fit, self.module = fits, fit, modules[0]
        like = next(self.module.parameters()).detach()
        learning = {f"module.{n}" for n, p in self.module.named_parameters() if p.requires_grad}
        states = [{f"module.{n}": v for n, v in m.state_dict().items()} for m in modules]
        state: Tensors = stacked(states, like)
        self.names = [name for name in state if name in learning]
        # All trained weights are in one tensor, (run, weights), so that SGD takes few kernels.
        self.weights = self._side_by_side(state)
        sizes = [state[name][0].numel() for name in self.names]
        views = zip(self.names, self.weights.split(sizes, dim=1), strict=True)
        self.learning = {n: part.view(state[n].shape) for n, part in views}
        self.others = {name: state[name] for name in state if name not in learning}
        self.moments = [torch.zeros_like(self.weights) for _ in range(2)]
        self.update_no = torch.zeros(1, dtype=torch.int64, device=like.device)
        phases = {f.phase for f in fits}
        rates = {phase: [phase.rate(k) for k in range(phase.updates)] for phase in phases}
        self.rates = like.new_tensor([rates[f.phase] for f in fits]).T  # (updates, run)
        self.learns = like.new_ones(n_runs, 1)  # 0 for a run that has stopped
        names = [name for name, table in fit.tables.items() if table is not None]
        self.tables = {name: Rows(fits, name, modules) for name in names}
        self.numbers = stacked([f.numbers for f in fits], like)
        self.held = Held(fits, self.module) if fit.stopping_on else None
        self.courses, self.n_checks = [Course() for _ in fits], 0
        self.best = [value.clone() for value in self._state()] if self.held else []
        loss = LossOf(self.module, fit)
        self.gradient = vmap(
            grad(lambda w, o, batch, numbers: functional_call(loss, w | o, (batch, numbers)))
        )

    def _side_by_side(self, values: Tensors) -> Tensor:
        """The values of all trained weights as one tensor, (run, weights)."""
        return torch.cat([values[n].reshape(len(self.fits), -1) for n in self.names], dim=1)

    def _state(self) -> list[Tensor]:
        """All tensors of the networks."""
        return [self.weights, *self.others.values()]

    def update(self) -> None:
        """Make one update of every run."""
        batch = {name: rows.batch(self.update_no) for name, rows in self.tables.items()}
        gradients = self.gradient(self.learning, self.others, batch, self.numbers)
        rate = self.rates.index_select(0, self.update_no).T * self.learns
        optimise = adam if self.fit.phase.optimiser == "adam" else sgd
        optimise(self, self._side_by_side(gradients), rate)
        self.update_no += 1

    def draw(self) -> None:
        """Draw random numbers for the next `BLOCK` updates."""
        for rows in self.tables.values():
            rows.draw()

    def captured(self) -> Callable[[], None]:
        """`update` as a CUDA graph; capturing it changes no state."""
        state = [*self._state(), *self.moments, self.update_no]
        before = [value.clone() for value in state]
        stream = warm_up_stream(torch.cuda.current_device())
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_UP):
                self.update()
                self.update_no.zero_()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self.update()
        for value, old in zip(state, before, strict=True):
            value.copy_(old)
        return graph.replay

    def train(self) -> list[Trained]:
        """Make all updates, or stop early when the last run has stopped."""
        phase, made = self.fit.phase, 0
        go = self.update
        while made < phase.updates and not all(c.stopped_after for c in self.courses):
            if made % BLOCK == 0:
                self.draw()
            if made == 0 and self.weights.is_cuda:
                go = self.captured()
            go()
            made += 1
            if self.held is not None and phase.is_check(made):
                self.check(made)
        return [self.trained(run, made) for run in range(len(self.fits))]

    def check(self, made: int) -> None:
        """Save the state of runs that improved; stop runs without patience left."""
        assert self.held is not None  # noqa: S101
        phase = self.fit.phase
        self.module.eval()
        scores = self.held.scores(self.learning | self.others)
        train_mode(self.module, self.fit.frozen_blocks)
        self.n_checks += 1
        better = []
        for course, now in zip(self.courses, scores, strict=True):
            open_ = course.stopped_after is None
            better.append(open_ and (course.best is None or now > course.best))
            if better[-1]:
                course.best, course.best_check = now, self.n_checks
            if open_ and self.n_checks - course.best_check >= (phase.patience or self.n_checks + 1):
                course.stopped_after = made
        chosen = torch.tensor(better, device=self.weights.device)
        for best, value in zip(self.best, self._state(), strict=True):
            best.copy_(torch.where(chosen.view(-1, *[1] * (value.dim() - 1)), value, best))
        stopped = [course.stopped_after is not None for course in self.courses]
        self.learns[torch.tensor(stopped, device=self.learns.device)] = 0.0

    def trained(self, run: int, made: int) -> Trained:
        """The network of one run: at its best check, or the current one."""
        fit, course = self.fits[run], self.courses[run]
        weights, *others = self._state() if course.best is None else self.best
        sizes = [self.learning[name][0].numel() for name in self.names]
        parts = zip(self.names, weights[run].split(sizes), strict=True)
        state = {n: part.view(self.learning[n].shape[1:]) for n, part in parts}
        state |= {n: value[run] for n, value in zip(self.others, others, strict=True)}
        module = copy.deepcopy(fit.network)
        module.load_state_dict({n.removeprefix("module."): v for n, v in state.items()})
        return Trained(module.requires_grad_(True).eval(), course.stopped_after or made)


@cache
def warm_up_stream(device: int) -> torch.cuda.Stream:
    """One stream for all fleets: cuBLAS keeps memory for every stream that it has met."""
    return torch.cuda.Stream(device)


def sgd(fleet: Fleet, gradient: Tensor, rate: Tensor) -> None:
    """`torch.optim.SGD` with momentum and weight decay, for all runs in place.

    Args:
        gradient: (run, weights).
        rate: (run, 1).
    """
    momentum, _ = fleet.moments
    momentum.mul_(fleet.fit.sgd.momentum).add_(gradient)
    momentum.add_(fleet.weights, alpha=fleet.fit.sgd.weight_decay)
    fleet.weights.sub_(rate * momentum)


def adam(fleet: Fleet, gradient: Tensor, rate: Tensor) -> None:
    """`torch.optim.Adam` with default settings; arguments as for `sgd`."""
    first, second = fleet.moments
    first.lerp_(gradient, 1 - 0.9)
    second.lerp_(gradient.square(), 1 - 0.999)
    n = (fleet.update_no + 1).to(gradient.dtype)
    size = (second / (1 - 0.999**n)).sqrt().add_(1e-8)
    fleet.weights.sub_(rate * (first / (1 - 0.9**n)) / size)
