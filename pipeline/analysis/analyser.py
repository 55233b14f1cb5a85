"""Analyses records, live or replayed, on the one path that exists: records -> items -> windows -> scores -> events.

    take      per partition, in offset order: which frames count, which windows fall due        (partition)
    encode    every frame that became an item, in one batch over all partitions; a model with
              memory takes one frame per camera and call, in order                              (engine)
    embed     every window that fell due, in one batch over all partitions                      (engine)
    score     every window against the label set in force at its record                         (scoring)
    decide    per partition, in offset order: the event machines                                (partition)

`prepare` has the first three and `conclude` the others, so that two threads can work on two batches in a row.

Given an engine and label sets, the events are a pure function of the records. How the records were cut into batches
changes nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import TypeAlias, TypeVar

import numpy as np

from engines.contract import Embeddings, Engine, Images, Items, Sequences
from pipeline.analysis.camera_streams import Arrived, Decoded, Frame, Geometry, Tally
from pipeline.analysis.memory import Turn, in_waves, turns
from pipeline.analysis.partition import (
    Dead,
    Fired,
    LabelView,
    PartitionAnalysis,
    Reached,
    Restored,
    Scores,
    Snapshot,
    Taken,
)
from pipeline.analysis.windows import Window
from pipeline.errors import ContractError
from pipeline.records.events import ModelReference
from pipeline.records.wire import Partition

Work = TypeVar("Work")


@dataclass(slots=True)
class Outcome:
    """What a batch led to."""

    fired: list[Fired] = field(default_factory=list)
    dead: list[Dead] = field(default_factory=list)
    frames: dict[str, int] = field(default_factory=dict)
    """Frames encoded, by camera."""
    scored: Counter[str] = field(default_factory=Counter)
    """Windows scored, by camera."""
    seconds: float = 0.0
    """Stream time that the windows cover: each counts from the due tick before its own."""
    captured_ns: list[tuple[Partition, int]] = field(default_factory=list)
    """Partition and capture time of every frame."""
    active: dict[Partition, set[str]] = field(default_factory=dict)
    """Cameras whose frames counted, shed cameras included."""

    @property
    def windows(self) -> int:
        """Windows scored."""
        return self.scored.total()


Due: TypeAlias = Sequence[tuple[Taken, Window[Frame]]]
"""Windows to score, each with the step that it belongs to."""


@dataclass(frozen=True, slots=True)
class Embedded:
    """Windows that were embedded together. Arrays: head and pooled [m, D], sequences [m, T', D]."""

    windows: Due
    head: Embeddings
    pooled: Embeddings
    sequences: Sequences | None
    """None where no label in force at them is taught by example."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A batch between its two halves: taken, encoded and embedded, neither scored nor decided."""

    outcome: Outcome
    """What is known of it: all but `fired`."""
    taken: list[tuple[PartitionAnalysis, Taken]]
    reached: list[tuple[PartitionAnalysis, Reached]]
    """How far each partition of the batch was taken."""
    embedded: list[Embedded]


@dataclass(frozen=True, slots=True)
class ScoredWindow:
    """One scored window, as an observer sees it. Arrays: head and pooled [D], scores [L], items [T, D]."""

    camera: str
    tick: int
    head: Embeddings
    pooled: Embeddings
    scores: Scores
    items: Items | None = None
    """Where they decided in place of the embeddings."""


class Analyser:
    """Turns the records of open partitions into events. Not thread-safe.

    label_views: the embedded label set of a version. rewind_seconds: how much of a stream a restart reads again.
    batch: most frames or windows per call of the engine. restarts: what a restart would need stays (`encoded`).
    prepare: JPEG and the shape of its pixels to the engine's input, for frames that carry their JPEG.
    observe: called with every scored window. stage: context manager around each stage, by its name, for timing.
    """

    def __init__(
        self,
        engine: Engine,
        geometry: Geometry,
        label_views: Callable[[int], LabelView],
        *,
        rewind_seconds: float,
        batch: int,
        restarts: bool = False,
        prepare: Callable[[bytes, float], Images] | None = None,
        observe: Callable[[ScoredWindow], None] | None = None,
        stage: Callable[[str], AbstractContextManager[None]] = lambda _: nullcontext(),
    ) -> None:
        self._engine = engine
        self.geometry = geometry
        self._label_views = label_views
        self._rewind_seconds = rewind_seconds
        self._batch = batch
        self._restarts, self._prepare = restarts, prepare
        self._observe = observe
        self._stage = stage
        self._shed: frozenset[str] = frozenset()
        self.partitions: dict[Partition, PartitionAnalysis] = {}
        self.tally = Tally()

    def open(self, restored: Restored) -> list[Fired]:
        """Begin with a partition where it was left; return the events that end as `lost` there."""
        info = self._engine.info
        model = ModelReference(info.bundle, info.name, info.version, info.space)
        analysis = PartitionAnalysis(
            restored, self.geometry, self._rewind_seconds, model, self.tally, restarts=self._restarts
        )
        self.partitions[restored.partition] = analysis
        return self._end_leftovers([analysis])

    def close(self, partition: Partition) -> None:
        """Forget everything about a partition."""
        self.partitions.pop(partition, None)

    def encoded(self, partition: Partition) -> dict[int, Frame]:
        """The encoded frames that a restart of an open partition would need, by offset."""
        found = self.partitions.get(partition)
        return found.streams.encoded() if found else {}

    def advance(self, batch: Mapping[Partition, Sequence[Decoded]]) -> Outcome:
        """Take the next records of some partitions, each in offset order, and decide everything that follows.

        Records of a partition that is not open are ignored.
        """
        outcome = self.conclude(self.prepare(batch))
        outcome.fired += self.shed_late()
        return outcome

    def prepare(self, batch: Mapping[Partition, Sequence[Decoded]]) -> Prepared:
        """Take the next records of some partitions, encode what became an item, and embed the windows that fell due.

        To be concluded in the order of preparation, by whatever thread.
        """
        outcome = Outcome()
        batched = [analysis for one in batch if (analysis := self.partitions.get(one)) is not None]
        taken = [
            (analysis, one)
            for analysis in batched
            for one in analysis.take(batch[analysis.partition], self._label_views, outcome.dead)
        ]
        reached = [(analysis, analysis.reach()) for analysis in batched]
        windows = [(one, window) for _, one in taken for window in one.windows]
        arrived = [(analysis.partition, one.step) for analysis, one in taken if isinstance(one.step, Arrived)]
        outcome.captured_ns = [(partition, step.capture_ns) for partition, step in arrived]
        behind = [slot.item for _, window in windows for slot in window.slots]
        pending = _without_item([*(step.frame for _, step in arrived if step.frame), *behind])
        if self._engine.info.history:
            self._encode_in_turn(pending, [step for _, step in arrived])
        else:
            self._encode(pending)
        outcome.frames = Counter(frame.camera for frame in pending)
        outcome.scored = Counter(one.step.camera for one, _ in windows if isinstance(one.step, Arrived))
        outcome.seconds = sum(len(one.windows) * self._covered(one) for _, one in taken)
        for analysis in batched:
            if analysis.streams.active:
                outcome.active[analysis.partition], analysis.streams.active = analysis.streams.active, set()
        return Prepared(outcome, taken, reached, self._embed(windows))

    def conclude(self, prepared: Prepared) -> Outcome:
        """Score the windows of a prepared batch and let the event machines act on all of its steps."""
        outcome = prepared.outcome
        for embedded in prepared.embedded:
            self._score(embedded)
        with self._stage("decide"):
            for analysis, reached in prepared.reached:
                analysis.pass_to(reached)
            outcome.fired = self._end_leftovers(analysis for analysis, _ in prepared.reached)  # before they begin anew
            outcome.fired += [fired for analysis, one in prepared.taken for fired in analysis.decide(one)]
        return outcome

    def shed(self, cameras: frozenset[str]) -> list[Fired]:
        """Analyse all cameras but these from now on; return the events that end because of it.

        A partition that is warming up follows once it is warm (`shed_late`): events that are open in its state must end
        too. Everything that was prepared must be concluded, in `shed_late` as well.
        """
        self._shed = cameras
        return self.shed_late()

    @property
    def late_to_shed(self) -> bool:
        """True while a warm partition analyses other cameras than it should."""
        return any(map(self._is_late, self.partitions.values()))

    def shed_late(self) -> list[Fired]:
        """Have such partitions follow; return the events that end because of it."""
        late = [one for one in self.partitions.values() if self._is_late(one)]
        return [fired for one in late for fired in one.shed(self._shed, self._label_views(one.reached.labels))]

    def _is_late(self, one: PartitionAnalysis) -> bool:
        return one.streams.shed != self._shed and not one.streams.restored

    def present(self) -> set[str]:
        """Cameras whose session goes on, as far as everything is decided."""
        streams = (pair for one in self.partitions.values() for pair in one.reached.streams.items())
        return {camera for camera, stream in streams if not stream.ended}

    def snapshot(self, partitions: Iterable[Partition]) -> dict[Partition, Snapshot]:
        """What a commit must say about those of the partitions that moved since their last snapshot."""
        found = ((one, self.partitions.get(one)) for one in partitions)
        return {one: taken for one, analysis in found if analysis is not None and (taken := analysis.snapshot())}

    def _end_leftovers(self, partitions: Iterable[PartitionAnalysis]) -> list[Fired]:
        due = [one for one in partitions if one.has_leftovers]
        return [fired for one in due for fired in one.end_leftovers(self._label_views(one.reached.labels))]

    def _covered(self, one: Taken) -> float:
        """Stream time in seconds that one window of this step covers."""
        grid = self.geometry.grid(one.step.rate) if isinstance(one.step, Arrived) else None
        return grid.step / one.step.rate if grid and isinstance(one.step, Arrived) else 0.0

    def _encode(self, pending: Sequence[Frame]) -> None:
        """Encode frames, whichever cameras they are of, in one call after the other."""
        for some in _chunks(pending, self._batch):
            with self._stage("encode"):
                items, _ = self._engine.encode(np.stack([self._picture(frame) for frame in some]))
            for frame, item in zip(some, items, strict=True):
                _take_item(frame, item)

    def _encode_in_turn(self, pending: Sequence[Frame], arrived: Sequence[Arrived]) -> None:
        """Encode frames of a model with memory: each after the one before it, one frame per camera and call."""
        wanted, planned = set(map(id, pending)), set[int]()
        cameras: dict[tuple[str, int], list[Turn]] = {}
        for step in arrived:
            due = turns(step.run, wanted, planned, self._engine.info.history)
            planned |= {id(turn.frame) for turn in due}
            cameras.setdefault((step.camera, step.session), []).extend(due)
        for wave in in_waves(cameras.values()):
            for some in _chunks(wave, self._batch):
                self._encode_wave(some)

    def _encode_wave(self, some: Sequence[Turn]) -> None:
        nothing = tuple(np.zeros(shape, np.float32) for shape in self._engine.info.memory)
        before = [turn.before.memory or nothing if turn.before else nothing for turn in some]
        given = tuple(np.stack(buffers) for buffers in zip(*before, strict=True))
        with self._stage("encode"):
            items, after = self._engine.encode(np.stack([self._picture(turn.frame) for turn in some]), given)
        for row, turn in enumerate(some):
            if turn.before is not None:
                turn.before.memory = None
            turn.frame.memory = tuple(buffer[row].copy() for buffer in after or ())
            if turn.exact and turn.frame.item is None:
                _take_item(turn.frame, items[row])

    def _picture(self, frame: Frame) -> Images:
        if frame.image is not None:
            return frame.image
        if not frame.record.jpeg or self._prepare is None:
            raise ContractError(
                f"a window needs tick {frame.record.tick} of {frame.camera}, of which only headers were read"
            )
        return self._prepare(frame.record.jpeg, frame.record.pixel)

    def _embed(self, windows: Due) -> list[Embedded]:
        """Embed all windows."""
        embedded = []
        for some in _chunks(windows, self._batch):
            stacked = _stacked([window for _, window in some])
            with self._stage("embed"):
                if any(one.label_view.compares for one, _ in some):
                    embedded.append(Embedded(some, *self._engine.embed_sequences(stacked)))
                else:
                    embedded.append(Embedded(some, *self._engine.embed(stacked), None))
        return embedded

    def _score(self, embedded: Embedded) -> None:
        """Score each window against the labels in force at its record."""
        windows, head, pooled, sequences = embedded.windows, embedded.head, embedded.pooled, embedded.sequences
        with self._stage("score"):
            for label_view in {one.label_view.version: one.label_view for one, _ in windows}.values():
                rows = [row for row, (one, _) in enumerate(windows) if one.label_view.version == label_view.version]
                compared = sequences[rows] if sequences is not None and label_view.compares else None
                items = _stacked([windows[row][1] for row in rows]) if label_view.by_items else None
                scored = label_view.score(head[rows], pooled[rows], compared, items)
                for place, (row, scores) in enumerate(zip(rows, scored, strict=True)):
                    seen = None if items is None else items[place]
                    self._hand(*windows[row], head[row], pooled[row], scores, seen)

    def _hand(
        self,
        one: Taken,
        window: Window[Frame],
        head: Embeddings,
        pooled: Embeddings,
        scores: Scores,
        items: Items | None,
    ) -> None:
        one.scored.append(scores)
        if self._observe is not None and isinstance(one.step, Arrived):
            self._observe(ScoredWindow(one.step.camera, window.tick, head, pooled, scores, items))


def _without_item(frames: Iterable[Frame]) -> list[Frame]:
    """Those that are not encoded yet, each once."""
    return list({id(frame): frame for frame in frames if frame.item is None}.values())


def _take_item(frame: Frame, item: Items) -> None:
    """The frame is encoded; its pixels are of no more use."""
    frame.item, frame.image, frame.record = item.copy(), None, replace(frame.record, jpeg=b"")


def _stacked(windows: Sequence[Window[Frame]]) -> Items:
    """Windows as one array [m, T, ...], oldest item first."""
    items = [[slot.item.item for slot in window.slots] for window in windows]
    return np.array(items)


def _chunks(work: Sequence[Work], size: int) -> Iterator[Sequence[Work]]:
    return (work[begin : begin + size] for begin in range(0, len(work), size))
