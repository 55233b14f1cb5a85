"""Items that outlive an abort or a swap: the frames in the rings are read again, but not decoded and encoded again.

    inference thread   abort or swap | keep what is encoded |
    poll thread                                             | reads from R on: of each frame, is its item kept?
                                                            | past the last of a partition: drop them

An item stands for a frame while everything that made it is the same: partition, offset and headers of the record, and
the engine, pixels to item (`Equipment.origin`). The events are those of a worker that encodes anew.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field

from engines.contract import Items
from pipeline.analysis.camera_streams import Frame
from pipeline.records.frames import FrameRecord
from pipeline.records.wire import Partition


@dataclass(slots=True)
class KeptItems:
    """The items of frames by partition and offset. Thread-safe."""

    _frames: dict[Partition, Mapping[int, Frame]] = field(default_factory=dict)
    _origin: object = None
    """What made them."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def keep(self, origin: object, partition: Partition, frames: Mapping[int, Frame]) -> None:
        """Keep the encoded ones of these frames, by offset; what another engine made is forgotten."""
        with self._lock:
            if origin != self._origin:
                self._frames, self._origin = {}, origin
            # A partition that was closed while it was warming up again has not read all of them.
            self._frames[partition] = {**self._frames.get(partition, {}), **frames}

    def only_of(self, origin: object) -> None:
        """Another engine is in use: forget everything, unless its items are the same."""
        with self._lock:
            if origin != self._origin:
                self._frames, self._origin = {}, origin

    def of(self, partition: Partition) -> Mapping[int, Frame]:
        """What is kept of a partition, by offset."""
        with self._lock:
            return self._frames.get(partition, {})

    def drop(self, partition: Partition) -> None:
        """Forget a partition: it was read past what is kept, or belongs to another worker."""
        with self._lock:
            self._frames.pop(partition, None)


def item_of(kept: Frame | None, record: FrameRecord) -> Items | None:
    """The item of a record, if this frame is the same: a log that lost its end has others at the same offsets."""
    return kept.item if kept is not None and kept.record == record else None
