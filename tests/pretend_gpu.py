"""A GPU pretended on a CPU, so that what only a GPU runs is tested without one.

Tensors stay on the CPU, but those made on or moved to `cuda` say that they are there, and mixing
the two fails as on a GPU. A CUDA graph repeats operations on the same memory, without Python.
Memory is counted and can run out. Not pretended: speed, rounding, streams, a GPU's own kernels and
what they refuse, deterministic algorithms. A graph here keeps its inputs; a real one does not.
"""

import os
import weakref
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

import torch
import torch._dynamo  # many operations import it; its annotations do not accept a pretended class
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_leaves

from mtcil.running.fleet import warm_up_stream

CPU = torch.device("cpu")
INDEXING = {"index", "index_put", "index_put_", "_index_put_impl_"}
# What cannot be captured in a CUDA graph: reading a value, results of unknown size.
READS = {
    *("_linalg_check_errors", "_local_scalar_dense", "_unique2", "bincount", "equal", "is_nonzero"),
    *("masked_select", "nonzero"),
}  # fmt: skip


def tensors_in(values: Any) -> list[Tensor]:
    return [value for value in tree_leaves(values) if isinstance(value, Tensor)]


class Memory:
    """Where every tensor is said to be, and the bytes that the GPU holds.

    Attributes:
        total: bytes of each GPU.
        current: number of the GPU that `cuda` means.
        of_graphs: bytes that captured graphs keep.
        peak: most bytes used since it was set.
        at_most: upper limit of the bytes used now: what was freed since `used` still counts.
        reserved: bytes that PyTorch holds; what was freed stays until `empty_cache`.
        of_update: most bytes that the last warm-up needed; a graph keeps as many.
        is_capturing: whether new tensors belong to a graph.
        seen: places where there were tensors.
    """

    def __init__(self, total: int):
        self.total, self.of_graphs, self.peak, self.of_update = total, 0, 0, 0
        self.current, self.is_capturing, self.at_most, self.reserved = 0, False, 0, 0
        self.seen: set[torch.device] = set()
        self.storages: dict[int, tuple[StorageWeakRef, torch.device, int]] = {}

    @staticmethod
    def _storage(tensor: Tensor) -> Any:
        while torch._C._functorch.is_functorch_wrapped_tensor(tensor):
            tensor = torch._C._functorch.get_unwrapped(tensor)
        return tensor.untyped_storage()

    def named(self, device: Any) -> torch.device:
        """The place that is meant by a device."""
        device = torch.device(device)
        if device.type == "cpu":
            return CPU
        return torch.device("cuda", self.current if device.index is None else device.index)

    def place(self, tensor: Tensor) -> torch.device | None:
        """Where a tensor is; None for one that PyTorch made by itself."""
        found = self.storages.get(StorageWeakRef(self._storage(tensor)).cdata)
        return found[1] if found else None

    def put(self, tensor: Tensor, place: torch.device) -> Tensor:
        """Say where a tensor is.

        Raises:
            torch.OutOfMemoryError: if the GPU has no place for it.
        """
        storage = self._storage(tensor)
        ref = StorageWeakRef(storage)  # while it exists, no other storage has the same number
        is_new = place != CPU and self.place(tensor) != place
        self.storages[ref.cdata] = (ref, place, 0 if self.is_capturing else storage.nbytes())
        self.seen.add(place)
        self.at_most += self.storages[ref.cdata][2] if is_new else 0
        if self.at_most > self.peak and self.used() > self.total:
            del self.storages[ref.cdata]
            raise torch.OutOfMemoryError("CUDA out of memory, pretended")
        self.peak = max(self.peak, self.at_most)
        self.reserved = max(self.reserved, self.at_most)
        return tensor

    def used(self) -> int:
        """Bytes that the GPU holds now."""
        self.storages = {key: of for key, of in self.storages.items() if not of[0].expired()}
        of_tensors = sum(n for _, place, n in self.storages.values() if place != CPU)
        self.at_most = self.of_graphs + of_tensors
        return self.at_most

    @contextmanager
    def warming_up(self) -> Iterator[None]:
        """Measure what updates need."""
        peak, before = self.peak, self.used()
        self.peak = before
        try:
            yield
        finally:
            self.of_update, self.peak = self.peak - before, max(peak, self.peak)

    @contextmanager
    def capturing(self, graph: "Graph") -> Iterator[None]:
        """Record all operations into a graph; as PyTorch does, free unused memory first."""
        self.empty_cache()
        needed, self.is_capturing = self.of_update, True
        try:
            with Capture(graph):
                yield
        finally:
            self.is_capturing = False
        self.of_graphs += needed
        self.peak = max(self.peak, self.used())
        weakref.finalize(graph, self._release, needed)

    def _release(self, n_bytes: int) -> None:
        self.of_graphs -= n_bytes

    def free(self) -> int:
        """Bytes that are free for other processes, too."""
        self.reserved = min(self.total, max(self.reserved, self.used()))
        return self.total - self.reserved

    def empty_cache(self) -> None:
        self.reserved = self.used()

    def reset_peak(self) -> None:
        self.peak = self.used()


class Operations(TorchDispatchMode):
    """Refuses operations on tensors of both places; results are where their inputs are."""

    def __init__(self, memory: Memory):
        super().__init__()
        self.memory = memory

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        given, name = tensors_in((args, kwargs)), func.overloadpacket.__name__
        places = [self.memory.place(one) for one in given]
        known = {place for place in places if place is not None}
        if self.memory.is_capturing and CPU in known:
            raise RuntimeError(f"not permitted when stream is capturing: {name}")
        rows = {id(one) for one in tensors_in(args[1])} if name in INDEXING else set()
        of_cpu = {id(one) for one in given if not one.dim()} | rows  # may be there beside a GPU's
        pairs = zip(given, places, strict=True)
        bound = {place for one, place in pairs if place != CPU or id(one) not in of_cpu} - {None}
        if len(bound) > 1 and name != "copy_":
            raise RuntimeError(f"Expected all tensors to be on the same device: {name}")
        out = func(*args, **(kwargs or {}))
        for one in tensors_in(out) if known else []:
            if self.memory.place(one) is None:
                self.memory.put(one, max(known, key=str))  # "cuda" comes after "cpu"
        return out


class Devices(TorchFunctionMode):
    """Takes `cuda` where a device is given, and answers with it."""

    def __init__(self, memory: Memory):
        super().__init__()
        self.memory = memory

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs, name = dict(kwargs or {}), getattr(func, "__name__", "")
        if args and isinstance(args[0], Tensor):
            place = self.memory.place(args[0])
            if func == Tensor.device.__get__:
                return place or CPU
            if func == Tensor.is_cuda.__get__:
                return place not in (CPU, None)
            if name in ("numpy", "__array__") and place not in (CPU, None):
                raise TypeError(f"can't convert {place} device type tensor to numpy")
            if name in ("to", "cuda", "cpu", "as_tensor"):
                return self.moved(name, *args, **kwargs)
        if self.memory.is_capturing and name in ("tensor", "as_tensor", "from_numpy", "new_tensor"):
            raise RuntimeError(f"not permitted when stream is capturing: {name}")
        device, generator = kwargs.get("device"), kwargs.get("generator")
        places = [self.memory.place(one) for one in tensors_in((args, kwargs))]
        place = next((one for one in places if one is not None), CPU)
        if device is not None:
            place, kwargs["device"] = self.memory.named(device), CPU
        if generator is not None and generator.of != place.type:
            raise RuntimeError(f"Expected a {place.type!r} generator, found {generator.of!r}")
        out = func(*args, **kwargs)
        for one in tensors_in(out):
            if device is not None or (one.dim() and self.memory.place(one) is None):
                self.memory.put(one, place)
        return out

    def moved(self, name: str, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """A tensor moved to a device, or in another type or order."""
        kept = {n: v for n, v in kwargs.items() if n in ("dtype", "memory_format") and v}
        here = self.memory.place(x) or CPU
        target = self.memory.named(name) if name in ("cuda", "cpu") else here
        for value in (*args, kwargs.get("device")):
            if isinstance(value, torch.dtype):
                kept["dtype"] = value
            elif isinstance(value, Tensor):
                kept["dtype"], target = value.dtype, self.memory.place(value) or CPU
            elif isinstance(value, str | torch.device):
                target = self.memory.named(value)
        if target != here and self.memory.is_capturing:
            raise RuntimeError("not permitted when stream is capturing: to")
        out = Tensor.to(x, **kept, copy=kwargs.get("copy", False) or target != here)
        return x if out is x else self.memory.put(out, target)


class AnyGenerator(torch.Generator):
    """A generator, of `cuda` too.

    Attributes:
        of: the device on which it may draw.
    """

    of: str

    def __new__(cls, device: Any = "cpu"):
        made = super().__new__(cls)
        made.of = torch.device(device).type
        return made


class Graph:
    """What a CUDA graph is: operations that are repeated on the same memory."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, Any, Any, Any]] = []

    @torch.no_grad()
    def replay(self) -> None:
        with torch._C.DisableTorchFunction(), _disable_current_modes():
            for func, args, kwargs, out in self.calls:
                again = func(*args, **kwargs)
                for old, new in zip(tensors_in(out), tensors_in(again), strict=True):
                    if old.untyped_storage().data_ptr() != new.untyped_storage().data_ptr():
                        old.copy_(new)


class Capture(TorchDispatchMode):
    """Records all operations into a graph; refuses those that a GPU cannot capture."""

    def __init__(self, graph: Graph):
        super().__init__()
        self.graph = graph

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name, kwargs = func.overloadpacket.__name__, kwargs or {}
        assert name not in READS, name
        if name.startswith("index"):
            indices = [i for i in args[1] if i is not None] if isinstance(args[1], list) else []
            assert not any(i.dtype == torch.bool for i in indices), name
        out = func(*args, **kwargs)
        self.graph.calls.append((func, args, kwargs, out))
        return out


def answers(memory: Memory) -> dict[str, Callable[..., Any]]:
    """Functions of `torch.cuda`, as on a machine with GPUs."""
    return {
        "is_available": lambda: True,
        "current_device": lambda: memory.current,
        "set_device": lambda device: setattr(memory, "current", torch.device(device).index),
        "get_device_name": lambda: "pretended GPU",
        "synchronize": lambda: None,
        "empty_cache": memory.empty_cache,
        "memory_allocated": memory.used,
        "max_memory_allocated": lambda: memory.peak,
        "reset_peak_memory_stats": memory.reset_peak,
        "mem_get_info": lambda: (memory.free(), memory.total),
        "Stream": lambda device: mock.Mock(),
        "current_stream": mock.Mock,
        "stream": lambda stream: memory.warming_up(),
        "CUDAGraph": Graph,
        "graph": memory.capturing,
    }


def undo_preparation(fills_memory: bool) -> None:
    """Undo what `prepare_worker` and fleets did to this process."""
    torch.use_deterministic_algorithms(False)
    torch.utils.deterministic.fill_uninitialized_memory = fills_memory
    warm_up_stream.cache_clear()


@contextmanager
def pretended_gpu(total: int = 10**10) -> Iterator[Memory]:
    """A machine with GPUs.

    Args:
        total: bytes of memory of each.
    """
    memory = Memory(total)
    with ExitStack() as stack:
        for name, value in answers(memory).items():
            stack.enter_context(mock.patch.object(torch.cuda, name, value))
        stack.enter_context(mock.patch.object(torch, "Generator", AnyGenerator))
        stack.enter_context(mock.patch.dict(os.environ))
        stack.callback(undo_preparation, torch.utils.deterministic.fill_uninitialized_memory)
        stack.enter_context(Operations(memory))
        stack.enter_context(Devices(memory))
        yield memory
