"""Brings label sets into force: reads the control topic, embeds, and marks the partitions (ARCHITECTURE 5b).

    control record v  ->  embed the set in force then  ->  `labels {v}` marker on every owned partition
                                                       ->  applied where the marker is read back

So the labels of a partition change at one of its own records, whatever else happens at that time.
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
from pipeline.labels.reporting import shown
from pipeline.records.frames import LabelsMarker, encode_stream_record
from pipeline.records.wire import Message, Partition
from pipeline.worker.label_views import EMPTY, LabelHistory

FOLLOW_SECONDS = 0.2
"""Pause between two looks at the control topic; a catch-up request ends it."""
LOOK_SECONDS = 0.02
CATCH_UP_SECONDS = 10.0

log = structlog.get_logger(__name__)


class LabelMarkers:
    """Marks owned partitions with newer label sets. A repeated marker is harmless: it changes nothing."""

    def __init__(
        self, producer: Producer, topic: str, labelled: Callable[[], Mapping[Partition, tuple[int, int]]]
    ) -> None:
        """labelled: epoch of every owned partition, and the version with which this epoch began."""
        self._producer = producer
        self._topic = topic
        self._labelled = labelled
        self._marked: dict[Partition, tuple[int, int]] = {}
        """Epoch and version of the newest marker of each partition."""

    def append(self, version: int) -> None:
        """Append a marker to every owned partition that has an older version and no such marker in its epoch."""
        for partition, (epoch, began) in self._labelled().items():
            marked_in, marked = self._marked.get(partition, (0, EMPTY))
            if version <= (max(began, marked) if marked_in == epoch else began):
                continue
            self._marked[partition] = (epoch, version)
            marker = encode_stream_record(LabelsMarker(version))
            message = Message(marker.key, marker.value, marker.headers, partition.number)
            self._producer.send(self._topic, message, self._delivered(partition))

    def _delivered(self, partition: Partition) -> Callable[[Partition | None, int, ActionwireError | None], None]:
        def note(_: Partition | None, __: int, error: ActionwireError | None) -> None:
            if error is not None:  # append it again
                self._marked.pop(partition, None)

        return note


def follow(
    control: ControlReader,
    history: LabelHistory,
    embed: Callable[[int], object],
    markers: LabelMarkers,
    stop: threading.Event,
    ready: Callable[[LabelSet], None] = lambda labels: None,
    rest: Callable[[], None] = lambda: None,
) -> None:
    """Read, embed and mark until told to stop; the body of a thread. `control` adds what it reads to `history`.

    embed: embeds a version for the engine in use. ready: called with every set once it is embedded. rest: called
    in every round, to release what nothing needs.
    """
    embedded = EMPTY
    while not stop.is_set():
        try:
            if (request := history.catch_up_request) is not None:
                control.catch_up(CATCH_UP_SECONDS)
                history.caught_up(request, control.position)
            elif not control.poll(LOOK_SECONDS):
                history.wait_for_request(FOLLOW_SECONDS)
            newest = history.newest
            if newest.version > embedded:
                embed(newest.version)
                embedded = newest.version
                ready(newest)
                log.info("labels ready", version=embedded, count=len(newest.labels), labels=shown(newest.labels))
            if embedded > EMPTY:
                markers.append(embedded)
            rest()
        except (ActionwireError, EngineError) as error:
            log.warning("labels cannot be followed at the moment", reason=str(error))
            stop.wait(1.0)
