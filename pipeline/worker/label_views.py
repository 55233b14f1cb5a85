"""Label sets by version, and their embedded form for one engine.

The control topic is compacted. A version whose record is gone stands for the smallest version above it that exists.
"""

from __future__ import annotations

import bisect
import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, wait
from typing import TypeVar

import structlog

from pipeline.analysis.label_set import LabelSet, LabelSets, in_force
from pipeline.analysis.partition import LabelView
from pipeline.errors import BrokerTimeout, TransientError

EMPTY = -1
"""Version of the empty set, which is in force before the first control record."""
KEPT_STRAYS = 1000
"""Versions that were never written and are remembered as such. An older one that comes again is looked up again."""
KEPT_LABEL_VIEWS = 16
KEPT_LABELS = 50_000
"""Embedded sets that are kept, and the labels of all of them: with ten thousand each takes 40 MB. An older one is
embedded again when it is needed; the two newest are kept whatever their size, for one follows the other."""

PROGRESS_SECONDS = 10.0
"""How often a long embedding says how far it is."""

T = TypeVar("T")

log = structlog.get_logger(__name__)


class LabelHistory:
    """Label sets by version, independent of any engine. Thread-safe.

    No clock decides which set a version stands for, only the content of the control topic. A caller that needs an
    unknown version requests a catch-up and waits until the topic was read to an end that was looked up afterwards.
    """

    def __init__(self, *, complete: bool = False, limit_seconds: float = 30.0) -> None:
        """complete: every set is put before the first is needed, as in a replay; nobody serves catch-up requests.

        limit_seconds: how long the control topic may be out of reach before a lookup fails.
        """
        self._limit = limit_seconds
        self._sets: dict[int, LabelSet] = {EMPTY: LabelSet()}
        self._versions = [EMPTY]
        self._read: float = math.inf if complete else 0
        """Every existing version below this offset is known."""
        self._strays: dict[int, None] = {}
        self._requested = self._served = 0
        self._changed = threading.Condition()

    def put(self, labels: LabelSet) -> None:
        """Add a set; versions come in order."""
        with self._changed:
            if labels.version > self._versions[-1]:
                self._sets[labels.version] = labels
                self._versions.append(labels.version)
                self._changed.notify_all()

    def add(self, sets: LabelSets) -> None:
        """Add the set that is in force after one more record of the control topic."""
        self.put(in_force(sets))

    @property
    def newest(self) -> LabelSet:
        """The newest known set."""
        with self._changed:
            return self._sets[self._versions[-1]]

    def __call__(self, version: int) -> LabelSet:
        """The set that a version stands for; waits for one that is still unknown.

        A version that was compacted away stands for the smallest version above it, else for the newest below it. A
        version beyond the end of the topic was never written, since a marker is written after its control record. It
        stands for the newest known set, so that a stray marker stops no partition.
        Raises BrokerTimeout if the control topic cannot be read.
        """
        with self._changed:
            if version not in self._sets and version >= self._read and version not in self._strays:
                self._wait_for(version)
            known = min(bisect.bisect_left(self._versions, version), len(self._versions) - 1)
            return self._sets[self._versions[known]]

    @property
    def catch_up_request(self) -> int | None:
        """Number of the newest catch-up request that was not served yet; None: there is none."""
        with self._changed:
            return self._requested if self._requested > self._served else None

    def wait_for_request(self, seconds: float) -> None:
        """Wait for a catch-up request, at most so long."""
        with self._changed:
            self._changed.wait_for(lambda: self._requested > self._served, seconds)

    def caught_up(self, request: int, read: int) -> None:
        """Note that the control topic was read to offset `read`, its end as looked up after this request.

        request: a number from `catch_up_request`; 0 serves none.
        """
        with self._changed:
            self._served = max(self._served, request)
            self._read = max(self._read, read)
            self._changed.notify_all()

    def _wait_for(self, version: int) -> None:
        self._requested += 1
        self._changed.notify_all()
        request = self._requested
        if not self._changed.wait_for(lambda: version in self._sets or self._served >= request, self._limit):
            raise BrokerTimeout(
                f"label set {version} is not known, and the control topic was not read to its end in "
                f"{self._limit:g} s; it is tried again"
            )
        if version not in self._sets and version >= self._read:
            self._strays[version] = None
            if len(self._strays) > KEPT_STRAYS:
                del self._strays[next(iter(self._strays))]
            log.error("a marker names a label set that does not exist", version=version, newest=self._versions[-1])


class EmbeddingProgress:
    """How far the embedding of labels has come, whichever thread does it: a large text tower may take minutes.

    A loop that waits for it counts as turning while it moves on (`Worker.live`). Thread-safe.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._stopped = threading.Event()
        self.moved_at = -math.inf
        """Monotonic time at which the last label was begun or done."""

    def over(self, labels: Sequence[T]) -> Iterator[T]:
        """Yield the labels one by one; the next is asked for when one is embedded. Logs a line now and then.

        Raises TransientError once the worker ends: nobody waits minutes for a process to stop.
        """
        said = self._monotonic()
        for done, label in enumerate(labels):
            if self._stopped.is_set():
                raise TransientError("the worker ends; the labels that are left are embedded when it starts again")
            self.moved_at = now = self._monotonic()
            if now - said >= PROGRESS_SECONDS:
                said = now
                log.info("embedding labels", done=done, of=len(labels))
            yield label
        self.moved_at = self._monotonic()

    def stop(self) -> None:
        """Embed nothing more."""
        self._stopped.set()


class LabelViews:
    """Label sets by version in the embedding space of one engine, embedded when first needed. Thread-safe."""

    def __init__(self, embed: Callable[[LabelSet], LabelView], history: LabelHistory) -> None:
        self.history = history
        self._embed = embed
        self._embedded: dict[int, LabelView] = {}
        self._sizes: dict[int, int] = {}
        """Labels of each embedded set."""
        self._embedding = threading.Lock()
        self._prepared: Future[object] | None = None

    def __call__(self, version: int) -> LabelView:
        """The embedded set that a version stands for. Raises what `history` raises."""
        labels = self.history(version)
        if (found := self._embedded.get(labels.version)) is not None:
            return found  # without the lock: nobody waits while another set is embedded
        with self._embedding:
            if labels.version not in self._embedded:
                self._embedded[labels.version] = self._embed(labels)
                self._sizes[labels.version] = len(labels.labels)
                self._forget()
            return self._embedded[labels.version]

    def prepare(self, version: int, seconds: float) -> bool:
        """Have a set embedded on a thread of its own; True once that is done. Waits up to `seconds`.

        For the thread that polls: the group must hear from it, however long embedding takes. Belongs to one thread.
        Raises what embedding raised.
        """
        if self.history(version).version in self._embedded:
            return True
        if self._prepared is None:
            self._prepared = Future()
            embedding = (self._prepared, version)
            threading.Thread(target=self._prepare, args=embedding, name="embed-labels", daemon=True).start()
        wait([self._prepared], seconds)
        if not self._prepared.done():
            return False
        done, self._prepared = self._prepared, None
        done.result()
        return self.history(version).version in self._embedded

    def _forget(self) -> None:
        for old in list(self._sizes)[:-2]:
            if len(self._sizes) > KEPT_LABEL_VIEWS or sum(self._sizes.values()) > KEPT_LABELS:
                del self._embedded[old], self._sizes[old]

    def _prepare(self, done: Future[object], version: int) -> None:
        try:
            done.set_result(self(version))
        except BaseException as error:  # raised again where it is waited for
            done.set_exception(error)
