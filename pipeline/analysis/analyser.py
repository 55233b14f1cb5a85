"""The path that every record takes, live or replayed: records -> items -> windows -> scores -> events.

    take      per partition, in offset order: which frames count, which windows fall due        (worker.lanes)
    encode    every frame that became an item, in one batch over all partitions                 (engine)
    embed     every window that fell due, in one batch over all partitions                      (engine)
    score     every window against the label set in force at its record                         (scoring)
    decide    per partition, in offset order: the event machines                                (worker.lanes)

Given an engine and label sets it is a pure function of the records: how they were cut into batches changes nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from engines.contract import Embeddings, Engine, Items
from pipeline.analysis.camera_streams import Arrived, Decoded, Frame, Geometry, Tally
from pipeline.analysis.partition import Dead, Fired, LabelView, Lane, Restored, Scores, Snapshot, Taken
from pipeline.analysis.windows import Window
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
    windows: int = 0
    """Windows scored."""
    seconds: float = 0.0
    """Stream time that they cover: from each window's due tick back to the one before."""
    captured_ns: list[tuple[Partition, int]] = field(default_factory=list)
    """Partition and capture time of every frame."""
    heard: dict[Partition, set[str]] = field(default_factory=dict)
    """Cameras whose frames counted, also those that were left out."""


@dataclass(frozen=True, slots=True)
class ScoredWindow:
    """One scored window, for whoever wants to look."""

    camera: str
    tick: int
    head: Embeddings
    pooled: Embeddings
    scores: Scores


class Path:
    """Partitions on their way from records to events. Not thread-safe."""

    def __init__(
        self,
        engine: Engine,
        geometry: Geometry,
        views: Callable[[int], LabelView],
        *,
        rewind_seconds: float,
        batch: int,
        observe: Callable[[ScoredWindow], None] | None = None,
        stage: Callable[[str], AbstractContextManager[None]] = lambda _: nullcontext(),
    ) -> None:
        self._engine = engine
        self.geometry = geometry
        self._views = views
        self._rewind_seconds = rewind_seconds
        self._batch = batch
        self._observe = observe
        self._stage = stage
        self._shed: frozenset[str] = frozenset()
        self.lanes: dict[Partition, Lane] = {}
        self.tally = Tally()

    def open(self, restored: Restored) -> list[Fired]:
        """Put a partition on the path where it was left; return the events that end as `lost` there."""
        info = self._engine.info
        model = ModelReference(info.bundle, info.name, info.version, info.space)
        lane = Lane(restored, self.geometry, self._rewind_seconds, model, self.tally)
        self.lanes[restored.partition] = lane
        return self._forsake([lane])

    def close(self, partition: Partition) -> None:
        """Take a partition off the path and forget everything about it."""
        self.lanes.pop(partition, None)

    def advance(self, batch: Mapping[Partition, Sequence[Decoded]]) -> Outcome:
        """Take the next records of some partitions, each in offset order, and decide everything that follows."""
        outcome = Outcome()
        lanes = [lane for partition in batch if (lane := self.lanes.get(partition)) is not None]
        taken = [(lane, one) for lane in lanes for one in lane.take(batch[lane.partition], self._views, outcome.dead)]
        windows = [(one, window) for _, one in taken for window in one.windows]
        arrived = [one.step for _, one in taken if isinstance(one.step, Arrived)]
        outcome.captured_ns = [
            (lane.partition, one.step.capture_ns) for lane, one in taken if isinstance(one.step, Arrived)
        ]
        behind = [slot.item for _, window in windows for slot in window.slots]
        outcome.frames = self._encode([*(step.frame for step in arrived if step.frame), *behind])
        outcome.windows = len(windows)
        outcome.seconds = sum(len(one.windows) * self._covered(one) for _, one in taken)
        for lane in lanes:
            if lane.streams.heard:
                outcome.heard[lane.partition], lane.streams.heard = lane.streams.heard, set()
        self._score(windows)
        with self._stage("decide"):
            outcome.fired = self._forsake(lanes)  # before their cameras begin anew
            outcome.fired += [fired for lane, one in taken for fired in lane.decide(one)]
            outcome.fired += self._leave_out(lane for lane in lanes if lane.streams.shed != self._shed)
        return outcome

    def shed(self, cameras: frozenset[str]) -> list[Fired]:
        """Analyse all cameras but these from now on; return what ends because of it.

        A partition that is warming up follows once it is warm: the events that its state has open must end too.
        """
        self._shed = cameras
        return self._leave_out(self.lanes.values())

    def snapshot(self, partitions: Iterable[Partition]) -> dict[Partition, Snapshot]:
        """What a commit must say about those of the partitions that moved since their last snapshot."""
        lanes = ((partition, self.lanes.get(partition)) for partition in partitions)
        return {one: taken for one, lane in lanes if lane is not None and (taken := lane.snapshot()) is not None}

    def _forsake(self, lanes: Iterable[Lane]) -> list[Fired]:
        due = [lane for lane in lanes if lane.forsakes]
        return [fired for lane in due for fired in lane.forsake(self._views(lane.streams.labels))]

    def _leave_out(self, lanes: Iterable[Lane]) -> list[Fired]:
        warm = [lane for lane in lanes if not lane.streams.restored]
        return [fired for lane in warm for fired in lane.shed(self._shed, self._views(lane.streams.labels))]

    def _covered(self, one: Taken) -> float:
        grid = self.geometry.grid(one.step.rate) if isinstance(one.step, Arrived) else None
        return grid.step / one.step.rate if grid and isinstance(one.step, Arrived) else 0.0

    def _encode(self, frames: Sequence[Frame]) -> dict[str, int]:
        """Encode the frames that have no item yet; return how many that were, by camera."""
        pending = list({id(frame): frame for frame in frames if frame.item is None}.values())
        for some in _chunks(pending, self._batch):
            with self._stage("encode"):
                items, _ = self._engine.encode(np.stack([frame.image for frame in some if frame.image is not None]))
            for frame, item in zip(some, items, strict=True):
                frame.item, frame.image = item.copy(), None
        return Counter(frame.camera for frame in pending)

    def _score(self, windows: Sequence[tuple[Taken, Window[Frame]]]) -> None:
        """Embed all windows and score each against the labels in force at its record."""
        for some in _chunks(windows, self._batch):
            with self._stage("embed"):
                head, pooled = self._engine.embed(_stacked([window for _, window in some]))
            with self._stage("score"):
                for view in {one.view.version: one.view for one, _ in some}.values():
                    rows = [row for row, (one, _) in enumerate(some) if one.view.version == view.version]
                    for row, scores in zip(rows, view.score(head[rows], pooled[rows]), strict=True):
                        self._hand(*some[row], head[row], pooled[row], scores)

    def _hand(self, one: Taken, window: Window[Frame], head: Embeddings, pooled: Embeddings, scores: Scores) -> None:
        one.scored.append(scores)
        if self._observe is not None and isinstance(one.step, Arrived):
            self._observe(ScoredWindow(one.step.camera, window.tick, head, pooled, scores))


def _stacked(windows: Sequence[Window[Frame]]) -> Items:
    """Windows as one array [m, T, ...], oldest item first."""
    items = [[slot.item.item for slot in window.slots] for window in windows]
    return np.array(items)


def _chunks(work: Sequence[Work], size: int) -> Iterator[Sequence[Work]]:
    return (work[begin : begin + size] for begin in range(0, len(work), size))
