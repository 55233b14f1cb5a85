"""The share of captured ticks that were encoded: a count over the records of the frames topic. Pure.

    captured    ticks that the bundle uses and that ingest took: those in the frames topic, and those that it dropped
    encoded     those of them that the worker encoded

A tick counts as captured once, however often it was published, and as encoded once, however often a restart encoded it
again. So the share never exceeds 1.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pipeline.analysis.camera_streams import Arrived, CameraStreams, Geometry
from pipeline.errors import BadRecordError
from pipeline.records.frames import FrameRecord, StreamRecord, decode_stream_record
from pipeline.records.wire import Partition, Record

UNPUBLISHED = ("queue", "oversized")
"""Reasons for which ingest drops a tick that it has captured."""
UNENCODED = ("shed", "hole", "undecodable", "bad_record")
"""Reasons for which a worker leaves out a tick that, by the records, counts."""


@dataclass(frozen=True, slots=True)
class Coverage:
    """Ticks of all cameras together."""

    captured: int
    encoded: int

    @property
    def share(self) -> float | None:
        """Encoded over captured, from 0 to 1; None when nothing was captured."""
        return self.encoded / self.captured if self.captured else None


def coverage(
    records: Iterable[Record],
    geometry: Geometry,
    *,
    encodings: int,
    ingest_dropped: Mapping[str, int],
    worker_dropped: Mapping[str, int],
) -> Coverage:
    """Count the ticks of a frames topic that no other worker reads.

    records: the whole topic, in offset order within each partition. encodings: how often the worker encoded a frame.
    ingest_dropped, worker_dropped: frames that each of them left out, by reason.
    """
    captured: set[tuple[str, int, int]] = set()
    partitions: dict[Partition, CameraStreams] = defaultdict(
        lambda: CameraStreams(geometry, 1.0, position=0, labels=-1)
    )
    counted = 0
    for record in records:
        stream = _decoded(record)
        if stream is None:
            continue
        if isinstance(stream, FrameRecord) and _used(stream, geometry):
            captured.add((stream.camera, stream.session, stream.tick))
        steps = partitions[record.source].take(record.offset, stream, None)
        counted += sum(isinstance(step, Arrived) and step.frame is not None for step in steps)
    unpublished = sum(ingest_dropped.get(reason, 0) for reason in UNPUBLISHED)
    left_out = sum(worker_dropped.get(reason, 0) for reason in UNENCODED)
    # Encodings repeat after a restart, and no record says which frames were shed: the smaller count decides.
    return Coverage(len(captured) + unpublished, max(0, min(encodings, counted - left_out)))


def _decoded(record: Record) -> StreamRecord | None:
    try:
        return decode_stream_record(record.key, record.value, record.headers)
    except BadRecordError:
        return None


def _used(frame: FrameRecord, geometry: Geometry) -> bool:
    """True when the bundle uses the frame's tick. At a rate that it cannot use, it misses every tick."""
    grid = geometry.grid(frame.rate)
    return grid is None or grid.is_item(frame.tick)
