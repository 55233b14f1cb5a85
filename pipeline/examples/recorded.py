"""Examples from what the cluster still holds: frames of a camera, and the windows of events."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing

from pipeline.broker.contract import Broker
from pipeline.broker.partitioning import partition_of
from pipeline.broker.reading import partitions_of, read_all, read_to_end
from pipeline.config.settings import Settings
from pipeline.errors import BadRecordError, ConfigurationError
from pipeline.examples.sampling import example_of_frames
from pipeline.records.events import ActionEvent, decode_event
from pipeline.records.examples import Example
from pipeline.records.frames import FrameRecord, decode_stream_record
from pipeline.records.wire import Partition, Record, iso

FEWEST_OF_ID = 6
"""Characters of an event's id that name it, as people copy them from a screen."""


def event_of(broker: Broker, settings: Settings, named: str) -> ActionEvent:
    """The newest message of an event, by its id or how that begins.

    Raises ConfigurationError where there is none or several begin so; TransientError.
    """
    if len(named) < FEWEST_OF_ID:
        raise ConfigurationError(f"event {named!r}: at least {FEWEST_OF_ID} characters of the id must be given")
    topic = settings.topics.name("events")
    found: dict[str, ActionEvent] = {}
    for record in read_all(broker, partitions_of(broker, topic)):
        try:
            event = decode_event(record.value)
        except BadRecordError:
            continue
        if event.id.startswith(named) and event.sequence >= found.get(event.id, event).sequence:
            found[event.id] = event
    if len(found) > 1:
        raise ConfigurationError(f"{len(found)} events have an id that begins with {named}; give more of it")
    if not found:
        raise ConfigurationError(
            f"no event {named} in {topic}, which keeps {settings.topics.events_retention_days} days; "
            "`actionwire watch --json` shows ids"
        )
    return next(iter(found.values()))


def example_of_event(broker: Broker, settings: Settings, label: str, event: ActionEvent) -> Example:
    """What the camera sent during the window at the peak of an event. Raises ConfigurationError, TransientError."""
    evidence = event.evidence
    partition = Partition(evidence.topic, evidence.partition)
    with closing(broker.reader([partition])) as reader:
        first, end = reader.bounds(10.0)[partition]
        if evidence.first_offset < first or evidence.last_offset >= end:
            raise ConfigurationError(
                f"the frames of event {event.id} are gone: {evidence.topic} keeps "
                f"{settings.topics.frames_retention_minutes} minutes; enrol from a clip instead"
            )
        reader.seek(partition, evidence.first_offset)
        stretch = _up_to(read_to_end(reader), evidence.last_offset)
        frames = [one for one in _frames(stretch, event.camera) if one.session == event.session]
    return example_of_frames(label, frames, f"event {event.id} of {event.camera}", settings)


def example_of_camera(broker: Broker, settings: Settings, label: str, camera: str, from_ns: int, to_ns: int) -> Example:
    """What a camera sent between two instants. Raises ConfigurationError, TransientError."""
    where = f"camera {camera} from {iso(from_ns)} to {iso(to_ns)}"
    if from_ns >= to_ns:
        raise ConfigurationError(f"{where}: the end is not after the beginning")
    partitions = partitions_of(broker, settings.topics.name("frames"))
    partition = partitions[partition_of(camera.encode(), len(partitions))]
    frames = list(_frames(read_all(broker, [partition]), camera))
    if not frames:
        raise ConfigurationError(
            f"camera {camera!r} has no frames in {partition.topic}, which keeps "
            f"{settings.topics.frames_retention_minutes} minutes; `actionwire status` lists the cameras"
        )
    chosen = [one for one in frames if from_ns <= one.capture_ns <= to_ns]
    if not chosen:
        held = f"{iso(frames[0].capture_ns)} to {iso(frames[-1].capture_ns)}"
        raise ConfigurationError(f"{where}: no frames; those of {held} are there")
    if len({one.session for one in chosen}) > 1:
        raise ConfigurationError(f"{where}: the camera was connected anew meanwhile; name a stretch without that")
    return example_of_frames(label, chosen, where, settings)


def _up_to(records: Iterable[Record], last: int) -> Iterator[Record]:
    for record in records:
        if record.offset > last:
            return
        yield record


def _frames(records: Iterable[Record], camera: str) -> Iterator[FrameRecord]:
    """The frames of one camera, each tick of a session once and in order."""
    newest: tuple[int, int] | None = None
    for record in records:
        if record.key != camera.encode():
            continue
        try:
            frame = decode_stream_record(record.key, record.value, record.headers)
        except BadRecordError:
            continue
        if isinstance(frame, FrameRecord) and (newest is None or (frame.session, frame.tick) > newest):
            newest = (frame.session, frame.tick)
            yield frame
