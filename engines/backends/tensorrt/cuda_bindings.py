"""CUDA through `cuda-bindings`, NVIDIA's own: the runtime API, whose context is the primary one."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from cuda.bindings import runtime

from engines.backends.tensorrt.cuda import Cuda, DeviceFacts, Pinned, Stream
from engines.errors import BackendUnavailable, CudaError

_NO_DRIVER = ("cudaErrorInsufficientDriver", "cudaErrorSystemDriverMismatch", "cudaErrorInitializationError")


def open(index: int) -> Cuda:
    """Open the GPU with this number. Raises BackendUnavailable where there is no driver or no such device."""
    error, count = runtime.cudaGetDeviceCount()
    if error.name in _NO_DRIVER or (error.name == "cudaSuccess" and not runtime.cudaDriverGetVersion()[1]):
        raise BackendUnavailable(
            f"no NVIDIA driver that CUDA {_version(runtime.cudaRuntimeGetVersion()[1])} can use is on this machine "
            f"({_text(error)}); install one (nvidia-smi shows it), or let the backend be openvino"
        )
    if error.name not in ("cudaSuccess", "cudaErrorNoDevice"):
        raise BackendUnavailable(
            f"CUDA does not start ({_text(error)}); see nvidia-smi, or let the backend be openvino"
        )
    if index >= (count or 0):
        raise BackendUnavailable(
            f"there is no GPU {index}: CUDA shows {count or 0} (CUDA_VISIBLE_DEVICES hides the others); name one of "
            "these, or let the backend be openvino"
        )
    return _Runtime(index)


class _Runtime:
    """See `engines.backends.tensorrt.cuda.Cuda`."""

    name = "cuda-bindings"
    graphs = True

    def __init__(self, index: int) -> None:
        self._index = index

    def facts(self) -> DeviceFacts:
        found = _done(runtime.cudaGetDeviceProperties(self._index))
        driver = _done(runtime.cudaDriverGetVersion())
        bus = _done(runtime.cudaDeviceGetPCIBusId(16, self._index))
        return DeviceFacts(
            name=found.name.decode(),
            capability=f"{found.major}.{found.minor}",
            memory_bytes=int(found.totalGlobalMem),
            driver=_version(driver),
            bus=bus.rstrip(b"\0").decode(),
        )

    @contextmanager
    def entered(self) -> Iterator[None]:
        _done(runtime.cudaSetDevice(self._index))
        yield

    def allocate(self, size: int) -> int:
        return int(_done(runtime.cudaMalloc(size)))

    def release(self, address: int) -> None:
        _done(runtime.cudaFree(address))

    def pin(self, size: int) -> Pinned:
        address = int(_done(runtime.cudaHostAlloc(size, runtime.cudaHostAllocDefault)))
        return Pinned(np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(address)), address)

    def unpin(self, memory: Pinned) -> None:
        _done(runtime.cudaFreeHost(memory.handle))

    def stream(self) -> Stream:
        made = _done(runtime.cudaStreamCreateWithFlags(runtime.cudaStreamNonBlocking))
        try:
            flags = runtime.cudaEventBlockingSync | runtime.cudaEventDisableTiming
            event = _done(runtime.cudaEventCreateWithFlags(flags))
        except CudaError:
            runtime.cudaStreamDestroy(made)
            raise
        return Stream(int(made), made, event)

    def end(self, stream: Stream) -> None:
        _done(runtime.cudaEventDestroy(stream.event))
        _done(runtime.cudaStreamDestroy(stream.own))

    def copy_in(self, address: int, memory: Pinned, size: int, stream: Stream) -> None:
        kind = runtime.cudaMemcpyKind.cudaMemcpyHostToDevice
        _done(runtime.cudaMemcpyAsync(address, memory.handle, size, kind, stream.own))

    def copy_out(self, memory: Pinned, address: int, size: int, stream: Stream) -> None:
        kind = runtime.cudaMemcpyKind.cudaMemcpyDeviceToHost
        _done(runtime.cudaMemcpyAsync(memory.handle, address, size, kind, stream.own))

    def capture(self, stream: Stream, work: Callable[[], None]) -> Any:
        # Thread-local: what other threads of the process do meanwhile neither joins the graph nor spoils it.
        mode = runtime.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        _done(runtime.cudaStreamBeginCapture(stream.own, mode))
        try:
            work()
        except BaseException:
            runtime.cudaStreamEndCapture(stream.own)
            raise
        graph = _done(runtime.cudaStreamEndCapture(stream.own))
        try:
            return _done(runtime.cudaGraphInstantiate(graph, 0))
        finally:
            runtime.cudaGraphDestroy(graph)

    def launch(self, graph: Any, stream: Stream) -> None:
        _done(runtime.cudaGraphLaunch(graph, stream.own))

    def discard(self, graph: Any) -> None:
        _done(runtime.cudaGraphExecDestroy(graph))

    def wait(self, stream: Stream) -> None:
        _done(runtime.cudaEventRecord(stream.event, stream.own))
        _done(runtime.cudaEventSynchronize(stream.event))

    def close(self) -> None:
        pass  # the primary context belongs to the process


def _done(answer: tuple[Any, ...]) -> Any:
    """Return the value of a call. Raises CudaError where it failed."""
    error, *values = answer
    if error.name != "cudaSuccess":
        raise CudaError(f"CUDA failed: {_text(error)}; see nvidia-smi and the kernel's log for Xid messages")
    return values[0] if values else None


def _text(error: Any) -> str:
    return f"{runtime.cudaGetErrorString(error)[1].decode()}, error {int(error)}"


def _version(number: int) -> str:
    return f"{number // 1000}.{number % 1000 // 10}"
