"""An engine that two threads use in turns: the worker's inference thread, and whoever encodes the examples of labels.

Each call waits for the one under way. Examples come in calls of a few rows, so a camera's frames wait no longer than
for one of them, and no second copy of the networks is held.
"""

from __future__ import annotations

import threading

from engines.contract import Embeddings, Engine, EngineInfo, Images, Items, Memory, Sequences
from engines.errors import BackendUnavailable


class SharedEngine:
    """An engine behind a lock. Thread-safe."""

    def __init__(self, engine: Engine) -> None:
        """engine: belongs to this one from now on, which closes it."""
        self._engine: Engine | None = engine
        self._turn = threading.Lock()
        self.info: EngineInfo = engine.info
        """See `engines.contract.Engine.info`."""

    def encode(self, images: Images, memory: Memory | None = None) -> tuple[Items, Memory | None]:
        """See `engines.contract.Engine.encode`. Raises BackendUnavailable once it is closed."""
        with self._turn:
            return self._open().encode(images, memory)

    def embed(self, windows: Items) -> tuple[Embeddings, Embeddings]:
        """See `engines.contract.Engine.embed`. Raises BackendUnavailable once it is closed."""
        with self._turn:
            return self._open().embed(windows)

    def embed_sequences(self, windows: Items) -> tuple[Embeddings, Embeddings, Sequences]:
        """See `engines.contract.Engine.embed_sequences`. Raises BackendUnavailable once it is closed."""
        with self._turn:
            return self._open().embed_sequences(windows)

    def prototypes(self, windows: Items, text: Embeddings) -> Sequences:
        """See `engines.contract.Engine.prototypes`. Raises BackendUnavailable once it is closed."""
        with self._turn:
            return self._open().prototypes(windows, text)

    def close(self) -> None:
        """See `engines.contract.Engine.close`; waits for a call under way."""
        with self._turn:
            engine, self._engine = self._engine, None
            if engine is not None:
                engine.close()

    def _open(self) -> Engine:
        if self._engine is None:
            raise BackendUnavailable(f"the engine of {self.info.name}@{self.info.version} is closed; use the newer one")
        return self._engine
