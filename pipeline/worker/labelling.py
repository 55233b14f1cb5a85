"""Label sets on their way into force: read from the control topic, embedded, announced (ARCHITECTURE 5b).

    control record v  ->  embed what is in force then  ->  `labels {v}` marker on every owned partition
                                                       ->  applied where the marker is read back

So a partition changes its labels at one of its own records, whatever else is going on. A version whose control record
was compacted away stands for the smallest version above it that still exists.
"""

from __future__ import annotations

import bisect
import math
import threading
from collections.abc import Callable, Mapping

import structlog

from pipeline.broker.contract import Producer
from pipeline.control import ControlReader
from pipeline.errors import ActionwireError, BrokerTimeout
from pipeline.labels import LabelSet, LabelSets, in_force
from pipeline.records.frames import LabelsMarker, encode_stream_record
from pipeline.records.wire import Message, Partition
from pipeline.worker.lanes import LabelView

EMPTY = -1
"""Version of the empty set, before the control topic said anything."""
FOLLOW_SECONDS = 0.25
CATCH_UP_SECONDS = 10.0

log = structlog.get_logger(__name__)


class Views:
    """Label sets by version, embedded when they are first needed. Thread-safe.

    No clock decides which set a version stands for, only what the control topic holds: whoever asks for a version that
    is not known waits until the topic was read to an end that was looked up after the question.
    """

    def __init__(
        self, embed: Callable[[LabelSet], LabelView], *, complete: bool = False, limit_seconds: float = 30.0
    ) -> None:
        """complete: all sets are put before the first is asked for, as in a replay; nobody answers questions.

        limit_seconds: how long the control topic may be out of reach before a question fails.
        """
        self._embed = embed
        self._limit = limit_seconds
        self._sets: dict[int, LabelSet] = {EMPTY: LabelSet()}
        self._views: dict[int, LabelView] = {}
        self._versions = [EMPTY]
        self._read: float = math.inf if complete else 0
        """Every version below was seen, if it exists."""
        self._strays: set[int] = set()
        self._asked = self._answered = 0
        self._changed = threading.Condition()
        self._embedding = threading.Lock()

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

    def __call__(self, version: int) -> LabelView:
        """The view of a version; one that is on its way is waited for.

        A version that was compacted away is the smallest above it, else the newest below. One that the topic does not
        reach was never written, since its marker comes after it: then the newest known stands for it, so that a stray
        marker stops nobody. Raises BrokerTimeout while the control topic cannot be read.
        """
        with self._changed:
            if version not in self._sets and version >= self._read and version not in self._strays:
                self._ask(version)
            known = self._versions[min(bisect.bisect_left(self._versions, version), len(self._versions) - 1)]
            view = self._views.get(known)
        return view or self._made(known)

    @property
    def question(self) -> int | None:
        """Number of the newest question that waits for an answer, None where none does."""
        with self._changed:
            return self._asked if self._asked > self._answered else None

    def answer(self, question: int, read: int) -> None:
        """The control topic was read to offset `read`, which was its end after this question; 0 is no question."""
        with self._changed:
            self._answered = max(self._answered, question)
            self._read = max(self._read, read)
            self._changed.notify_all()

    def _ask(self, version: int) -> None:
        self._asked += 1
        question = self._asked
        if not self._changed.wait_for(lambda: version in self._sets or self._answered >= question, self._limit):
            raise BrokerTimeout(
                f"label set {version} is not known, and the control topic was not read to its end in "
                f"{self._limit:g} s; it is tried again"
            )
        if version not in self._sets and version >= self._read:
            self._strays.add(version)
            log.error("a marker names a label set that does not exist", version=version, newest=self._versions[-1])

    def _made(self, version: int) -> LabelView:
        # Not under the other lock: embedding takes seconds, and nobody who needs an older version should wait for it.
        with self._embedding:
            if version not in self._views:
                self._views[version] = self._embed(self._sets[version])
            return self._views[version]


class Announcer:
    """Tells owned partitions of newer label sets. Repeats are harmless: a version that is in force is ignored."""

    def __init__(
        self, producer: Producer, topic: str, labelled: Callable[[], Mapping[Partition, tuple[int, int]]]
    ) -> None:
        """labelled: epoch of every owned partition, and the version that this epoch began with."""
        self._producer = producer
        self._topic = topic
        self._labelled = labelled
        self._told: dict[Partition, tuple[int, int]] = {}

    def announce(self, version: int) -> None:
        """Append a marker to every owned partition that neither has this version nor was told of it in its epoch."""
        for partition, (epoch, began) in self._labelled().items():
            told_in, told = self._told.get(partition, (0, EMPTY))
            if version <= (max(began, told) if told_in == epoch else began):
                continue
            self._told[partition] = (epoch, version)
            marker = encode_stream_record(LabelsMarker(version))
            message = Message(marker.key, marker.value, marker.headers, partition.number)
            self._producer.send(self._topic, message, self._delivered(partition))

    def _delivered(self, partition: Partition) -> Callable[[Partition | None, int, ActionwireError | None], None]:
        def note(_: Partition | None, __: int, error: ActionwireError | None) -> None:
            if error is not None:  # tell it again
                self._told.pop(partition, None)

        return note


def follow(
    control: ControlReader,
    views: Views,
    announcer: Announcer,
    stop: threading.Event,
    ready: Callable[[LabelSet], None] = lambda labels: None,
) -> None:
    """Read, embed and announce until told to stop; the body of a thread. `control` puts what it reads into `views`.

    ready: told of every set once it is embedded.
    """
    embedded = EMPTY
    while not stop.is_set():
        try:
            if (question := views.question) is not None:
                control.catch_up(CATCH_UP_SECONDS)
                views.answer(question, control.position)
            else:
                control.poll(FOLLOW_SECONDS)
            newest = views.newest
            if newest.version > embedded:
                views(newest.version)
                embedded = newest.version
                ready(newest)
                log.info("labels ready", version=embedded, labels=[label.text for label in newest.labels])
            if embedded > EMPTY:
                announcer.announce(embedded)
        except ActionwireError as error:
            log.warning("labels cannot be followed at the moment", reason=str(error))
            stop.wait(1.0)
