"""What only a GPU can show, in one command of under five minutes: `python benchmarks/gpu.py`.

Speed of an epoch by heads, of a step, several processes on one GPU, what deterministic
algorithms cost and whether results then repeat to the bit, whether `torch.compile` or CUDA graphs
pay, and memory. Without a GPU it says so and ends.
"""

import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import torch
import torch.nn.functional as F
import training
from training import DEVICE, NETWORK, clips

from mtcil.learning.fit import Phase
from mtcil.learning.network import Network


def base_weights(epochs: int) -> torch.Tensor:
    """All weights of a short multitask base run, in one vector."""
    tasks = [(0, 1, 2, 3, 4), (0, 1, 2, 3), (1, 2, 3)]
    network = training.base(clips(320, 5), tasks, "shared", Phase(50 * epochs, 0.05))
    return torch.cat([p.detach().flatten() for p in network.parameters()])


def determinism() -> None:
    print("\n| algorithms | s for 5 epochs | largest difference of two runs |\n| --- | --- | --- |")
    for name, wanted in (("default", False), ("deterministic", True)):
        torch.use_deterministic_algorithms(wanted, warn_only=True)
        first = base_weights(5)
        start = training.now()
        again = base_weights(5)
        seconds = training.now() - start
        print(f"| {name} | {seconds:.2f} | {(first - again).abs().max().item():.1e} |")


def one_update(network: Network, x: torch.Tensor, y: torch.Tensor) -> Callable[[], None]:
    optimiser = torch.optim.SGD(network.parameters(), 0.01, 0.9)

    def update() -> None:
        optimiser.zero_grad(set_to_none=False)
        F.cross_entropy(network(x), y).backward()
        optimiser.step()

    return update


def as_graph(update: Callable[[], None]) -> Callable[[], None]:
    """The same update, recorded once as a CUDA graph."""
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        for _ in range(3):
            update()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        update()
    return graph.replay


def updates(batch: int) -> None:
    """Milliseconds of one update: plain, compiled, as a CUDA graph."""
    data = clips(320, 5)
    x, y = data.features[:batch].contiguous(), data.labels[:batch]
    forms: dict[str, Callable[[], Callable[[], None]]] = {
        "plain": lambda: one_update(new_network(), x, y),
        "torch.compile": lambda: one_update(torch.compile(new_network()), x, y),  # type: ignore[arg-type]
        "CUDA graph": lambda: as_graph(one_update(new_network(), x, y)),
    }
    print(f"\n| one update, batch {batch} | ms | first call, s |\n| --- | --- | --- |")
    for name, make in forms.items():
        start = time.perf_counter()
        update = make()
        update()
        torch.cuda.synchronize()
        first, found = time.perf_counter() - start, []
        for _ in range(7):
            start = time.perf_counter()
            for _ in range(50):
                update()
            torch.cuda.synchronize()
            found.append((time.perf_counter() - start) / 50)
        print(f"| {name} | {1000 * statistics.median(found):.3f} | {first:.1f} |")


def new_network() -> Network:
    return Network(NETWORK, 5, torch.Generator().manual_seed(0)).to(DEVICE).train()


def main() -> None:
    if DEVICE.type != "cuda":
        print("No GPU here: benchmarks/gpu.py measures what only a GPU can show.")
        return
    print(f"torch {torch.__version__}, {torch.cuda.get_device_name()}")
    training.heads_table()
    training.step_table()
    training.jobs_table()
    determinism()
    for batch in (32, 256):
        updates(batch)
    print(f"\nPeak memory of this process: {torch.cuda.max_memory_allocated() / 2**20:.0f} MiB.")


if __name__ == "__main__":
    main()
