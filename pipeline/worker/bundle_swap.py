"""Swaps the bundle of a running worker: the next one is loaded beside it, then handed over (ARCHITECTURE 5a).

    another version becomes current  ->  it is loaded and probed, the newest labels are embedded   the worker works on
                                     ->  it is handed to the worker                                taken at a commit
                                     ->  the old bundle is closed

A bundle that cannot be used is refused with the reason, and the worker keeps the one it has. Neither can one be used
that loses a label which is watched for, or whose thresholds let every window be an event. The refused bundle is tried
again later: the cause may have been a lack of memory, or a file that the network had not delivered yet.
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
from pipeline.analysis.label_set import LabelSet
from pipeline.errors import ActionwireError, ConfigurationError
from pipeline.worker.label_views import LabelHistory, LabelViews
from pipeline.worker.model import Equipment, Model

LOOK_SECONDS = 1.0
"""How often the store is checked: one small file is read."""
AGAIN_SECONDS = 300.0
"""How long to wait before a refused bundle is tried again."""
_HANDOVER_SECONDS = 0.05

Outcome = Literal["taken", "refused", "kept"]
"""What became of a bundle that is current. `kept`: it is in use already."""

log = structlog.get_logger(__name__)


class Swappable(Protocol):
    """A worker whose equipment can be swapped; see `worker.Worker`."""

    def swap(self, equipment: Equipment) -> None:
        """Take other equipment at the next commit."""

    @property
    def swapping(self) -> bool:
        """True until a requested swap has taken place."""


class BundleSwap:
    """The model in use and its label views. Owns the model and closes it."""

    def __init__(self, model: Model, history: LabelHistory) -> None:
        self.model = model
        self.before: Bundle | None = None
        """The bundle from which the one in use was swapped."""
        self._label_views = LabelViews(model.embed, history)
        self._embedding = threading.Lock()

    @property
    def equipment(self) -> Equipment:
        """The part of the model in use that the worker needs."""
        return _equipment(self.model, self._label_views)

    def embed(self, version: int) -> None:
        """Embed a label set with the model in use. May be called from any thread."""
        with self._embedding:
            self._label_views(version)

    def rest(self) -> None:
        """Release what only new labels need, once there were none for a while. May be called from any thread."""
        self.model.rest()

    def in_use(self) -> tuple[LabelSet, Model]:
        """The newest labels, and the model that scores them. May be called from any thread."""
        with self._embedding:
            return self._label_views.history.newest, self.model

    def hand_over(self, model: Model, worker: Swappable, ended: threading.Event) -> bool:
        """Hand this model to the worker, which takes it at its next commit; then close the old one.

        False if the worker ended first; then `model` is closed. Raises what embedding the labels in force raises.
        """
        label_views = LabelViews(model.embed, self._label_views.history)
        with ExitStack() as unless_taken:
            unless_taken.callback(model.close)
            label_views(label_views.history.newest.version)
            worker.swap(_equipment(model, label_views))
            while worker.swapping:
                if ended.wait(_HANDOVER_SECONDS):
                    return False
            unless_taken.pop_all()
        with self._embedding:  # from here on nobody embeds with the old model
            old, self.model, self._label_views = self.model, model, label_views
            self.before = old.bundle
        old.close()
        return True

    def close(self) -> None:
        """Release the model in use."""
        self.model.close()


def follow_store(
    current: Iterator[Path | None],
    bundle_swap: BundleSwap,
    worker: Swappable,
    load: Callable[[Bundle], Model],
    ended: threading.Event,
    report: Callable[[Outcome], None] = lambda outcome: None,
    monotonic: Callable[[], float] = time.monotonic,
) -> None:
    """Hand over every bundle that becomes current, until `ended`; the body of a thread.

    current: yields at every check the directory that became current, else None (`engines.bundle.store.watch`). load:
    raises EngineError or ActionwireError for a bundle that cannot be used here. report: called with the outcome for
    every bundle that became current, and for every further attempt with a refused one.
    """
    refused: Path | None = None
    again = 0.0
    while not ended.wait(LOOK_SECONDS):
        path = next(current) or (refused if monotonic() >= again else None)
        if path is None:
            continue
        refused = None
        try:
            if outcome := _take_up(bundles.load(path), bundle_swap, worker, load, ended):
                report(outcome)
        except (EngineError, ActionwireError) as error:
            if ended.is_set():
                return
            log.error("the bundle that is current now cannot be used; going on", bundle=str(path), reason=str(error))
            refused, again = path, monotonic() + AGAIN_SECONDS
            report("refused")


def _take_up(
    bundle: Bundle, bundle_swap: BundleSwap, worker: Swappable, load: Callable[[Bundle], Model], ended: threading.Event
) -> Outcome | None:
    """Hand a bundle over unless it is in use already; None if the worker ended first.

    Raises ConfigurationError for one that cannot watch for a label which the bundle in use watches for.
    """
    if bundle.manifest.id == bundle_swap.model.bundle.manifest.id:
        return "kept"
    log.info("another bundle is current; loading it", bundle=bundle.label)
    model = load(bundle)
    if lost := _lost_labels(bundle_swap, model):
        model.close()
        raise ConfigurationError(
            f"{bundle.label} would lose labels that are watched for: {'; '.join(lost)}; "
            "take them off the labels first, or publish a bundle that can watch for them"
        )
    return "taken" if bundle_swap.hand_over(model, worker, ended) else None


def _lost_labels(bundle_swap: BundleSwap, model: Model) -> list[str]:
    """Return the labels in force that the model in use watches for and `model` cannot, each with its reason."""
    labels, used = bundle_swap.in_use()
    before, after = used.check.problems(labels.labels), model.check.problems(labels.labels)
    lost = [label for label in labels.labels if label.id in after and label.id not in before]
    return [f"{label.text} ({after[label.id]})" for label in lost]


def _equipment(model: Model, label_views: LabelViews) -> Equipment:
    return Equipment(model.engine, model.geometry, model.prepare, label_views, model.steps, model.origin)
