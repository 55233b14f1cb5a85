"""The camera streams of one partition: what each record, in offset order, means for sessions and windows. Pure.

`take` turns a record into steps. Scoring and the event machines act on steps in exactly this order. All steps of a
record belong to its offset. Frames below P (`position`) make no steps: they refill the rings that a restart lost, and
none of them is encoded until a window needs it.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Literal, TypeAlias

from engines.contract import Images, Items, Memory
from pipeline.analysis.rewind import Trail, rewind
from pipeline.analysis.sessions import DROPPED, Stream, ends, judge
from pipeline.analysis.windows import Due, Grid, Ring, Slot
from pipeline.errors import BadRecordError
from pipeline.records.frames import (
    EndMarker,
    FrameRecord,
    LabelsMarker,
    StreamRecord,
)
from pipeline.records.wire import Record


@dataclass(frozen=True, slots=True)
class Decoded:
    """A decoded record, ready for analysis."""

    offset: int
    content: StreamRecord | BadRecordError
    image: Images | None = None
    """Pixels of a frame, RGB uint8 [H, W, 3]. None where there is an item, where the frame carries its JPEG until a
    window needs it, and where no window can need it."""
    item: Items | None = None
    """What the frame was encoded to before, where that was kept."""
    raw: Record | None = None
    """The record itself, kept only if it is bad."""
    appended_ms: int = 0
    """The broker's time stamp, wall time."""


EndCause: TypeAlias = Literal["session", "lost"]

_NEVER = -(2**63)


@dataclass(slots=True)
class Frame:
    """An accepted frame: its pixels or its JPEG until it is encoded, its item from then on."""

    record: FrameRecord
    image: Images | None
    item: Items | None = None
    memory: Memory | None = None
    """The buffers after it, of a model with memory, until those after the next frame take their place: each [...]."""

    @property
    def camera(self) -> str:
        """The camera that took it."""
        return self.record.camera


@dataclass(frozen=True, slots=True)
class Opened:
    """A session begins. If an older one was open, an earlier step has closed it."""

    camera: str
    session: int
    rate: int


@dataclass(frozen=True, slots=True)
class Arrived:
    """A frame, and the ticks that fell due with it."""

    camera: str
    session: int
    rate: int
    capture_ns: int
    frame: Frame | None
    """The frame to encode. None for one between two item ticks that only shows that due ticks passed without a
    window."""
    due: tuple[Due[Frame], ...]
    run: tuple[Frame, ...] = ()
    """Of a model with memory the frames up to this one, without a break, that the items of a window depend on."""


@dataclass(frozen=True, slots=True)
class Closed:
    """A session ends at its last tick. removed: nothing of the camera is kept."""

    camera: str
    stream: Stream
    """The stream when it ended."""
    cause: EndCause
    removed: bool = False


@dataclass(frozen=True, slots=True)
class Relabelled:
    """Another version of the label set is in force from here on."""

    version: int
    streams: Mapping[str, Stream]
    """Every camera's stream when the marker arrived."""


Step: TypeAlias = Opened | Arrived | Closed | Relabelled


@dataclass(frozen=True, slots=True)
class Geometry:
    """The window of a bundle: T frames at `rate` frames per second, one window every `stride` frames."""

    frames: int
    rate: int
    stride: int = 1
    spread: int = 1
    """Under overload only every `spread`-th item is used, so that a window spans `spread` times as long."""
    history: int = 0
    """Frames before its own that an item of a model with memory depends on."""

    @property
    def window_rate(self) -> float:
        """Frames per second inside a window."""
        return self.rate / self.spread

    def grid(self, rate: int) -> Grid | None:
        """The grid in a deployment of this rate; None if it is no multiple of the bundle's."""
        return _grid(self, rate) if rate % self.rate == 0 else None


@cache
def _grid(geometry: Geometry, rate: int) -> Grid:
    return Grid(geometry.frames, rate // geometry.rate * geometry.spread, geometry.stride)


@dataclass(slots=True)
class Tally:
    """Running totals for metrics, shared by all partitions of an analyser."""

    dropped: Counter[str] = field(default_factory=Counter)
    """Frames that did not count or were shed, by reason."""
    live_seconds: float = 0.0
    """Stream time of live cameras."""


@dataclass(slots=True)
class _Camera:
    stream: Stream
    ring: Ring[Frame]
    trail: Trail


@dataclass(slots=True)
class CameraStreams:
    """The cameras of one partition. restored: their streams at `position`, as the state recorded them."""

    geometry: Geometry
    rewind_seconds: float
    position: int
    """P while warming up, afterwards the offset of the next record."""
    labels: int
    """Version of the label set in force."""
    restored: Mapping[str, Stream] = field(default_factory=dict)
    tally: Tally = field(default_factory=Tally)
    shed: frozenset[str] = frozenset()
    """Cameras whose frames count but are not analysed."""
    active: set[str] = field(default_factory=set)
    """Cameras whose frames counted, analysed or not. The reader empties it."""
    committed: int | None = None
    """The last P that was committed; whoever commits keeps it up to date. None: nobody does, and nothing restarts."""
    _cameras: dict[str, _Camera] = field(default_factory=dict)
    _history: dict[str, deque[Slot[Frame]]] = field(default_factory=dict)
    """Frames of each camera that a restart at the committed P would need: everything since, and a window before."""

    def __post_init__(self) -> None:
        for camera, stream in self.restored.items():
            # Its last tick is unknown until the rewound frames show it.
            self._cameras[camera] = self._camera(replace(stream, last_tick=_NEVER))

    def take(self, offset: int, record: StreamRecord, image: Images | None, item: Items | None = None) -> list[Step]:
        """Take the next record. image: pixels of a frame. item: what it was encoded to before, where that was kept."""
        if offset < self.position:
            self._warm(offset, record, image, item)
            if offset + 1 == self.position:
                self.settle()
            return []
        self.settle()
        self.position = offset + 1
        match record:
            case FrameRecord():
                return self._frame(offset, record, image, item)
            case EndMarker():
                return self._end(record)
            case LabelsMarker():
                return self._relabel(record)

    def skip(self, offset: int) -> None:
        """Pass over a record that cannot be used."""
        if offset + 1 >= self.position:
            self.settle()
            self.position = offset + 1

    def settle(self) -> None:
        """End the warm-up: where the rewound frames did not show a stream's last tick, its state gives it."""
        for camera, known in self.restored.items():
            if (found := self._cameras.get(camera)) is not None:
                found.stream = replace(found.stream, last_tick=max(found.stream.last_tick, known.last_tick))
        self.restored = {}

    @property
    def rewind(self) -> int:
        """R: where a restart must begin to read."""
        watched = [one for one in self._cameras.values() if not one.stream.ended]
        # Where frames are missing, so many of them as a memory goes back may lie before the rewound seconds.
        behind = [one.ring.oldest for one in watched] if self.geometry.history else []
        return rewind(self.position, [*(one.trail.oldest for one in watched), *behind])

    @property
    def pictured(self) -> int:
        """W: the oldest frame that a window may need from here on."""
        held = (one.ring.oldest for one in self._cameras.values() if not one.stream.ended)
        return min((offset for offset in held if offset is not None), default=self.position)

    def encoded(self) -> dict[int, Frame]:
        """The frames that a restart at the committed P would need and that have their item, by offset.

        None of a model with memory: the buffers are rebuilt from pictures, and the items come with them.
        """
        if self.geometry.history:
            return {}
        slots = (slot for history in self._history.values() for slot in history)
        return {slot.offset: slot.item for slot in slots if slot.item.item is not None}

    def streams(self) -> Iterator[tuple[str, Stream]]:
        """Every camera and its stream."""
        return ((camera, found.stream) for camera, found in self._cameras.items())

    def stream(self, camera: str) -> Stream | None:
        """A camera's stream; None: never seen, or removed."""
        found = self._cameras.get(camera)
        return found.stream if found else None

    def _camera(self, stream: Stream) -> _Camera:
        # The bundle has no items at a rate that it cannot use, but the session must end like any other.
        grid = self.geometry.grid(stream.rate) or Grid(self.geometry.frames)
        reach = math.ceil(self.rewind_seconds * stream.rate)
        ring: Ring[Frame] = Ring(grid, stream.rate, self.geometry.history)
        return _Camera(stream, ring, Trail(reach, grid.multiple, grid.holds(stream.rate)))

    def _warm(self, offset: int, record: StreamRecord, image: Images | None, item: Items | None) -> None:
        if not isinstance(record, FrameRecord) or (found := self._cameras.get(record.camera)) is None:
            return
        # A late frame may reopen the very session that was removed. Frames before it stay forgotten.
        if offset < found.stream.opened:
            return
        if judge(found.stream, record.session, record.tick, record.rate) == "continues":
            self._accept(found, offset, record, image, item)

    def _frame(self, offset: int, record: FrameRecord, image: Images | None, item: Items | None) -> list[Step]:
        found = self._cameras.get(record.camera)
        usable = self.geometry.grid(record.rate) is not None
        verdict = judge(self.stream(record.camera), record.session, record.tick, record.rate) if usable else "rate"
        if verdict in DROPPED:
            self.tally.dropped[verdict] += 1
            return []
        self.active.add(record.camera)
        steps: list[Step] = []
        if found is None or verdict == "opens":
            if found is not None and not found.stream.ended:
                steps.append(Closed(record.camera, found.stream, "session"))
            begun = Stream(record.session, record.rate, _NEVER, opened=offset)
            found = self._cameras[record.camera] = self._camera(begun)
            steps.append(Opened(record.camera, record.session, record.rate))
        gone = record.tick - found.stream.last_tick if verdict == "continues" else 1
        self.tally.live_seconds += min(gone, record.rate) / record.rate
        arrived = self._accept(found, offset, record, image, item)
        return [*steps, arrived] if arrived else steps

    def _accept(
        self, found: _Camera, offset: int, record: FrameRecord, image: Images | None, item: Items | None
    ) -> Arrived | None:
        found.stream = replace(found.stream, last_tick=record.tick)
        found.trail.add(record.tick, offset)
        used = found.ring.grid.is_item(record.tick)
        if record.camera in self.shed:
            self.tally.dropped["shed"] += used
            return None
        frame = Frame(record, image, item) if used else None
        if frame is not None and self.committed is not None and not self.geometry.history:
            self._remember(offset, frame, self.committed)
        before = found.ring.run if frame and self.geometry.history else ()
        due = found.ring.push(record.tick, offset, frame) if frame else found.ring.lapse(record.tick)
        if frame is None and not due:
            return None
        run = _run(before, frame, found.ring) if frame and self.geometry.history else ()
        return Arrived(record.camera, record.session, record.rate, record.capture_ns, frame, tuple(due), run)

    def _remember(self, offset: int, frame: Frame, committed: int) -> None:
        history = self._history.setdefault(frame.camera, deque())
        history.append(Slot(offset, frame))
        while len(history) > self.geometry.frames and history[self.geometry.frames].offset < committed:
            history.popleft()

    def _end(self, marker: EndMarker) -> list[Step]:
        found = self._cameras.get(marker.camera)
        if found is None or not ends(found.stream, marker):
            return []
        removed = marker.reason == "removed"
        if removed:
            del self._cameras[marker.camera]
            self._history.pop(marker.camera, None)
        else:
            self._cameras[marker.camera] = self._camera(replace(found.stream, ended=True))
        cause: EndCause = "lost" if marker.reason == "lost" else "session"
        return [Closed(marker.camera, found.stream, cause, removed)]

    def _relabel(self, marker: LabelsMarker) -> list[Step]:
        if marker.version <= self.labels:
            return []
        self.labels = marker.version
        return [Relabelled(marker.version, dict(self.streams()))]


def _run(before: tuple[Frame, ...], frame: Frame, ring: Ring[Frame]) -> tuple[Frame, ...]:
    """The frames up to this one without a break, from those that the ring had before it was pushed.

    Several windows may fall due with it, and the first of them begins where the ring did before.
    """
    return (*before, frame) if len(ring.run) > 1 else (frame,)
