"""What all CPU backends share: an engine over networks that run in tiles.

Every tile is a batch of fixed size on one thread, and the sizes in use give a row the same bits
(`engines.backends.tiles`): an answer depends neither on its batch mates nor on the number of threads. Single-threaded
tiles side by side are at least as fast as one batch on all threads.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from engines.backends.cpu_quota import usable_cpus
from engines.backends.rows import joined
from engines.bundle.files import Bundle
from engines.bundle.manifest import Manifest
from engines.contract import Embeddings, EngineInfo, Images, Items, Memory, Sequences

Precision = Literal["fp32", "fp16", "bf16", "int8"]

Signature = tuple[tuple[str, ...], tuple[str, ...]]
"""Names of the inputs and of the outputs of a network."""

_SIGNATURES: Mapping[str, Signature] = {
    "image.onnx": (("images",), ("embeddings",)),
    "head.onnx": (("windows",), ("head", "pooled")),
    "clip.onnx": (("windows",), ("head", "pooled")),
    "text.onnx": (("tokens",), ("embedding",)),
    "words.onnx": (("tokens",), ("words",)),
}


def signature(manifest: Manifest, name: str) -> Signature:
    """Return what a network of a bundle takes and gives: the image network of one with memory takes that as well."""
    sources, targets = _SIGNATURES[name]
    if manifest.memory is None or name != "image.onnx":
        return sources, targets
    buffers = tuple(map(memory_input, range(len(manifest.memory.shapes))))
    return (*sources, *buffers), (*targets, *(f"{buffer}_after" for buffer in buffers))


def memory_input(index: int) -> str:
    """Return the name of an image network's input for one buffer; the output is called that and `_after`."""
    return f"memory_{index}"


AVERAGING = "meanp"
"""The head that averages the items of a window (`trainer.models.heads`)."""


class Network(Protocol):
    """One loaded network. Used by one thread at a time."""

    @property
    def sizes(self) -> tuple[int, ...]:
        """The batch sizes that it runs, descending; any number of rows is cut into these, or padded to one."""
        ...

    def run(self, rows: npt.NDArray[Any]) -> tuple[npt.NDArray[np.float32], ...]:
        """Return each output, float32 [n, ...], for rows [n, ...], n >= 1. A row never depends on other rows.

        A row of several inputs is a record (`engines.backends.rows`).
        """
        ...

    def close(self) -> None:
        """Release the runtime's resources."""
        ...


@dataclass(frozen=True, slots=True)
class NetworkEngine:
    """An engine made of an image network and a head, or of one clip network; then `image` is None."""

    info: EngineInfo
    image: Network | None
    head: Network

    def encode(self, images: Images, memory: Memory | None = None) -> tuple[Items, Memory | None]:
        """See `engines.contract.Engine.encode`. The items of a clip bundle are the images themselves."""
        _check("images", images, (self.info.height, self.info.width, 3), np.uint8)
        shapes = self.info.memory
        if memory and len(memory) != len(shapes):
            has = f"has {len(shapes)} buffers of memory" if shapes else "has no memory"
            raise ValueError(
                f"bundle {self.info.name} {has}, but {len(memory)} buffers were given; pass what the engine "
                "returned, or None"
            )
        if self.image is None:
            return images, None
        if not shapes:
            return self.image.run(images)[0], None
        buffers = memory or tuple(np.zeros((len(images), *shape), np.float32) for shape in shapes)
        for index, (buffer, shape) in enumerate(zip(buffers, shapes, strict=True)):
            _check(memory_input(index), buffer, shape, np.float32, len(images))
        given = {memory_input(index): buffer for index, buffer in enumerate(buffers)}
        items, *after = self.image.run(joined({"images": images, **given}))
        return items, tuple(after)

    def embed(self, windows: Items) -> tuple[Embeddings, Embeddings]:
        """See `engines.contract.Engine.embed`."""
        info = self.info
        item, kind = ((info.dimensions,), np.float32) if self.image else ((info.height, info.width, 3), np.uint8)
        _check("windows", windows, (info.frames, *item), kind)
        head, pooled = self.head.run(windows)
        return normalise(head), normalise(pooled)

    def embed_sequences(self, windows: Items) -> tuple[Embeddings, Embeddings, Sequences]:
        """See `engines.contract.Engine.embed_sequences`."""
        head, pooled = self.embed(windows)
        return head, pooled, normalise(windows) if self.info.compared == "items" else head[:, None]

    def prototypes(self, windows: Items, text: Embeddings) -> Sequences:
        """See `engines.contract.Engine.prototypes`; every example stands for itself."""
        _check("text", text, (self.info.dimensions,), np.float32)
        return self.embed_sequences(windows)[2]

    def close(self) -> None:
        """See `engines.contract.Engine.close`."""
        for network in filter(None, (self.image, self.head)):
            network.close()


def engine_info(bundle: Bundle, *, precision: Precision, backend: str, device: str) -> EngineInfo:
    """Return the description of an engine that runs `bundle` in proven tiles."""
    manifest = bundle.manifest
    return EngineInfo(
        bundle=manifest.id,
        name=manifest.name,
        version=manifest.version,
        kind=manifest.kind,
        dimensions=manifest.space.dimensions,
        frames=manifest.window.frames,
        height=manifest.input.height,
        width=manifest.input.width,
        precision=precision,
        backend=backend,
        device=device,
        space=manifest.space.id,
        history=manifest.history,
        # Proven at load on CPUs; other devices have not been measured.
        batch_invariant=device == "CPU",
        memory=manifest.memory.shapes if manifest.memory else (),
        compared="items" if manifest.kind == "frame" and manifest.head.architecture == AVERAGING else "head",
    )


def normalise(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return the vectors [..., D] at L2 length 1, float32; a zero vector stays zero."""
    lengths = np.sqrt(np.sum(vectors * vectors, axis=-1, keepdims=True, dtype=np.float32))
    return np.asarray(vectors / np.maximum(lengths, np.float32(1e-12)), np.float32)


def thread_count(threads: int | None) -> int:
    """Return the number of threads to use: `threads`, at least 1; by default the CPUs that this process may use."""
    return usable_cpus() if threads is None else max(1, threads)


def _check(
    what: str, array: npt.NDArray[Any], row: tuple[int, ...], kind: type[np.generic], count: int | None = None
) -> None:
    """Raise ValueError for anything but [count, *row] of this kind; without a count, at least one row."""
    counted = len(array) == count if count is not None else bool(len(array))
    if array.dtype != kind or array.ndim != len(row) + 1 or array.shape[1:] != row or not counted:
        wanted = ", ".join(str(size) for size in ("n >= 1" if count is None else count, *row))
        raise ValueError(f"{what} must be {kind.__name__} [{wanted}], got {array.dtype} {list(array.shape)}")
