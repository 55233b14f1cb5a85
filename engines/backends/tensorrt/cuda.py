"""The seam to CUDA: all that the runner asks of a device, and which of two libraries answers.

`cuda-bindings` has wheels, imports without a driver and has graphs. `pycuda` is built from source where a toolkit is;
it has no graphs, so every kernel is started one by one. Both work in the primary context of the device, which TensorRT
and everything else in the process share.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from engines.errors import BackendUnavailable

SEAMS: Mapping[str, str] = {
    "cuda-bindings": "engines.backends.tensorrt.cuda_bindings",
    "pycuda": "engines.backends.tensorrt.cuda_pycuda",
}
"""Name -> module with `open(index) -> Cuda`, in the order of preference."""


@dataclass(frozen=True, slots=True)
class DeviceFacts:
    """What a plan depends on, and where the device is."""

    name: str
    capability: str
    """Compute capability, such as 9.0."""
    memory_bytes: int
    driver: str
    """The newest CUDA that the driver knows, such as 13.0."""
    bus: str
    """PCI address."""

    def __str__(self) -> str:
        return f"{self.name}, compute capability {self.capability}, driver {self.driver}"


@dataclass(frozen=True, slots=True)
class Pinned:
    """Memory of the host that the device copies from and to by itself."""

    array: npt.NDArray[np.uint8]
    """Its bytes."""
    handle: Any
    """What the library frees it by."""


@dataclass(frozen=True, slots=True)
class Stream:
    """A queue of work on the device, with an event to wait for."""

    handle: int
    """As TensorRT takes it."""
    own: Any
    """As the library knows it."""
    event: Any


class Cuda(Protocol):
    """One device. Every call is made inside `entered()`, by one thread at a time; all raise CudaError."""

    name: str
    graphs: bool
    """Whether `capture` and `launch` are there."""

    def facts(self) -> DeviceFacts:
        """Return what the device is."""
        ...

    def entered(self) -> AbstractContextManager[None]:
        """Make the device's primary context current on the calling thread."""
        ...

    def allocate(self, size: int) -> int:
        """Return the address of `size` bytes on the device, aligned to 256."""
        ...

    def release(self, address: int) -> None:
        """Free device memory."""
        ...

    def pin(self, size: int) -> Pinned:
        """Return `size` bytes of pinned memory."""
        ...

    def unpin(self, memory: Pinned) -> None:
        """Free pinned memory."""
        ...

    def stream(self) -> Stream:
        """Return a new stream that does not wait for the default one."""
        ...

    def end(self, stream: Stream) -> None:
        """Destroy a stream and its event."""
        ...

    def copy_in(self, address: int, memory: Pinned, size: int, stream: Stream) -> None:
        """Queue a copy of the first `size` bytes to the device."""
        ...

    def copy_out(self, memory: Pinned, address: int, size: int, stream: Stream) -> None:
        """Queue a copy of `size` bytes from the device."""
        ...

    def capture(self, stream: Stream, work: Callable[[], None]) -> Any:
        """Return the graph of what `work` queues on the stream, which does not run."""
        ...

    def launch(self, graph: Any, stream: Stream) -> None:
        """Queue a whole graph."""
        ...

    def discard(self, graph: Any) -> None:
        """Free a graph."""
        ...

    def wait(self, stream: Stream) -> None:
        """Sleep until everything that was queued is done; no core spins."""
        ...

    def close(self) -> None:
        """Let go of the device."""
        ...


def device_index(device: str) -> int:
    """Return the number of the GPU that a setting names: `auto`, `0`, `cuda:0`. Raises BackendUnavailable."""
    text = "0" if device == "auto" else device.lower().removeprefix("cuda:")
    if not text.isascii() or not text.isdigit():
        raise BackendUnavailable(
            f"TensorRT runs on NVIDIA GPUs, not on {device}; let the device be auto, or the number of a GPU such as 0"
        )
    return int(text)


def open_cuda(index: int) -> Cuda:
    """Open a GPU by its number through the first library that is installed.

    Raises BackendUnavailable that says what is missing, the library, the driver or the device, and the remedy.
    """
    reasons = []
    for name, module in SEAMS.items():
        try:
            seam = importlib.import_module(module)
        except ImportError as error:  # pycuda links against the driver: without one it does not even import
            reasons.append(f"{name} ({error})")
            continue
        opened: Cuda = seam.open(index)
        return opened
    raise BackendUnavailable(
        f"no library that reaches a GPU loads: {'; '.join(reasons)}; pip install 'actionwire[tensorrt]' on a machine "
        "with an NVIDIA driver, or let the backend be openvino"
    )
