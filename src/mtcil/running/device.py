"""The device of a run, and the setup of a process for it."""

import os

import torch

from mtcil.core.errors import UserError
from mtcil.core.processes import keep_freed_memory


def choose_device(requested: str) -> str:
    """Name of the device; `auto` is a GPU if there is one.

    Raises:
        UserError: if this machine does not have the device.
    """
    if requested == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(1, device=requested)
    except (RuntimeError, AssertionError) as error:
        raise UserError(
            f"machine.device {requested!r} cannot be used here ({str(error).splitlines()[0]}). "
            "Set machine.device: auto or cpu."
        ) from error
    if requested.startswith("cuda:"):
        torch.cuda.set_device(requested)  # where graphs are captured and memory is measured
    return requested


def prepare_worker(device: str) -> torch.device:
    """Use one thread per process on a CPU: with several runs at once, more threads are slower.

    On a GPU, use deterministic algorithms where they exist. PyTorch would also fill new memory
    then, which costs a fifth of the speed and changes nothing here (benchmarks/GPU.md).
    """
    if device.startswith("cuda"):
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True, warn_only=True)
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
        torch.backends.cudnn.benchmark = False
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    keep_freed_memory()
    return torch.device(device)
