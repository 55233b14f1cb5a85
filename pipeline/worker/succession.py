"""The bundle that a worker works with, and the next one: loaded beside it, then handed over (ARCHITECTURE 5a).

    store: another version is current  ->  loaded, probed, newest labels embedded    the worker goes on with its own
                                       ->  handed to the loop                        which takes it at a commit
                                       ->  the old one closed

A bundle that cannot be used is refused with the reason, and the worker stays with the one it has.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

import structlog

from engines import bundle as bundles
from engines.bundle import Bundle
from engines.errors import EngineError
from pipeline.errors import ActionwireError
from pipeline.worker.equipment import Equipment
from pipeline.worker.model import Model
from pipeline.worker.views import KnownSets, Views

LOOK_SECONDS = 1.0
"""How often the store is asked: a small file is read."""
_HANDOVER_SECONDS = 0.05

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
    swapped: Callable[[Model | None], None] = lambda model: None,
) -> None:
    """Hand over every bundle that becomes current, until `ended`; the body of a thread.

    current: asked at every look for the directory that became current (`engines.store.watch`). load: raises EngineError
    or ActionwireError for a bundle that cannot be used here. swapped: told of every model that was taken, and None
    where a bundle was refused.
    """
    while not ended.wait(LOOK_SECONDS):
        if (path := next(current)) is None:
            continue
        try:
            bundle = bundles.load(path)
            if bundle.manifest.id == succession.model.bundle.manifest.id:
                continue
            log.info("another bundle is current; loading it", bundle=bundle.label)
            model = load(bundle)
            if succession.hand_over(model, loop, ended):
                swapped(model)
        except (EngineError, ActionwireError) as error:
            log.error("the bundle that is current now cannot be used; going on", bundle=str(path), reason=str(error))
            swapped(None)


def _equipment(model: Model, views: Views) -> Equipment:
    return Equipment(model.engine, model.geometry, model.prepare, views, model.steps)
