"""Cameras that send without end, on the worker's path in one thread and without a broker.

    JPEG -> pixels -> items -> windows -> scores -> events -> snapshot

What labels, cameras and memory cost is measured on it. What it leaves out costs the same whatever their number: polls,
hand-overs between threads, transactions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import count

from pipeline.analysis.analyser import Analyser, Outcome
from pipeline.analysis.camera_streams import Decoded
from pipeline.analysis.partition import LabelView, Restored
from pipeline.analysis.rewind import NO_STATE, Committed
from pipeline.analysis.ticks import tick_ns
from pipeline.records.frames import FrameRecord, LabelsMarker
from pipeline.records.jpeg import encode_jpeg
from pipeline.records.state import CameraState
from pipeline.records.wire import Partition
from pipeline.worker.model import Model

PARTITIONS = 64
COMMIT_BATCHES = 64
"""Batches between two snapshots: about a second of a worker that is busy."""
_SESSION = 1
_REWIND_SECONDS = 20.0


class Streams:
    """Some cameras in front of a model. Each sends its pictures in turn, one at every tick of the bundle."""

    def __init__(self, model: Model, labels: LabelView, cameras: int, *, batch: int = 16) -> None:
        """labels: in force from the start, and until `relabel`. batch: frames of one `run`."""
        self._model, self._cameras, self._batch, self._labels = model, cameras, batch, labels
        self._rate = model.geometry.rate
        self._jpegs = tuple(encode_jpeg(image) for image in model.bundle.golden().images)
        self._views = {labels.version: labels}
        self._analyser = Analyser(
            model.engine,
            model.geometry,
            self._views.__getitem__,
            rewind_seconds=_REWIND_SECONDS,
            batch=batch,
            restarts=True,
            prepare=model.prepare,
        )
        self._rewound = 0
        self._offsets: dict[Partition, int] = {}
        self._frames = ((tick, camera) for tick in count() for camera in range(cameras))
        self._batches = 0

    def open(self, *, rewound: int = 0) -> None:
        """Begin with every partition. rewound: frames of each camera that are read again, below what was committed."""
        self._rewound = rewound
        for number in range(min(PARTITIONS, self._cameras)):
            partition = Partition("frames", number)
            names = [_name(camera) for camera in range(number, self._cameras, PARTITIONS)]
            known = {name: CameraState(name, _SESSION, self._rate, rewound - 1, False, ()) for name in names}
            position = rewound * len(names)
            committed = Committed(position, 0, NO_STATE, self._labels.version)
            self._analyser.open(Restored(partition, committed, known if rewound else {}))
            self._offsets[partition] = 0

    def run(self) -> Outcome:
        """Send the next batch of frames, and decide everything that follows."""
        records: dict[Partition, list[Decoded]] = {}
        for _ in range(self._batch):
            tick, camera = next(self._frames)
            partition = Partition("frames", camera % PARTITIONS)
            records.setdefault(partition, []).append(self._decoded(partition, tick, camera))
        outcome = self._analyser.advance(records)
        self._batches += 1
        if self._batches % COMMIT_BATCHES == 0:
            self.commit()
        return outcome

    def warm_up(self) -> None:
        """Send frames until every camera's ring is full and a commit was made."""
        frames = self._cameras * self._model.geometry.frames
        for _ in range(-(-frames // self._batch)):
            self.run()
        self.commit()

    def relabel(self, labels: LabelView) -> Outcome:
        """Put another set in force, by a marker in every partition."""
        self._views[labels.version] = labels
        markers: dict[Partition, Sequence[Decoded]] = {
            partition: [Decoded(self._offset(partition), LabelsMarker(labels.version))] for partition in self._offsets
        }
        return self._analyser.advance(markers)

    def commit(self) -> None:
        """What a commit does here: ask for what must be written, and go on from there."""
        for partition, snapshot in self._analyser.snapshot(self._offsets).items():
            self._analyser.partitions[partition].streams.committed = snapshot.committed.position

    def _decoded(self, partition: Partition, tick: int, camera: int) -> Decoded:
        name, jpeg = _name(camera), self._jpegs[(tick + camera) % len(self._jpegs)]
        captured = tick_ns(tick, self._rate, name)
        image = self._model.prepare(jpeg)
        height, width, _ = image.shape
        frame = FrameRecord(name, _SESSION, tick, tick, self._rate, captured, "arrival", width, height, b"")
        if tick < self._rewound:  # as `decode_again` leaves it: the bytes of its own record, until a window needs it
            return Decoded(self._offset(partition), replace(frame, jpeg=bytes(bytearray(jpeg))))
        return Decoded(self._offset(partition), frame, image)

    def _offset(self, partition: Partition) -> int:
        offset = self._offsets[partition]
        self._offsets[partition] = offset + 1
        return offset


def _name(camera: int) -> str:
    return f"camera-{camera:04}"
