"""A FAKE TensorRT and a FAKE CUDA device, which compute with ONNX Runtime on the CPU.

They test the order of our calls and who frees what, and nothing of TensorRT or CUDA. Work is queued and runs when
somebody waits for its stream, so an answer that is read too early, or a buffer that is filled too early, shows.
Addresses are numbers that mean nothing outside; memory that is used after it was freed, or that is too small, is an
AssertionError.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime

from engines.backends.tensorrt.cuda import DeviceFacts, Pinned, Stream
from engines.errors import CudaError

KINDS = {"tensor(uint8)": np.uint8, "tensor(float)": np.float32, "tensor(int64)": np.int64}
ALIGNMENT = 256

Work = Callable[[], None]


@dataclass
class FakeCuda:
    """A device of the seam, with a ledger of everything that is alive."""

    graphs: bool = True
    name: str = "fake"
    fail_at: int | None = None
    """The number of the call that fails, counted from 0."""
    memory: dict[int, np.ndarray[Any, Any]] = field(default_factory=dict)
    pinned: dict[int, Pinned] = field(default_factory=dict)
    streams: dict[int, list[Work]] = field(default_factory=dict)
    alive_graphs: set[int] = field(default_factory=set)
    inside: int = 0
    calls: int = 0
    launches: int = 0
    closed: int = 0
    _next: int = 1
    _recording: list[Work] | None = None

    @property
    def alive(self) -> list[str]:
        """What nobody has freed."""
        return [
            *(f"{len(part)} bytes at {address:#x}" for address, part in self.memory.items()),
            *(f"pinned {key}" for key in self.pinned),
            *(f"stream {key}" for key in self.streams),
            *(f"graph {key}" for key in self.alive_graphs),
        ]

    def facts(self) -> DeviceFacts:
        """Another name than any GPU has."""
        return DeviceFacts("Fake GPU", "0.0", 2**30, "0.0", "0000:00:00.0")

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Every call is made inside."""
        self.inside += 1
        yield
        self.inside -= 1

    def allocate(self, size: int) -> int:
        """Give memory full of garbage."""
        self._call()
        assert size > 0
        address = self._number() * ALIGNMENT
        self._next += size // ALIGNMENT + 1
        self.memory[address] = np.full(size, 0xA5, np.uint8)
        return address

    def release(self, address: int) -> None:
        """Take it back; a second time is an error, and so is work that still wants it."""
        self._call(may_fail=False)
        assert not any(self.streams.values()), "memory was freed while work was queued"
        del self.memory[address]

    def pin(self, size: int) -> Pinned:
        """Give host memory full of garbage."""
        self._call()
        number = self._number()
        self.pinned[number] = Pinned(np.full(size, 0x5A, np.uint8), number)
        return self.pinned[number]

    def unpin(self, memory: Pinned) -> None:
        """Take it back."""
        self._call(may_fail=False)
        del self.pinned[memory.handle]

    def stream(self) -> Stream:
        """Make a queue."""
        self._call()
        number = self._number()
        self.streams[number] = []
        return Stream(number, number, None)

    def end(self, stream: Stream) -> None:
        """Remove it."""
        self._call(may_fail=False)
        del self.streams[stream.handle]

    def copy_in(self, address: int, memory: Pinned, size: int, stream: Stream) -> None:
        """Queue a copy; what is in the pinned memory when it runs is what arrives."""
        self._call()
        assert memory.handle in self.pinned

        def copy() -> None:
            self.at(address, size)[:] = memory.array[:size]

        self.queue(stream.handle, copy)

    def copy_out(self, memory: Pinned, address: int, size: int, stream: Stream) -> None:
        """Queue a copy the other way."""
        self._call()
        assert memory.handle in self.pinned

        def copy() -> None:
            memory.array[:size] = self.at(address, size)

        self.queue(stream.handle, copy)

    def capture(self, stream: Stream, work: Work) -> Any:
        """Record what is queued, without running it."""
        self._call()
        assert self.graphs and self._recording is None
        self._recording = []
        try:
            work()
            graph = (self._number(), self._recording)
        finally:
            self._recording = None
        self.alive_graphs.add(graph[0])
        return graph

    def launch(self, graph: Any, stream: Stream) -> None:
        """Queue what was recorded."""
        self._call()
        assert graph[0] in self.alive_graphs
        self.launches += 1
        self.streams[stream.handle].extend(graph[1])

    def discard(self, graph: Any) -> None:
        """Forget a graph."""
        self._call(may_fail=False)
        self.alive_graphs.remove(graph[0])

    def wait(self, stream: Stream) -> None:
        """Run what is queued."""
        queue = self.streams[stream.handle]
        while queue:
            queue.pop(0)()
        self._call()

    def close(self) -> None:
        """Count."""
        self.closed += 1

    def at(self, address: int, size: int) -> np.ndarray[Any, Any]:
        """The bytes that an address stands for; what is not allocated, or not as large, is an error."""
        return self.memory[address][:size] if len(self.memory[address]) >= size else self.memory[-1]

    def queue(self, stream: int, work: Work) -> None:
        """Put work on a stream, or into the graph that is recorded."""
        (self.streams[stream] if self._recording is None else self._recording).append(work)

    def _call(self, *, may_fail: bool = True) -> None:
        assert self.inside, "a call outside of `entered`"
        self.calls += 1
        if may_fail and self.fail_at == self.calls - 1:
            raise CudaError("the fake was told to fail")

    def _number(self) -> int:
        self._next += 1
        return self._next


def fake_tensorrt(cuda: FakeCuda, *, refuses: Callable[[bytes], bool] = lambda plan: False) -> Any:
    """A module like `tensorrt`, as far as we call it. A plan is the batch size and the ONNX file.

    refuses: says of a plan that the runtime does not take it.
    """

    class Runtime:
        def __init__(self, logger: Any) -> None:
            self.logger = logger

        def deserialize_cuda_engine(self, plan: bytes) -> Any:
            return None if refuses(plan) else _Engine(cuda, plan)

    flags = SimpleNamespace(TF32=1, DISTRIBUTIVE_INDEPENDENCE=2)
    return SimpleNamespace(
        __name__="fake_tensorrt",
        __version__="0",
        Runtime=Runtime,
        Builder=_Builder,
        OnnxParser=_Parser,
        ILogger=type("ILogger", (), {"ERROR": 1, "INTERNAL_ERROR": 0}),
        IProgressMonitor=type("IProgressMonitor", (), {}),
        BuilderFlag=flags,
        MemoryPoolType=SimpleNamespace(WORKSPACE=0),
        ExecutionContextAllocationStrategy=SimpleNamespace(USER_MANAGED="user"),
        nptype=lambda kind: kind,
    )


def _session(onnx_file: bytes) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(onnx_file, options, providers=["CPUExecutionProvider"])


class _Network:
    """What a parser has read."""

    onnx_file = b""
    source: Any = None

    @property
    def num_inputs(self) -> int:
        return 1

    def get_input(self, index: int) -> Any:
        return self.source


class _Parser:
    def __init__(self, network: _Network, logger: Any) -> None:
        self.network = network
        self.reason = ""

    @property
    def num_errors(self) -> int:
        return 1

    def parse(self, onnx_file: bytes) -> bool:
        try:
            (source,) = _session(onnx_file).get_inputs()
        except Exception as error:  # its errors share no base but Exception
            self.reason = str(error)
            return False
        self.network.onnx_file, self.network.source = onnx_file, source
        return True

    def get_error(self, index: int) -> Any:
        return SimpleNamespace(
            node=lambda: -1, node_name=lambda: "", node_operator=lambda: "", desc=lambda: self.reason
        )


class _Builder:
    def __init__(self, logger: Any) -> None:
        self.profiles: list[int] = []

    def create_network(self) -> _Network:
        return _Network()

    def create_optimization_profile(self) -> Any:
        return SimpleNamespace(set_shape=lambda name, *shapes: self.profiles.append(shapes[0][0]))

    def create_builder_config(self) -> Any:
        nothing = lambda *_: None  # noqa: E731
        names = ("set_memory_pool_limit", "set_flag", "clear_flag", "add_optimization_profile")
        caches = dict.fromkeys(("create_timing_cache", "set_timing_cache", "get_timing_cache"), nothing)
        return SimpleNamespace(**dict.fromkeys(names, nothing), **caches)

    def build_serialized_network(self, network: _Network, config: Any) -> bytes:
        (rows,) = self.profiles
        return rows.to_bytes(4, "little") + network.onnx_file


class _Engine:
    """A plan of one batch size."""

    device_memory_size_v2 = 1000

    def __init__(self, cuda: FakeCuda, plan: bytes) -> None:
        self.cuda = cuda
        self.rows = int.from_bytes(plan[:4], "little")
        self.session = _session(plan[4:])
        self.tensors = {one.name: one for one in (*self.session.get_inputs(), *self.session.get_outputs())}

    @property
    def num_io_tensors(self) -> int:
        return len(self.tensors)

    def get_tensor_name(self, index: int) -> str:
        return list(self.tensors)[index]

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return (-1, *self.tensors[name].shape[1:])

    def get_tensor_dtype(self, name: str) -> Any:
        return KINDS[self.tensors[name].type]

    def create_execution_context(self, strategy: str) -> _Context:
        assert strategy == "user"
        return _Context(self)


class _Context:
    """Runs when its stream is waited for, with what then lies at the addresses."""

    def __init__(self, engine: _Engine) -> None:
        self.engine = engine
        self.addresses: dict[str, int] = {}
        self.shape: tuple[int, ...] = ()
        self.scratch = 0

    def set_device_memory(self, address: int, size: int) -> None:
        assert size >= self.engine.device_memory_size_v2
        self.engine.cuda.at(address, size)
        self.scratch = address

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self.shape = shape
        return shape[0] == self.engine.rows

    def set_tensor_address(self, name: str, address: int) -> bool:
        self.addresses[name] = address
        return name in self.engine.tensors and address % ALIGNMENT == 0

    def execute_async_v3(self, stream: int) -> bool:
        assert self.scratch and self.shape and set(self.addresses) == set(self.engine.tensors), (
            "not everything is bound"
        )
        self.engine.cuda.queue(stream, self._run)
        return True

    def _run(self) -> None:
        cuda, session = self.engine.cuda, self.engine.session
        cuda.at(self.scratch, 1)
        (source,) = session.get_inputs()
        kind = np.dtype(KINDS[source.type])
        size = int(np.prod(self.shape)) * kind.itemsize
        rows = cuda.at(self.addresses[source.name], size).view(kind).reshape(self.shape)
        names = [one.name for one in session.get_outputs()]
        for name, answer in zip(names, session.run(names, {source.name: rows}), strict=True):
            content = np.ascontiguousarray(answer).reshape(-1).view(np.uint8)
            cuda.at(self.addresses[name], len(content))[:] = content
