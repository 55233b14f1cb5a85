"""CUDA through `pycuda`, in the primary context of the device, pushed for every call; without graphs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from pycuda import driver

from engines.backends.tensorrt.cuda import Cuda, DeviceFacts, Pinned, Stream
from engines.errors import BackendUnavailable, CudaError


def open(index: int) -> Cuda:
    """Open the GPU with this number. Raises BackendUnavailable where there is no driver or no such device."""
    try:
        driver.init()
        count = driver.Device.count()
    except driver.Error as error:
        raise BackendUnavailable(
            f"no NVIDIA driver that pycuda can use is on this machine ({error}); install one (nvidia-smi shows it), or "
            "let the backend be openvino"
        ) from error
    if index >= count:
        raise BackendUnavailable(
            f"there is no GPU {index}: CUDA shows {count} (CUDA_VISIBLE_DEVICES hides the others); name one of these, "
            "or let the backend be openvino"
        )
    device = driver.Device(index)
    with _translated():
        return _Driver(device, device.retain_primary_context())


class _Driver:
    """See `engines.backends.tensorrt.cuda.Cuda`."""

    name = "pycuda"
    graphs = False

    def __init__(self, device: Any, context: Any) -> None:
        self._device = device
        self._context = context
        self._allocated: dict[int, Any] = {}

    def facts(self) -> DeviceFacts:
        with _translated():
            major, minor = self._device.compute_capability()
            number = driver.get_driver_version()
            return DeviceFacts(
                name=self._device.name(),
                capability=f"{major}.{minor}",
                memory_bytes=int(self._device.total_memory()),
                driver=f"{number // 1000}.{number % 1000 // 10}",
                bus=self._device.pci_bus_id(),
            )

    @contextmanager
    def entered(self) -> Iterator[None]:
        with _translated():
            self._context.push()
        try:
            yield
        finally:
            driver.Context.pop()

    def allocate(self, size: int) -> int:
        with _translated():
            memory = driver.mem_alloc(size)
        self._allocated[int(memory)] = memory
        return int(memory)

    def release(self, address: int) -> None:
        with _translated():
            self._allocated.pop(address).free()

    def pin(self, size: int) -> Pinned:
        with _translated():
            array = driver.pagelocked_empty(size, np.uint8)
        return Pinned(array, array.base)

    def unpin(self, memory: Pinned) -> None:
        with _translated():
            memory.handle.free()

    def stream(self) -> Stream:
        with _translated():
            made = driver.Stream()
            flags = driver.event_flags.BLOCKING_SYNC | driver.event_flags.DISABLE_TIMING
            return Stream(int(made.handle), made, driver.Event(flags))

    def end(self, stream: Stream) -> None:
        pass  # both are destroyed with their last reference

    def copy_in(self, address: int, memory: Pinned, size: int, stream: Stream) -> None:
        with _translated():
            driver.memcpy_htod_async(address, memory.array[:size], stream.own)

    def copy_out(self, memory: Pinned, address: int, size: int, stream: Stream) -> None:
        with _translated():
            driver.memcpy_dtoh_async(memory.array[:size], address, stream.own)

    def capture(self, stream: Stream, work: Callable[[], None]) -> Any:
        raise CudaError("pycuda has no graphs; install cuda-bindings")

    def launch(self, graph: Any, stream: Stream) -> None:
        raise CudaError("pycuda has no graphs; install cuda-bindings")

    def discard(self, graph: Any) -> None:
        raise CudaError("pycuda has no graphs; install cuda-bindings")

    def wait(self, stream: Stream) -> None:
        with _translated():
            stream.event.record(stream.own)
            stream.event.synchronize()

    def close(self) -> None:
        with _translated():
            self._context.detach()


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except driver.Error as error:
        raise CudaError(f"CUDA failed: {error}; see nvidia-smi and the kernel's log for Xid messages") from error
