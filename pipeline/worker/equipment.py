"""What a worker works with that depends on the bundle, and changes all at once in a swap."""

from __future__ import annotations

from dataclasses import dataclass

from engines.contract import Engine
from pipeline.worker.decoding import Prepare
from pipeline.worker.overload import Relief
from pipeline.worker.streams import Geometry
from pipeline.worker.views import Views


@dataclass(frozen=True, slots=True)
class Equipment:
    """An engine and everything that only meets an engine of its kind."""

    engine: Engine
    geometry: Geometry
    prepare: Prepare
    views: Views
    steps: tuple[Relief, ...] = ()
    """What may be left out under overload, least first; the first leaves out nothing."""


@dataclass(slots=True)
class Swap:
    """Equipment on its way to the inference thread, from any other."""

    asked: Equipment | None = None
    """Taken at the next commit, and None again once nothing works with the old equipment any more."""
