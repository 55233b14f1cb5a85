"""The bundle that a worker works with, and the next one: loaded beside it, then handed over (ARCHITECTURE 5a).

    store: another version is current  ->  loaded, probed, newest labels embedded    the worker goes on with its own
                                       ->  handed to the loop                        which takes it at a commit
                                       ->  the old one closed

A bundle that cannot be used is refused with the reason, and the worker stays with the one it has. It is tried again now
and then: memory, or a file that a network has not brought yet, may have been all that was missing.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Literal, Protocol

import structlog

from engines.bundle import files as bundles
from engines.bundle.files import Bundle
from engines.errors import EngineError
from pipeline.errors import ActionwireError
from pipeline.worker.label_views import KnownSets, Views
from pipeline.worker.model import Equipment, Model

LOOK_SECONDS = 1.0
"""How often the store is asked: a small file is read."""
AGAIN_SECONDS = 300.0
"""How long a bundle that was refused is left alone."""
_HANDOVER_SECONDS = 0.05

Outcome = Literal["taken", "refused", "kept"]
"""What became of a bundle that is current; `kept`: it is the one in use."""

log = structlog.get_logger(__name__)


class Loop(Protocol):
    """What works with the equipment; see `loop.Worker`."""

    def swap(self, equipment: Equipment) -> None:
        """Take other equipment at the next commit."""

    @property
    def swapping(self) -> bool:
        """True until a swap that was asked for has begun."""


class Succession:
    """The model in use and its label views. Owns the model and closes it."""

    def __init__(self, model: Model, known: KnownSets) -> None:
        self.model = model
        self._views = Views(model.embed, known)
        self._embedding = threading.Lock()

    @property
    def equipment(self) -> Equipment:
        """What the loop needs of the model in use."""
        return _equipment(self.model, self._views)

    def embed(self, version: int) -> None:
        """Make a label set ready for the model in use. May be called from any thread."""
        with self._embedding:
            self._views(version)

    def hand_over(self, model: Model, loop: Loop, ended: threading.Event) -> bool:
        """Have the loop take this model, which it does at its next commit, and close the old one.

        False when the loop ended first; then `model` is closed. Raises what embedding the labels in force raises.
        """
        views = Views(model.embed, self._views.known)
        with ExitStack() as unless_taken:
            unless_taken.callback(model.close)
            views(views.known.newest.version)
            loop.swap(_equipment(model, views))
            while loop.swapping:
                if ended.wait(_HANDOVER_SECONDS):
                    return False
            unless_taken.pop_all()
        with self._embedding:  # nobody embeds with the old one any more
            old, self.model, self._views = self.model, model, views
        old.close()
        return True

    def close(self) -> None:
        """Release the model in use."""
        self.model.close()


def follow_store(
    current: Iterator[Path | None],
    succession: Succession,
    loop: Loop,
    load: Callable[[Bundle], Model],
    ended: threading.Event,
    told: Callable[[Outcome], None] = lambda outcome: None,
    monotonic: Callable[[], float] = time.monotonic,
) -> None:
    """Hand over every bundle that becomes current, until `ended`; the body of a thread.

    current: asked at every look for the directory that became current (`engines.bundle.store.watch`). load: raises
    EngineError or ActionwireError for a bundle that cannot be used here. told: of everything that became current, and
    of every attempt with what was refused.
    """
    refused: Path | None = None
    again = 0.0
    while not ended.wait(LOOK_SECONDS):
        path = next(current) or (refused if monotonic() >= again else None)
        if path is None:
            continue
        refused = None
        try:
            if outcome := _take_up(bundles.load(path), succession, loop, load, ended):
                told(outcome)
        except (EngineError, ActionwireError) as error:
            log.error("the bundle that is current now cannot be used; going on", bundle=str(path), reason=str(error))
            refused, again = path, monotonic() + AGAIN_SECONDS
            told("refused")


def _take_up(
    bundle: Bundle, succession: Succession, loop: Loop, load: Callable[[Bundle], Model], ended: threading.Event
) -> Outcome | None:
    """Hand a bundle over unless it is the one in use; None where the loop ended first."""
    if bundle.manifest.id == succession.model.bundle.manifest.id:
        return "kept"
    log.info("another bundle is current; loading it", bundle=bundle.label)
    return "taken" if succession.hand_over(load(bundle), loop, ended) else None


def _equipment(model: Model, views: Views) -> Equipment:
    return Equipment(model.engine, model.geometry, model.prepare, views, model.steps)
