"""One partition on the path: its streams, the event machines of its cameras, and what a commit says about it. Pure.

A batch passes in two stages: `take` turns records into steps, and once the windows were scored, `decide` lets
the event machines act on the steps in the same order. `snapshot` is what to commit between two batches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from engines.contract import Embeddings
from pipeline.analysis import event_machine as machine
from pipeline.analysis.camera_streams import (
    Arrived,
    Closed,
    Decoded,
    Frame,
    Geometry,
    Opened,
    Relabelled,
    Step,
    Streams,
    Tally,
)
from pipeline.analysis.event_machine import EventContext, Result, WindowScores
from pipeline.analysis.rewind import Committed
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
    """Nothing was committed before: `committed` must be written before the first record, and events found open in the
    state end as `lost`."""
    hole: int = 0
    """Records between P and the log's start that nobody processed: they expired first."""
    cut: int = 0
    """Records between the log's end and the P that was committed: the log has lost them."""


Scores: TypeAlias = npt.NDArray[np.float32]
"""Probabilities, [m windows, L labels]."""


class LabelView(Protocol):
    """A version of the label set, embedded and ready to score with."""

    @property
    def version(self) -> int:
        """Offset of the control topic; -1: the empty set."""
        ...

    def score(self, head: Embeddings, pooled: Embeddings) -> Scores:
        """Probabilities of every label for every window."""
        ...

    def rules(self, camera: str, rate: int) -> EventRules:
        """When a score becomes an event, for one camera in a deployment of this rate."""
        ...


@dataclass(frozen=True, slots=True)
class Fired:
    """An event message and the record that caused it."""

    partition: Partition
    offset: int
    event: ActionEvent
    capture_ns: int | None = None
    """Capture time of the frame that fired; None: a marker did."""


@dataclass(frozen=True, slots=True)
class Dead:
    """A record that cannot be used, and why."""

    record: Record
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a commit says about a partition: its position, and the camera states that changed; None: removed."""

    committed: Committed
    changed: Mapping[str, CameraState | None]


@dataclass(frozen=True, slots=True)
class Taken:
    """A step on its way through scoring."""

    offset: int
    step: Step
    view: LabelView
    """The labels in force at this record."""
    scored: list[Scores] = field(default_factory=list)
    """Scores of the windows of an arrival, in order, filled in between `take` and `decide`."""

    @property
    def windows(self) -> list[Window[Frame]]:
        """The windows to score."""
        return [due for due in self.step.due if isinstance(due, Window)] if isinstance(self.step, Arrived) else []


class Lane:
    """One partition on the path."""

    def __init__(
        self,
        restored: Restored,
        geometry: Geometry,
        rewind_seconds: float,
        model: ModelReference,
        tally: Tally,
    ) -> None:
        at = restored.committed
        known = {} if restored.fresh else {name: _stream(state) for name, state in restored.cameras.items()}
        self.partition = restored.partition
        self.streams = Streams(geometry, rewind_seconds, at.position, at.labels, known, tally)
        if at.rewind == at.position:
            self.streams.settle()
        self.state_offset = at.state
        self._geometry = geometry
        self._model = model
        stale = restored.cameras if restored.fresh else {}
        self._forsaken: dict[str, CameraState | None] = {**stale, **restored.spoilt}
        self._written = {} if restored.fresh else dict(restored.cameras)
        self._labels: dict[str, LabelStates] = {
            name: machine.by_label(state.labels) for name, state in self._written.items()
        }
        self._touched: set[str] = set()
        self._moved = restored.fresh

    @property
    def forsakes(self) -> bool:
        """True while cameras wait to be forgotten; what was rewound must be read first, so that R is right."""
        return bool(self._forsaken) and not self.streams.restored

    def forsake(self, view: LabelView) -> list[Fired]:
        """End as `lost` what is open of cameras that nobody knows enough about, and forget them."""
        fired: list[Fired] = []
        for name, state in sorted(self._forsaken.items()):
            if state is not None:
                self._labels[name] = machine.by_label(state.labels)
                messages = self._finish(name, _stream(state), "lost", view)
                fired += [Fired(self.partition, self.streams.position, message) for message in messages]
            self._labels.pop(name, None)
            self._touched.add(name)
        self._forsaken.clear()
        self._moved = True
        return fired

    def take(self, records: Sequence[Decoded], views: Callable[[int], LabelView], dead: list[Dead]) -> Iterator[Taken]:
        """Turn the next records into steps; bad ones go to `dead` unless they were dealt with before the restart."""
        for decoded in records:
            live = decoded.offset >= self.streams.position
            self._moved |= live
            if isinstance(decoded.content, BadRecordError):
                self.streams.skip(decoded.offset)
                if live and decoded.raw is not None:
                    dead.append(Dead(decoded.raw, decoded.content.reason, str(decoded.content)))
                continue
            content = decoded.content
            if live and isinstance(content, LabelsMarker) and content.version > self.streams.labels:
                # A set that was never written stands for one that exists: no later marker would count else.
                content = LabelsMarker(views(content.version).version)
            for step in self.streams.take(decoded.offset, content, decoded.image):
                yield Taken(decoded.offset, step, views(self.streams.labels))

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
                messages = self._finish(camera, stream, cause, taken.view)
                self._touched.add(camera)
                if removed:
                    self._labels.pop(camera, None)
            case Relabelled(_, streams):
                messages = [
                    message
                    for camera in sorted(streams)
                    for message in self._relabel(camera, streams[camera], taken.view)
                ]
        return [Fired(self.partition, taken.offset, message) for message in messages]

    def shed(self, cameras: frozenset[str], view: LabelView) -> list[Fired]:
        """Leave these cameras out from now on, and take all others back; open events of the former end as `shed`."""
        added = cameras - self.streams.shed
        self.streams.shed = cameras
        fired: list[Fired] = []
        for camera, stream in sorted(self.streams.streams()):
            if camera in added and not stream.ended:
                messages = self._finish(camera, stream, "shed", view)
                fired += [Fired(self.partition, self.streams.position, message) for message in messages]
                self._moved |= bool(messages)
        return fired

    def snapshot(self) -> Snapshot | None:
        """What to commit, None where nothing moved since the last snapshot.

        It counts as written: when its transaction fails, the partition goes through the assignment again.
        """
        if not self._moved:
            return None
        streams = self.streams
        changed = dict(self._changes())
        self._touched.clear()
        self._moved = False
        return Snapshot(Committed(streams.position, streams.rewind, self.state_offset, streams.labels), changed)

    def placed(self, committed: Committed) -> Committed:
        """A snapshot's position, with the offset of the state records that were written for it."""
        return replace(committed, state=self.state_offset)

    def state(self, camera: str) -> CameraState | None:
        """The state of a camera as it stands; None: never seen or removed."""
        stream = self.streams.stream(camera)
        if stream is None:
            return None
        labels = machine.ordered(self._labels.get(camera, {}))
        return CameraState(camera, stream.session, stream.rate, stream.last_tick, stream.ended, labels, stream.opened)

    def _changes(self) -> Iterator[tuple[str, CameraState | None]]:
        for camera in sorted(self._touched):
            state, written = self.state(camera), self._written.pop(camera, None)
            if state is not None:
                self._written[camera] = state
            # The last tick alone is no change: the rewound frames tell it.
            if state is None or written is None or replace(written, last_tick=state.last_tick) != state:
                yield camera, state

    def _judge(self, arrived: Arrived, taken: Taken) -> list[ActionEvent]:
        rules = self._rules(arrived.camera, arrived.rate, taken.view)
        context = self._context(arrived.camera, arrived.session, arrived.rate, taken.view)
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

    def _finish(self, camera: str, stream: Stream, reason: EndReason, view: LabelView) -> list[ActionEvent]:
        rules, context = (
            self._rules(camera, stream.rate, view),
            self._context(camera, stream.session, stream.rate, view),
        )
        return self._applied(camera, machine.finish(self._states(camera), reason, stream.last_tick, rules, context))

    def _relabel(self, camera: str, stream: Stream, view: LabelView) -> list[ActionEvent]:
        rules, context = (
            self._rules(camera, stream.rate, view),
            self._context(camera, stream.session, stream.rate, view),
        )
        return self._applied(camera, machine.relabel(self._states(camera), stream.last_tick, rules, context))

    def _rules(self, camera: str, rate: int, view: LabelView) -> EventRules:
        rules, grid = view.rules(camera, rate), self._geometry.grid(rate)
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

    def _context(self, camera: str, session: int, rate: int, view: LabelView) -> EventContext:
        geometry = self._geometry
        return EventContext(camera, session, rate, self._model, view.version, geometry.frames, geometry.window_rate)


def _stream(state: CameraState) -> Stream:
    return Stream(state.session, state.rate, state.last_tick, state.ended, state.opened)
