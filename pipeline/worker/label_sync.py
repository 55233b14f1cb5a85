"""Label sets on their way into force: read from the control topic, embedded, announced (ARCHITECTURE 5b).

    control record v  ->  embed what is in force then  ->  `labels {v}` marker on every owned partition
                                                       ->  applied where the marker is read back

So a partition changes its labels at one of its own records, whatever else is going on.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

import structlog

from engines.errors import EngineError
from pipeline.analysis.label_set import LabelSet
from pipeline.broker.contract import Producer
from pipeline.broker.control_topic import ControlReader
from pipeline.errors import ActionwireError
from pipeline.records.frames import LabelsMarker, encode_stream_record
from pipeline.records.wire import Message, Partition
from pipeline.worker.label_views import EMPTY, KnownSets

FOLLOW_SECONDS = 0.2
"""Pause between two looks at the control topic; a question ends it."""
LOOK_SECONDS = 0.02
SHOWN_LABELS = 20
SHOWN_TEXT = 100
"""How much of a set is logged: its texts are strangers'."""
CATCH_UP_SECONDS = 10.0

log = structlog.get_logger(__name__)


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
    known: KnownSets,
    embed: Callable[[int], object],
    announcer: Announcer,
    stop: threading.Event,
    ready: Callable[[LabelSet], None] = lambda labels: None,
) -> None:
    """Read, embed and announce until told to stop; the body of a thread. `control` puts what it reads into `known`.

    embed: makes a version ready for the engine in use. ready: told of every set once it is embedded.
    """
    embedded = EMPTY
    while not stop.is_set():
        try:
            if (question := known.question) is not None:
                control.catch_up(CATCH_UP_SECONDS)
                known.answer(question, control.position)
            elif not control.poll(LOOK_SECONDS):
                known.wait_for_question(FOLLOW_SECONDS)
            newest = known.newest
            if newest.version > embedded:
                embed(newest.version)
                embedded = newest.version
                ready(newest)
                texts = [label.text[:SHOWN_TEXT] for label in newest.labels[:SHOWN_LABELS]]
                log.info("labels ready", version=embedded, count=len(newest.labels), labels=texts)
            if embedded > EMPTY:
                announcer.announce(embedded)
        except (ActionwireError, EngineError) as error:
            log.warning("labels cannot be followed at the moment", reason=str(error))
            stop.wait(1.0)
