"""The assignment step: from the committed position of a partition to where its work continues (ARCHITECTURE 5).

A rebalance, a restart, an aborted transaction and a new engine all go through `restore`:

    1  read the committed {P, R, s, v}, and which pictures between R and P are needed (w, b)
    2  read the state partition up to and including offset s, committed records only
    3  move P and R into the log. Below the log's start: the records in between expired, which is reported as a hole.
       Above the log's end: the log lost records and others take their offsets, which is reported as a cut
    4  (poll thread) seek to R and hand the result to the inference thread

Nothing is decided without the state. A partition whose state cannot be read in time is left out, and the poll thread
tries again. A record that is no state costs its camera what is open there, and no other: see `_fold`. A log that lost
its end puts no event id at risk: the state contains every event that the lost records led to, and the analysis
continues from it.

`Retries` decides when a partition is tried again, for each partition separately. A partition whose state is missing
delays no other. If the broker does not answer a request for several partitions, its error does not name the ones that
have no leader. So they are tried in halves, until a partition without a leader is alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import structlog

from engines.strict_json import short
from pipeline.analysis.partition import Restored
from pipeline.analysis.rewind import NO_STATE, Committed
from pipeline.broker.contract import Broker, GroupConsumer
from pipeline.errors import BadRecordError, BrokerTimeout
from pipeline.records.state import CameraState, decode_state
from pipeline.records.wire import Partition, Record, camera_of
from pipeline.worker import fail_points
from pipeline.worker.handover import WorkerContext
from pipeline.worker.positions import decode_position

RESTORE_SECONDS = 8.0
SETTLE_SECONDS = 0.5
"""How long to wait for offset s if the state partition ends before it: its transaction may be ending just now."""

log = structlog.get_logger(__name__)


def restore(
    context: WorkerContext,
    consumer: GroupConsumer,
    partitions: Iterable[Partition],
    *,
    labels: int,
    seconds: float = RESTORE_SECONDS,
    cut: Mapping[Partition, int] | None = None,
) -> dict[Partition, Restored]:
    """Restore these partitions. One whose state cannot be read within `seconds` is absent from the result.

    labels: version of the label set for a partition without a committed position.
    cut: where the log of a partition ended when it was found to have lost its end, even if it has grown since.
    Raises BrokerTimeout, BrokerUnavailable.
    """
    wanted, monotonic = list(partitions), context.monotonic
    state_topic, start = context.settings.topics.name("state"), context.settings.worker.start
    deadline = monotonic() + seconds
    fail_points.reached("assign:1")
    positions = consumer.committed(wanted, seconds)
    bounds = consumer.bounds(wanted, max(0.1, deadline - monotonic()))
    for partition, at in (cut or {}).items():
        if partition in bounds:
            begin, end = bounds[partition]
            bounds[partition] = begin, max(begin, min(at, end))
    found: dict[Partition, Committed | None] = {}
    for partition in wanted:
        position = positions.get(partition)
        found[partition] = decode_position(position) if position else None
        if found[partition] is None and position is not None:
            begin, end = bounds[partition]  # a tool moved the group: start there, without any memory
            bounds[partition] = min(max(position.offset, begin), end), min(max(position.offset, begin), end)
    fail_points.reached("assign:2")
    until = {partition.number: committed.state if committed else None for partition, committed in found.items()}
    states = _read_states(context.broker, state_topic, until, deadline, monotonic)
    if left_out := {number: last for number, last in until.items() if number not in states}:
        log.warning(
            "the state of partitions is not there; they wait, the others go on",
            topic=state_topic,
            sought=left_out,
            remedy="a transaction that hangs must end; a topic that lost these offsets never has them again: see "
            "`A partition is not restored` in deploy/README.md",
        )
    fail_points.reached("assign:3")
    return {
        partition: _place(partition, found[partition], states[partition.number], bounds[partition], labels, start)
        for partition in wanted
        if partition.number in states
    }


@dataclass(slots=True)
class _States:
    """What a state partition says: the states of its cameras, and of those whose newest is no state the one before."""

    cameras: dict[str, CameraState] = field(default_factory=dict)
    spoilt: dict[str, CameraState | None] = field(default_factory=dict)


def _place(
    partition: Partition,
    committed: Committed | None,
    states: _States,
    bounds: tuple[int, int],
    labels: int,
    start: Literal["live", "begin"],
) -> Restored:
    begin, end = bounds
    if committed is None:
        position = end if start == "live" else begin
        at = Committed(position, position, NO_STATE, labels)
        return Restored(partition, at, states.cameras, states.spoilt, fresh=True)
    position = min(max(committed.position, begin), end)
    rewind = min(max(committed.rewind, begin), end)
    pictures = committed.pictures if position == committed.position else None  # other records may lie there now
    kept = Committed(position, rewind, committed.state, committed.labels, pictures)
    hole, cut = max(0, begin - committed.position), max(0, committed.position - end)
    return Restored(partition, kept, states.cameras, states.spoilt, hole=hole, cut=cut)


def _read_states(
    broker: Broker,
    topic: str,
    until: Mapping[int, int | None],
    deadline: float,
    monotonic: Callable[[], float],
) -> dict[int, _States]:
    """Camera states of each state partition, by its number, up to and including offset `until`; None: up to its end.

    A partition that cannot be read that far is absent.
    """
    sought = {Partition(topic, number): last for number, last in until.items() if last != NO_STATE}
    states = {number: _States() for number, last in until.items() if last == NO_STATE}
    if not sought:
        return states
    reader = broker.reader(sorted(sought), max(0.1, deadline - monotonic()))
    try:
        bounds = reader.bounds(max(0.1, deadline - monotonic()))
        upto = {one: bounds[one][1] if last is None else last + 1 for one, last in sought.items()}
        there = {one: min(offset, bounds[one][1]) for one, offset in upto.items()}
        read = {one: _States() for one in sought}
        settled = monotonic() + SETTLE_SECONDS
        while missing := _missing(positions := reader.positions(), upto):
            left = (deadline if _missing(positions, there) else min(deadline, settled)) - monotonic()
            if left <= 0:
                break
            for record in reader.read(min(0.5, max(0.01, left))):
                if record.offset < upto[record.source]:
                    _fold(read[record.source], record)
        return states | {one.number: read[one] for one in sought if one not in missing}
    except BrokerTimeout:
        return states
    finally:
        reader.close()


def _missing(positions: Mapping[Partition, int], upto: Mapping[Partition, int]) -> set[Partition]:
    return {one for one, offset in upto.items() if positions.get(one, 0) < offset}


def _fold(states: _States, record: Record) -> None:
    """Apply one record of the compacted topic: the newest of each key counts, an empty value removes the key.

    One that is no state spoils what is known of the camera of its key: the record before it is out of date, and nobody
    can read what took its place. The next one of that key heals it.
    """
    camera: str | None = None
    try:
        camera = camera_of(record.key)
        if record.value:
            states.cameras[camera] = decode_state(record.key, record.value)
        else:
            states.cameras.pop(camera, None)
        states.spoilt.pop(camera, None)
    except BadRecordError as error:
        if camera is not None:
            states.spoilt[camera] = states.cameras.pop(camera, states.spoilt.get(camera))
        log.error(
            "a record of the state topic cannot be read; its camera begins anew",
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            key=short(record.key),
            reason=str(error),
        )


_ALL = 1 << 12


@dataclass(slots=True)
class Retries:
    """Partitions whose restore failed, and when each is tried again: after `shortest` to `longest` seconds."""

    shortest: float
    longest: float
    _pauses: dict[Partition, float] = field(default_factory=dict)
    _at: dict[Partition, float] = field(default_factory=dict)
    _most: int = _ALL
    """How many partitions that failed before are tried together."""
    _not_before: float = float("-inf")
    """The broker failed to answer. Until this time only partitions that never failed are tried."""

    def due(self, partitions: Iterable[Partition], now: float) -> set[Partition]:
        """Partitions whose pause is over; one that never failed is due at once."""
        return {partition for partition in partitions if self._at.get(partition, now) <= now}

    def next(self, partitions: Iterable[Partition], now: float) -> set[Partition]:
        """Partitions to try together now: all that never failed, else some of the others, longest due first."""
        due = self.due(partitions, now)
        if fresh := {one for one in due if one not in self._at}:
            return fresh
        return set() if now < self._not_before else set(sorted(due, key=lambda one: (self._at[one], one))[: self._most])

    def pause(self, partitions: Iterable[Partition]) -> float:
        """The longest current pause among these, in seconds; 0: none of them failed."""
        return max((self._pauses.get(partition, 0.0) for partition in partitions), default=0.0)

    def missing(self, partitions: Iterable[Partition], now: float) -> None:
        """The state of these is missing: each pause is twice as long as the one before."""
        for partition in partitions:
            self._wait(partition, now, max(2 * self._pauses.get(partition, 0.0), self.shortest))

    def failed(self, partitions: Iterable[Partition], now: float, pause: float) -> None:
        """The broker did not answer: wait `pause` seconds, within the limits, then try at most half together."""
        tried = list(partitions)
        pause = min(max(pause, self.shortest), self.longest)
        self._most = max(1, len(tried) // 2)
        self._not_before = now + pause
        for partition in tried:
            self._wait(partition, now, pause)

    def restored(self, partition: Partition) -> None:
        """A restore succeeded: twice as many may be tried together."""
        self._most = min(2 * self._most, _ALL)
        self.forget([partition])

    def forget(self, partitions: Iterable[Partition]) -> None:
        """These are new or no longer owned: the next attempt is due at once."""
        for partition in partitions:
            self._pauses.pop(partition, None)
            self._at.pop(partition, None)

    def _wait(self, partition: Partition, now: float, pause: float) -> None:
        self._pauses[partition] = min(pause, self.longest)
        self._at[partition] = now + self._pauses[partition]
