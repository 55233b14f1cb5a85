"""One network on a GPU: a plan per batch size, two batches in flight, everything bound once.

    pinned input --copy--> device input --execute--> device outputs --copy--> pinned outputs

A slot is a stream with its buffers; the plans of all sizes share them, because a slot works on one batch at a time.
Where CUDA has graphs, the way above is captured once per slot and size, and one launch runs it.

    slot 0   |copy in|execute|copy out|            |copy in|...
    slot 1            |copy in|execute|copy out|
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from engines.backends.tensorrt.cuda import Cuda, Pinned, Stream
from engines.backends.tiles import Answers, Rows, Tile, fill
from engines.errors import CudaError

SLOTS = 2
_WARM_RUNS = 2
"""Runs before a capture: what a library allocates at its first runs cannot be captured."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """An input or output: its bytes in pinned memory and on the device, large enough for every size."""

    name: str
    kind: np.dtype[Any]
    row: tuple[int, ...]
    """Shape of one row."""
    pinned: Pinned
    address: int

    def size(self, rows: int) -> int:
        """Return the bytes of so many rows."""
        return rows * int(np.prod(self.row)) * self.kind.itemsize

    def view(self, rows: int) -> Rows:
        """Return so many rows of the pinned memory, as an array."""
        return self.pinned.array[: self.size(rows)].view(self.kind).reshape(rows, *self.row)


@dataclass(slots=True)
class _Ready:
    """One size on one slot."""

    context: Any
    work: Callable[[], None]
    graph: Any = None


@dataclass(slots=True)
class _Slot:
    stream: Stream
    source: Tensor
    targets: tuple[Tensor, ...]
    ready: dict[int, _Ready]


def cut(count: int, sizes: Sequence[int]) -> tuple[Tile, ...]:
    """Cut `count` rows into batches: full ones of the largest size, then the smallest size that holds the rest, padded.

    sizes 64 16 4 1    11 rows -> [11 of 16]     70 rows -> [64][6 of 16]     5 rows -> [5 of 16]
    """
    tiles, start = [], 0
    while (left := count - start) > 0:
        size = min((size for size in sizes if size >= left), default=max(sizes))
        tiles.append(Tile(start, min(size, left), size))
        start += size
    return tuple(tiles)


class Runner:
    """A network of `engines.backends.network`. It owns all that it allocates, and frees it in `close`."""

    def __init__(self, trt: Any, cuda: Cuda, plans: Mapping[int, Any], source: str, targets: Sequence[str]) -> None:
        """Bind plans to buffers, and capture graphs.

        plans: deserialised, by batch size. Raises CudaError, and then nothing stays allocated.
        """
        self._trt, self._cuda, self._plans = trt, cuda, dict(plans)
        self._names = (source, *targets)
        self._sizes = tuple(sorted(plans, reverse=True))
        self._slots: list[_Slot] = []
        self._owned = ExitStack()
        with cuda.entered(), ExitStack() as unless_built:
            unless_built.callback(self._owned.close)
            for _ in range(SLOTS):
                self._slots.append(self._slot())
            unless_built.pop_all()

    @property
    def sizes(self) -> tuple[int, ...]:
        """See `engines.backends.network.Network.sizes`."""
        return self._sizes

    def run(self, rows: npt.NDArray[Any]) -> tuple[npt.NDArray[np.float32], ...]:
        """See `engines.backends.network.Network.run`. Raises CudaError."""
        tiles = cut(len(rows), self._sizes)
        answers: list[Answers] = []
        with self._cuda.entered(), self._settled():
            for index in range(len(tiles) + SLOTS):
                if (done := index - SLOTS) >= 0 and done < len(tiles):
                    answers.append(self._finish(self._slots[done % SLOTS], tiles[done]))
                if index < len(tiles):
                    self._start(self._slots[index % SLOTS], rows, tiles[index])
        return tuple(np.concatenate(parts) for parts in zip(*answers, strict=True))

    def answer_at(self, size: int) -> Callable[[Rows], Answers]:
        """Return the network at one size, for `engines.backends.tiles.agreeing`."""

        def answer(rows: Rows) -> Answers:
            tile = Tile(0, len(rows), size)
            with self._cuda.entered(), self._settled():
                self._start(self._slots[0], rows, tile)
                return self._finish(self._slots[0], tile)

        return answer

    def keep(self, sizes: Sequence[int]) -> None:
        """Drop the plans of all other sizes."""
        with self._cuda.entered():
            for size in set(self._sizes) - set(sizes):
                for slot in self._slots:
                    self._drop(slot, size)
                del self._plans[size]
        self._sizes = tuple(sorted(sizes, reverse=True))

    def close(self) -> None:
        """Free everything; a second call does nothing."""
        with self._cuda.entered():
            self._owned.close()
        self._plans.clear()

    @contextmanager
    def _settled(self) -> Iterator[None]:
        """After an error wait for what is still queued: it reads and writes buffers that the next batch fills."""
        try:
            yield
        except BaseException:
            for slot in self._slots:
                with suppress(CudaError):
                    self._cuda.wait(slot.stream)
            raise

    def _start(self, slot: _Slot, rows: Rows, tile: Tile) -> None:
        fill(slot.source.view(tile.size), rows, tile)
        ready = slot.ready[tile.size]
        if ready.graph is None:
            ready.work()
        else:
            self._cuda.launch(ready.graph, slot.stream)

    def _finish(self, slot: _Slot, tile: Tile) -> Answers:
        self._cuda.wait(slot.stream)
        return tuple(np.array(target.view(tile.count), np.float32) for target in slot.targets)

    def _slot(self) -> _Slot:
        """Allocate a stream and its buffers, and make every size ready on them."""
        cuda = self._cuda
        stream = cuda.stream()
        self._owned.callback(cuda.end, stream)
        scratch_bytes = max(int(plan.device_memory_size_v2) for plan in self._plans.values())
        scratch = self._allocate(scratch_bytes) if scratch_bytes else 0
        source, *targets = (self._tensor(name) for name in self._names)
        slot = _Slot(stream, source, tuple(targets), {})
        self._owned.callback(self._end, slot)
        for size in self._sizes:
            slot.ready[size] = self._ready(slot, size, scratch, scratch_bytes)
        return slot

    def _tensor(self, name: str) -> Tensor:
        """Allocate an input or output for the largest size."""
        plan, largest = self._plans[self._sizes[0]], self._sizes[0]
        row = tuple(int(size) for size in tuple(plan.get_tensor_shape(name))[1:])
        kind = np.dtype(self._trt.nptype(plan.get_tensor_dtype(name)))
        size = largest * int(np.prod(row)) * kind.itemsize
        pinned = self._cuda.pin(size)
        self._owned.callback(self._cuda.unpin, pinned)
        return Tensor(name, kind, row, pinned, self._allocate(size))

    def _allocate(self, size: int) -> int:
        address = self._cuda.allocate(size)
        self._owned.callback(self._cuda.release, address)
        return address

    def _ready(self, slot: _Slot, size: int, scratch: int, scratch_bytes: int) -> _Ready:
        """Make one size ready on a slot: bound to its buffers, run twice, captured where there are graphs."""
        cuda, tensors = self._cuda, (slot.source, *slot.targets)
        strategy = self._trt.ExecutionContextAllocationStrategy.USER_MANAGED
        context = self._plans[size].create_execution_context(strategy)
        if context is None:
            raise CudaError(f"TensorRT makes no context for batches of {size}; the GPU may be out of memory")
        if scratch:
            context.set_device_memory(scratch, scratch_bytes)
        bound = context.set_input_shape(slot.source.name, (size, *slot.source.row))
        if not (bound and all(context.set_tensor_address(tensor.name, tensor.address) for tensor in tensors)):
            raise CudaError(f"TensorRT does not take the buffers for batches of {size}; build the bundle's plans again")

        def work() -> None:
            cuda.copy_in(slot.source.address, slot.source.pinned, slot.source.size(size), slot.stream)
            if not context.execute_async_v3(slot.stream.handle):
                raise CudaError(f"TensorRT does not start a batch of {size}; see the log, or run another backend")
            for target in slot.targets:
                cuda.copy_out(target.pinned, target.address, target.size(size), slot.stream)

        for _ in range(_WARM_RUNS):
            work()
            cuda.wait(slot.stream)
        return _Ready(context, work, cuda.capture(slot.stream, work) if cuda.graphs else None)

    def _end(self, slot: _Slot) -> None:
        """Wait for what is queued, before its buffers are freed, and drop every size."""
        with suppress(CudaError):
            self._cuda.wait(slot.stream)
        for size in list(slot.ready):
            self._drop(slot, size)

    def _drop(self, slot: _Slot, size: int) -> None:
        ready = slot.ready.pop(size)
        if ready.graph is not None:
            self._cuda.discard(ready.graph)
