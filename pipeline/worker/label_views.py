"""Label sets by version, and what an engine makes of them.

A version whose control record was compacted away stands for the smallest version above it that still exists.
"""

from __future__ import annotations

import bisect
import math
import threading
from collections.abc import Callable

import structlog

from pipeline.analysis.label_set import LabelSet, LabelSets, in_force
from pipeline.analysis.partition import LabelView
from pipeline.errors import BrokerTimeout

EMPTY = -1
"""Version of the empty set, before the control topic said anything."""
KEPT_STRAYS = 1000
"""Versions that were never written and are remembered as such; an older one that comes again is asked for again."""
KEPT_VIEWS = 16
"""Embedded sets that are kept; an older one that is still needed is embedded again."""

log = structlog.get_logger(__name__)


class KnownSets:
    """Label sets by version, whatever engine they are for. Thread-safe.

    No clock decides which set a version stands for, only what the control topic holds: whoever asks for a version that
    is not known waits until the topic was read to an end that was looked up after the question.
    """

    def __init__(self, *, complete: bool = False, limit_seconds: float = 30.0) -> None:
        """complete: all sets are put before the first is asked for, as in a replay; nobody answers questions.

        limit_seconds: how long the control topic may be out of reach before a question fails.
        """
        self._limit = limit_seconds
        self._sets: dict[int, LabelSet] = {EMPTY: LabelSet()}
        self._versions = [EMPTY]
        self._read: float = math.inf if complete else 0
        """Every version below was seen, if it exists."""
        self._strays: dict[int, None] = {}
        self._asked = self._answered = 0
        self._changed = threading.Condition()

    def put(self, labels: LabelSet) -> None:
        """Make a set known; versions come in order."""
        with self._changed:
            if labels.version > self._versions[-1]:
                self._sets[labels.version] = labels
                self._versions.append(labels.version)
                self._changed.notify_all()

    def seen(self, sets: LabelSets) -> None:
        """Make known what the control topic says after one more record."""
        self.put(in_force(sets))

    @property
    def newest(self) -> LabelSet:
        """The newest set that is known."""
        with self._changed:
            return self._sets[self._versions[-1]]

    def __call__(self, version: int) -> LabelSet:
        """The set that a version stands for; one that is on its way is waited for.

        A version that was compacted away is the smallest above it, else the newest below. One that the topic does not
        reach was never written, since its marker comes after it: then the newest known stands for it, so that a stray
        marker stops nobody. Raises BrokerTimeout while the control topic cannot be read.
        """
        with self._changed:
            if version not in self._sets and version >= self._read and version not in self._strays:
                self._ask(version)
            known = min(bisect.bisect_left(self._versions, version), len(self._versions) - 1)
            return self._sets[self._versions[known]]

    @property
    def question(self) -> int | None:
        """Number of the newest question that waits for an answer, None where none does."""
        with self._changed:
            return self._asked if self._asked > self._answered else None

    def wait_for_question(self, seconds: float) -> None:
        """Wait until somebody asks, at most so long."""
        with self._changed:
            self._changed.wait_for(lambda: self._asked > self._answered, seconds)

    def answer(self, question: int, read: int) -> None:
        """The control topic was read to offset `read`, which was its end after this question; 0 is no question."""
        with self._changed:
            self._answered = max(self._answered, question)
            self._read = max(self._read, read)
            self._changed.notify_all()

    def _ask(self, version: int) -> None:
        self._asked += 1
        self._changed.notify_all()
        question = self._asked
        if not self._changed.wait_for(lambda: version in self._sets or self._answered >= question, self._limit):
            raise BrokerTimeout(
                f"label set {version} is not known, and the control topic was not read to its end in "
                f"{self._limit:g} s; it is tried again"
            )
        if version not in self._sets and version >= self._read:
            self._strays[version] = None
            if len(self._strays) > KEPT_STRAYS:
                del self._strays[next(iter(self._strays))]
            log.error("a marker names a label set that does not exist", version=version, newest=self._versions[-1])


class Views:
    """Label sets by version in the embedding space of one engine, embedded when they are first needed. Thread-safe."""

    def __init__(self, embed: Callable[[LabelSet], LabelView], known: KnownSets) -> None:
        self.known = known
        self._embed = embed
        self._views: dict[int, LabelView] = {}
        self._embedding = threading.Lock()

    def __call__(self, version: int) -> LabelView:
        """The view of a version; raises what `known` raises."""
        labels = self.known(version)
        if (view := self._views.get(labels.version)) is not None:
            return view
        with self._embedding:  # one that is there already is had above: nobody waits for another's seconds
            if labels.version not in self._views:
                self._views[labels.version] = self._embed(labels)
                for old in list(self._views)[:-KEPT_VIEWS]:
                    del self._views[old]
            return self._views[labels.version]
