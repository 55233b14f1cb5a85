"""The engine contract: what a backend promises to the worker and to replay.

An engine turns pixels into *items* (what a window holds) and windows of items into embeddings. Two kinds share the
contract: a `frame` bundle's items are embeddings, float32 [D]; a `clip` bundle's items are pixels, uint8 [H, W, 3], and
the whole network runs in `embed`. Callers never need to know which kind they hold.

One thread at a time calls it, so an engine need not be thread-safe: in a worker the inference thread, and whoever
encodes examples (`engines.backends.shared`). It may block for the length of one inference and must do no other I/O.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

Images: TypeAlias = npt.NDArray[np.uint8]
"""RGB, [n, H, W, 3]."""

Items: TypeAlias = npt.NDArray[Any]
"""What windows are made of: float32 [n, D] for frame bundles, uint8 [n, H, W, 3] for clip bundles."""

Embeddings: TypeAlias = npt.NDArray[np.float32]
"""L2-normalised, float32 [m, D]."""

Sequences: TypeAlias = npt.NDArray[np.float32]
"""What is compared with examples, in order of time: float32 [m, T', D], each of the T' vectors L2-normalised."""

Memory: TypeAlias = tuple[npt.NDArray[np.float32], ...]
"""Per-camera buffers of a causal model, batched over the cameras of one call: each float32 [n, ...]."""


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """The description of a loaded engine. It names everything that decides a result."""

    bundle: str
    """Bundle id: sha256 of the sealed manifest, or `draft`."""
    name: str
    version: str
    kind: Literal["frame", "clip"]
    dimensions: int
    """D, the width of the joint embedding space."""
    frames: int
    """T, items per window."""
    height: int
    width: int
    precision: Literal["fp32", "fp16", "bf16", "int8"]
    backend: str
    device: str
    space: str
    """Id of the embedding space. Text banks, window items and prototypes work with engines of the same space only."""
    history: int
    """Frames before its own that an item of a causal model depends on; 0 for models without memory."""
    batch_invariant: bool
    """True when a result never depends on its batch mates, bit for bit."""
    memory: tuple[tuple[int, ...], ...] = ()
    """Shape of each buffer of one camera; none for models without memory."""
    compared: Literal["items", "head"] = "items"
    """What windows are compared with examples by, where the bundle has no few-shot parts: their items, place by place,
    or the head's output. See `Engine.embed_sequences`."""


class Engine(Protocol):
    """A loaded bundle, ready to run. Close it once a newer one has replaced it."""

    @property
    def info(self) -> EngineInfo:
        """The description of this engine; constant."""
        ...

    def encode(self, images: Images, memory: Memory | None = None) -> tuple[Items, Memory | None]:
        """Turn frames into window items.

        images: uint8 RGB [n, H, W, 3], n >= 1, at the bundle's H x W; normalisation happens inside the network.
        memory: the cameras' buffers when `info.history > 0` (then at most one frame per camera and call), [n, ...] in
        the shapes of `info.memory`; None: every camera is at the start of its stream, where buffers are zeros. Always
        None for models without memory.
        Returns the items in the order of the images, and the buffers after these frames; None without memory.
        Raises ValueError for a wrong shape or dtype.
        """
        ...

    def embed(self, windows: Items) -> tuple[Embeddings, Embeddings]:
        """Turn windows into embeddings.

        windows: [m, T, ...] of items, oldest first, m >= 1.
        Returns (head, pooled), both float32 [m, D] and L2-normalised: the temporal head's output and the plain mean.
        Raises ValueError for a wrong shape or dtype.
        """
        ...

    def embed_sequences(self, windows: Items) -> tuple[Embeddings, Embeddings, Sequences]:
        """Turn windows into embeddings and into what is compared with examples.

        windows: as for `embed`. Returns (head, pooled, sequences): the first two as `embed` gives them, bit for bit,
        and float32 [m, T', D]. Without few-shot parts in the bundle a sequence is what `info.compared` says: the items
        of the window (T' = T), or the head's output (T' = 1). A head that learned to order the items tells actions
        apart that the items do not; one that averages them knows less than they do.
        Raises ValueError for a wrong shape or dtype.
        """
        ...

    def prototypes(self, windows: Items, text: Embeddings) -> Sequences:
        """Turn the examples of one action into what windows are compared with.

        windows: [k, T, ...] of items, one window for each example, k >= 1. text: float32 [1, D], the action's text.
        Returns float32 [P, T', D], P >= 1. Without few-shot parts in the bundle every example stands for itself (P = k)
        and the text plays no part.
        Raises ValueError for a wrong shape or dtype.
        """
        ...

    def close(self) -> None:
        """Release the runtime's resources; the engine must not be used afterwards."""
        ...
