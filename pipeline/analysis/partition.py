"""The analysis of one partition: its streams, the event machines of its cameras, and what to commit. Pure.

A batch passes in two stages: `take` turns records into steps, and `reach` says how far that went. Once the windows are
scored, `decide` lets the event machines act on the steps in the same order, and `pass_to` makes what was reached the
present of everything but the streams. `snapshot` is what to commit between two batches. So one thread may take the next
batch while another decides this one: the former has the streams, the latter everything else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from engines.contract import Embeddings, Items, Sequences
from pipeline.analysis import event_machine as machine
from pipeline.analysis.camera_streams import (
    Arrived,
    CameraStreams,
    Closed,
    Decoded,
    Frame,
    Geometry,
    Opened,
    Relabelled,
    Step,
    Tally,
)
from pipeline.analysis.event_machine import EventContext, Result, WindowScores
from pipeline.analysis.rewind import MOST_BAD, Committed, Pictures
from pipeline.analysis.sessions import Stream
from pipeline.analysis.thresholds import EventRules
from pipeline.analysis.windows import Window
from pipeline.errors import BadRecordError
from pipeline.records.events import ActionEvent, EndReason, Evidence, ModelReference
from pipeline.records.frames import LabelsMarker
from pipeline.records.state import CameraState, LabelStates
from pipeline.records.wire import Partition, Record


@dataclass(frozen=True, slots=True)
class Restored:
    """Where a partition goes on."""

    partition: Partition
    committed: Committed
    """P, R, s and v, with P and R inside the log."""
    cameras: Mapping[str, CameraState] = field(default_factory=dict)
    spoilt: Mapping[str, CameraState | None] = field(default_factory=dict)
    """Cameras whose newest state cannot be read, and the newest before it that can. They begin anew; events found open
    in that older one end as `lost`."""
    fresh: bool = False
    """Nothing was committed before. `committed` must be written before the first record, and events that are open in
    the state end as `lost`."""
    hole: int = 0
    """Records between P and the log's start: they expired before they were processed."""
    cut: int = 0
    """Records between the log's end and the committed P: the log lost them."""


Scores: TypeAlias = npt.NDArray[np.float32]
"""Probabilities, [m windows, L labels]."""


class LabelView(Protocol):
    """A version of the label set, embedded and ready to score with."""

    @property
    def version(self) -> int:
        """Offset in the control topic; -1: the empty set."""
        ...

    @property
    def compares(self) -> bool:
        """True where some label is taught by example, so that `score` needs the windows' sequences."""
        ...

    @property
    def by_items(self) -> bool:
        """True where the items of a window decide in place of its embedding, so that `score` needs them."""
        ...

    def score(
        self, head: Embeddings, pooled: Embeddings, sequences: Sequences | None = None, items: Items | None = None
    ) -> Scores:
        """Probability of every label in every window, [m, L].

        head and pooled are [m, D], sequences [m, T', D], items [m, T, D].
        """
        ...

    def rules(self, camera: str, rate: int) -> EventRules:
        """Thresholds of one camera in a deployment of this rate (ticks per second)."""
        ...


@dataclass(frozen=True, slots=True)
class Fired:
    """An event message and the offset of the record that caused it."""

    partition: Partition
    offset: int
    event: ActionEvent
    capture_ns: int | None = None
    """Capture time of the frame that caused it; None: a marker caused it."""


@dataclass(frozen=True, slots=True)
class Dead:
    """A record that cannot be used, and why."""

    record: Record
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a commit says about a partition."""

    committed: Committed
    changed: Mapping[str, CameraState | None]
    """Camera states that changed since the last snapshot; None: removed."""


@dataclass(frozen=True, slots=True)
class Reached:
    """How far the records of a partition were taken, and its streams by then."""

    position: int
    rewind: int
    labels: int
    pictures: Pictures | None
    streams: Mapping[str, Stream]
    warm: bool
    """What was rewound is read."""
    moved: bool
    """Records at or above P were among them."""


@dataclass(frozen=True, slots=True)
class Taken:
    """A step on its way through scoring."""

    offset: int
    step: Step
    label_view: LabelView
    """The labels in force at this record."""
    scored: list[Scores] = field(default_factory=list)
    """Scores of the step's windows, in order. The caller fills them in between `take` and `decide`."""

    @property
    def windows(self) -> list[Window[Frame]]:
        """The windows to score."""
        return [due for due in self.step.due if isinstance(due, Window)] if isinstance(self.step, Arrived) else []


class PartitionAnalysis:
    """Streams and event machines of one partition."""

    def __init__(
        self,
        restored: Restored,
        geometry: Geometry,
        rewind_seconds: float,
        model: ModelReference,
        tally: Tally,
        *,
        restarts: bool = False,
    ) -> None:
        """restarts: whoever commits tells `streams.committed`, so that items can outlive a restart."""
        at = restored.committed
        known = {} if restored.fresh else {name: _stream(state) for name, state in restored.cameras.items()}
        self.partition = restored.partition
        self.streams = CameraStreams(geometry, rewind_seconds, at.position, at.labels, known, tally)
        self.streams.committed = at.position if restarts else None
        if at.rewind == at.position:
            self.streams.settle()
        self.state_offset = at.state
        self._geometry = geometry
        self._model = model
        stale = restored.cameras if restored.fresh else {}
        self._leftovers: dict[str, CameraState | None] = {**stale, **restored.spoilt}
        self._written = {} if restored.fresh else dict(restored.cameras)
        self._labels: dict[str, LabelStates] = {
            name: machine.by_label(state.labels) for name, state in self._written.items()
        }
        self._touched: set[str] = set()
        self._moved = restored.fresh
        self._took = False
        """Records at or above P were taken since the last `reach`."""
        self._bad: list[int] = []
        """Offsets from R on of frames whose picture cannot be decoded."""
        self.reached = self.reach()
        """How far everything was decided."""

    @property
    def has_leftovers(self) -> bool:
        """True while cameras wait to be forgotten; what was rewound must be read first, so that R is right."""
        return bool(self._leftovers) and self.reached.warm

    def end_leftovers(self, label_view: LabelView) -> list[Fired]:
        """End as `lost` what is open of cameras that nobody knows enough about, and forget these cameras."""
        fired: list[Fired] = []
        for name, state in sorted(self._leftovers.items()):
            if state is not None:
                self._labels[name] = machine.by_label(state.labels)
                messages = self._finish(name, _stream(state), "lost", label_view)
                fired += [Fired(self.partition, self.reached.position, message) for message in messages]
            self._labels.pop(name, None)
            self._touched.add(name)
        self._leftovers.clear()
        self._moved = True
        return fired

    def take(
        self, records: Sequence[Decoded], label_views: Callable[[int], LabelView], dead: list[Dead]
    ) -> Iterator[Taken]:
        """Turn the next records into steps. A bad record goes to `dead`, except below P: it went there before."""
        for decoded in records:
            live = decoded.offset >= self.streams.position
            self._took |= live
            if isinstance(decoded.content, BadRecordError):
                self.streams.skip(decoded.offset)
                if decoded.content.reason == "jpeg":
                    self._bad.append(decoded.offset)
                if live and decoded.raw is not None:
                    dead.append(Dead(decoded.raw, decoded.content.reason, str(decoded.content)))
                continue
            content = decoded.content
            if live and isinstance(content, LabelsMarker) and content.version > self.streams.labels:
                # A version that was never written is replaced by one that exists. Otherwise its number, which may be
                # far too high, would outrank every later marker.
                content = LabelsMarker(label_views(content.version).version)
            for step in self.streams.take(decoded.offset, content, decoded.image, decoded.item):
                yield Taken(decoded.offset, step, label_views(self.streams.labels))

    def reach(self) -> Reached:
        """How far `take` has come since the last time."""
        streams, moved, rewind = self.streams, self._took, self.streams.rewind
        self._took = False
        self._bad = [offset for offset in self._bad if offset >= rewind]
        return Reached(
            streams.position,
            rewind,
            streams.labels,
            self._pictures(),
            dict(streams.streams()),
            warm=not streams.restored,
            moved=moved,
        )

    def _pictures(self) -> Pictures | None:
        geometry, bad = self._geometry, tuple(self._bad)
        if len(bad) > MOST_BAD:
            return None
        return Pictures(self.streams.pictured, geometry.frames, geometry.rate, geometry.spread, bad, geometry.history)

    def pass_to(self, reached: Reached) -> None:
        """Everything up to here is decided."""
        self.reached = reached
        self._moved |= reached.moved

    def decide(self, taken: Taken) -> list[Fired]:
        """Let the event machines act on one step."""
        match taken.step:
            case Opened(camera):
                self._keep(camera, {})
                self._touched.add(camera)
                return []
            case Arrived() as arrived:
                messages = self._judge(arrived, taken)
                return [Fired(self.partition, taken.offset, message, arrived.capture_ns) for message in messages]
            case Closed(camera, stream, cause, removed):
                messages = self._finish(camera, stream, cause, taken.label_view)
                self._touched.add(camera)
                if removed:
                    self._labels.pop(camera, None)
            case Relabelled(_, streams):
                messages = [
                    message
                    for camera in sorted(streams)
                    for message in self._relabel(camera, streams[camera], taken.label_view)
                ]
        return [Fired(self.partition, taken.offset, message) for message in messages]

    def shed(self, cameras: frozenset[str], label_view: LabelView) -> list[Fired]:
        """Stop analysing these cameras and resume all others; open events of the former end as `shed`.

        Everything that was taken must be decided.
        """
        added = cameras - self.streams.shed
        self.streams.shed = cameras
        fired: list[Fired] = []
        for camera, stream in sorted(self.streams.streams()):
            if camera in added and not stream.ended:
                messages = self._finish(camera, stream, "shed", label_view)
                fired += [Fired(self.partition, self.streams.position, message) for message in messages]
                self._moved |= bool(messages)
        return fired

    def snapshot(self) -> Snapshot | None:
        """What to commit, None where nothing moved since the last snapshot.

        The snapshot counts as written. If its transaction fails, the partition goes through the assignment step again.
        """
        if not self._moved:
            return None
        reached = self.reached
        changed = dict(self._changes())
        self._touched.clear()
        self._moved = False
        committed = Committed(reached.position, reached.rewind, self.state_offset, reached.labels, reached.pictures)
        return Snapshot(committed, changed)

    def placed(self, committed: Committed) -> Committed:
        """A snapshot's position, with the offset of the state records that were written for it."""
        return replace(committed, state=self.state_offset)

    def state(self, camera: str) -> CameraState | None:
        """The state of a camera as it stands; None: never seen or removed."""
        stream = self.reached.streams.get(camera)
        if stream is None:
            return None
        labels = machine.ordered(self._labels.get(camera, {}))
        return CameraState(camera, stream.session, stream.rate, stream.last_tick, stream.ended, labels, stream.opened)

    def _changes(self) -> Iterator[tuple[str, CameraState | None]]:
        for camera in sorted(self._touched):
            state, written = self.state(camera), self._written.pop(camera, None)
            if state is not None:
                self._written[camera] = state
            # A new last tick alone is no change: a restart learns it from the rewound frames.
            if state is None or written is None or replace(written, last_tick=state.last_tick) != state:
                yield camera, state

    def _judge(self, arrived: Arrived, taken: Taken) -> list[ActionEvent]:
        rules = self._rules(arrived.camera, arrived.rate, taken.label_view)
        context = self._context(arrived.camera, arrived.session, arrived.rate, taken.label_view)
        scores = iter(taken.scored)
        messages: list[ActionEvent] = []
        for due in arrived.due:
            before = self._labels.get(arrived.camera, {})
            if isinstance(due, Window):
                evidence = Evidence(self.partition.topic, self.partition.number, *due.offsets)
                after, sent = machine.advance(before, WindowScores(due.tick, next(scores), evidence), rules, context)
            elif before:
                after, sent = machine.pass_ticks(before, due[-1], rules, context)
            else:
                continue
            messages += sent
            self._keep(arrived.camera, after)
        return messages

    def _finish(self, camera: str, stream: Stream, reason: EndReason, label_view: LabelView) -> list[ActionEvent]:
        rules = self._rules(camera, stream.rate, label_view)
        context = self._context(camera, stream.session, stream.rate, label_view)
        return self._applied(camera, machine.finish(self._states(camera), reason, stream.last_tick, rules, context))

    def _relabel(self, camera: str, stream: Stream, label_view: LabelView) -> list[ActionEvent]:
        rules = self._rules(camera, stream.rate, label_view)
        context = self._context(camera, stream.session, stream.rate, label_view)
        return self._applied(camera, machine.relabel(self._states(camera), stream.last_tick, rules, context))

    def _rules(self, camera: str, rate: int, label_view: LabelView) -> EventRules:
        rules, grid = label_view.rules(camera, rate), self._geometry.grid(rate)
        return rules if grid is None or rules.step == grid.step else replace(rules, step=grid.step)

    def _states(self, camera: str) -> LabelStates:
        return self._labels.get(camera, {})

    def _applied(self, camera: str, result: Result) -> list[ActionEvent]:
        after, messages = result
        self._keep(camera, after)
        return messages

    def _keep(self, camera: str, states: LabelStates) -> None:
        if states != self._labels.get(camera):
            self._touched.add(camera)
            self._labels[camera] = states

    def _context(self, camera: str, session: int, rate: int, label_view: LabelView) -> EventContext:
        geometry = self._geometry
        return EventContext(
            camera, session, rate, self._model, label_view.version, geometry.frames, geometry.window_rate
        )


def _stream(state: CameraState) -> Stream:
    return Stream(state.session, state.rate, state.last_tick, state.ended, state.opened)
