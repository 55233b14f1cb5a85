"""The assignment step: from a partition's committed position to where work goes on (ARCHITECTURE 5).

A rebalance, a restart, an aborted transaction and a new engine all go through `restore`:

    1  read the committed {P, R, s, v}
    2  read the state partition, committed records only, until past s; what is not there in time is tried again
    3  R below the log's start becomes the log's start; P below it too, and the hole is reported
    (the poll loop then seeks to R and hands the result to the inference thread)

Nothing is decided from what could not be read: a partition whose state is not there in time is left out, and the poll
loop tries again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from pipeline.broker.contract import Broker, GroupConsumer, Reader
from pipeline.errors import BrokerTimeout
from pipeline.offsets import NO_STATE, Committed, decode_position
from pipeline.records.state import CameraState, decode_state
from pipeline.records.wire import Partition, Record

RESTORE_SECONDS = 8.0


@dataclass(frozen=True, slots=True)
class Restored:
    """Where a partition goes on."""

    partition: Partition
    committed: Committed
    """P, R, s and v, with P and R inside the log."""
    cameras: Mapping[str, CameraState] = field(default_factory=dict)
    fresh: bool = False
    """Nothing was committed before: `committed` must be written before the first record, and events found open in the
    state end as `lost`."""
    hole: int = 0
    """Records between P and the log's start that nobody processed: they expired first."""


def restore(
    broker: Broker,
    consumer: GroupConsumer,
    partitions: Iterable[Partition],
    *,
    state_topic: str,
    labels: int,
    start: Literal["live", "begin"],
    monotonic: Callable[[], float],
    fail: Callable[[str], None],
    seconds: float = RESTORE_SECONDS,
) -> dict[Partition, Restored]:
    """Restore these partitions; those whose state could not be read in time are absent from the result.

    labels: version of the label set that a partition without a committed position starts with.
    Raises BrokerTimeout, BrokerUnavailable.
    """
    wanted = list(partitions)
    deadline = monotonic() + seconds
    fail("assign:1")
    positions = consumer.committed(wanted, seconds)
    bounds = consumer.bounds(wanted, max(0.1, deadline - monotonic()))
    found: dict[Partition, Committed | None] = {}
    for partition in wanted:
        position = positions.get(partition)
        found[partition] = decode_position(position) if position else None
        if found[partition] is None and position is not None:
            begin, end = bounds[partition]  # a tool moved the group: go on there, with nothing remembered
            bounds[partition] = min(max(position.offset, begin), end), min(max(position.offset, begin), end)
    fail("assign:2")
    until = {partition.number: committed.state if committed else None for partition, committed in found.items()}
    states = _read_states(broker, state_topic, until, deadline, monotonic)
    fail("assign:3")
    return {
        partition: _place(partition, found[partition], states[partition.number], bounds[partition], labels, start)
        for partition in wanted
        if partition.number in states
    }


def _place(
    partition: Partition,
    committed: Committed | None,
    cameras: Mapping[str, CameraState],
    bounds: tuple[int, int],
    labels: int,
    start: Literal["live", "begin"],
) -> Restored:
    begin, end = bounds
    if committed is None:
        position = end if start == "live" else begin
        return Restored(partition, Committed(position, position, NO_STATE, labels), cameras, fresh=True)
    position = max(committed.position, begin)
    rewind = max(committed.rewind, begin)
    kept = Committed(position, rewind, committed.state, committed.labels)
    return Restored(partition, kept, cameras, hole=position - committed.position)


def _read_states(
    broker: Broker,
    topic: str,
    until: Mapping[int, int | None],
    deadline: float,
    monotonic: Callable[[], float],
) -> dict[int, dict[str, CameraState]]:
    """Camera states of each state partition up to and including offset `until`; None: up to its end."""
    sought = {Partition(topic, number): last for number, last in until.items() if last != NO_STATE}
    states: dict[int, dict[str, CameraState]] = {number: {} for number, last in until.items() if last == NO_STATE}
    if not sought:
        return states
    reader = broker.reader(sorted(sought))
    try:
        bounds = reader.bounds(max(0.1, deadline - monotonic()))
        upto = {one: bounds[one][1] if last is None else last + 1 for one, last in sought.items()}
        read: dict[Partition, dict[str, CameraState]] = {one: {} for one in sought}
        while (missing := _missing(reader, upto)) and monotonic() < deadline:
            for record in reader.read(min(0.5, max(0.01, deadline - monotonic()))):
                if record.offset < upto[record.source]:
                    _fold(read[record.source], record)
        return states | {one.number: read[one] for one in sought if one not in missing}
    except BrokerTimeout:
        return states
    finally:
        reader.close()


def _missing(reader: Reader, upto: Mapping[Partition, int]) -> set[Partition]:
    positions = reader.positions()
    return {one for one, offset in upto.items() if positions.get(one, 0) < offset}


def _fold(states: dict[str, CameraState], record: Record) -> None:
    """Apply one record of a compacted topic: the newest of each key counts, an empty value removes it."""
    camera = (record.key or b"").decode()
    if record.value:
        states[camera] = decode_state(record.value)
    else:
        states.pop(camera, None)
