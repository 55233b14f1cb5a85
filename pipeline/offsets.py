"""Positions of a partition: P, the rewind R, what a commit says about them, and epochs (ARCHITECTURE 5).

P is the offset of the next record to process. R is where reading starts after a restart: far enough back that every
ring can be filled again before P. Frames in [R, P) only fill rings.

    offset     0  1  2  3  4  5  6  7  8  9
    camera a   .  .  .  A  .  A  .  A  .            A: within `rewind_seconds` of a's last tick, and the frame before
    camera b   .  .  .  .  .  .  B  .  B            R = min(3, 6) = 3, P = 9

A camera whose session ended pins nothing.
"""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from pipeline.broker.contract import Position
from pipeline.records.wire import Partition, canonical_json

NO_STATE = -1
"""s of a partition that has no state record yet."""
METADATA_LIMIT = 4096
"""Bytes of metadata that a broker stores with a committed offset (`offset.metadata.max.bytes`)."""


class Trail:
    """Accepted frames of one session that a restart may need: (tick, offset), oldest first."""

    def __init__(self, rewind_ticks: int, multiple: int, holds: int) -> None:
        """holds: item ticks that a missing item is filled for (`windows.Grid.holds`)."""
        self._reach = rewind_ticks
        self._multiple = multiple
        self._holds = holds
        self._frames: deque[tuple[int, int]] = deque()
        self._anchors: deque[int] = deque()

    def add(self, tick: int, offset: int) -> None:
        """Note an accepted frame."""
        self._frames.append((tick, offset))
        if tick % self._multiple == 0:
            self._anchors.append(tick)
        elif self._anchors and (tick - self._anchors[-1]) // self._multiple > self._holds:
            self._anchors.clear()  # frames went on and no item came: the last one fills nothing any more
        # Keep the last item frame before the reach too: it may fill a missing tick at the reach's beginning.
        while len(self._anchors) > 1 and self._anchors[1] <= tick - self._reach:
            self._anchors.popleft()
        first = min(self._anchors[0], tick - self._reach + 1) if self._anchors else tick - self._reach + 1
        while self._frames[0][0] < first:
            self._frames.popleft()

    @property
    def oldest(self) -> int | None:
        """Offset of the oldest frame that is still needed."""
        return self._frames[0][1] if self._frames else None


def rewind(position: int, oldest: Iterable[int | None]) -> int:
    """R of a partition: the smallest offset that any camera with an open session still needs, else P."""
    return min((offset for offset in oldest if offset is not None), default=position)


@dataclass(frozen=True, slots=True)
class Committed:
    """What a commit of this project says about a partition."""

    position: int
    """P, the offset of the next record to process."""
    rewind: int
    """R, where reading starts after a restart."""
    state: int
    """Offset of this partition's last state record; -1: none was ever written."""
    labels: int
    """Version of the label set in force at P; -1: the empty set."""


def encode_position(committed: Committed) -> Position:
    """Put a committed position into broker form: P, and {r, s, v} as metadata."""
    metadata = canonical_json({"r": committed.rewind, "s": committed.state, "v": committed.labels}).decode()
    if len(metadata) > METADATA_LIMIT:
        raise ValueError(f"metadata of a commit has {len(metadata)} bytes, at most {METADATA_LIMIT} are stored")
    return Position(committed.position, metadata)


def decode_position(position: Position) -> Committed | None:
    """Read a committed position; None when no worker wrote it, for example when a tool moved the group."""
    try:
        found = json.loads(position.metadata)
        committed = Committed(position.offset, int(found["r"]), int(found["s"]), int(found["v"]))
    except (ValueError, KeyError, TypeError):
        return None
    return committed if 0 <= committed.rewind <= committed.position else None


@dataclass(slots=True)
class Epochs:
    """A number per owned partition that rises when work in flight is worthless: assignment, revocation, abort, swap.

    Thread-safe. Work carries the epoch it was made under and is dropped at each hand-over when that epoch has passed.
    """

    _current: dict[Partition, int] = field(default_factory=dict)
    _owned: set[Partition] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def assign(self, partitions: Iterable[Partition]) -> dict[Partition, int]:
        """Begin a new epoch of partitions that are owned from now on."""
        with self._lock:
            began = {partition: self._current.get(partition, 0) + 1 for partition in partitions}
            self._current |= began
            self._owned |= began.keys()
            return began

    def revoke(self, partitions: Iterable[Partition]) -> None:
        """End the epoch of partitions that are no longer owned."""
        with self._lock:
            self._pass(partitions)

    def end(self, epochs: Mapping[Partition, int]) -> None:
        """End these epochs where they have not passed already; a newer one of the same partition goes on."""
        with self._lock:
            self._pass([one for one, epoch in epochs.items() if self._current.get(one) == epoch])

    def _pass(self, partitions: Iterable[Partition]) -> None:
        """The caller holds the lock."""
        for partition in partitions:
            self._current[partition] = self._current.get(partition, 0) + 1
            self._owned.discard(partition)

    def is_current(self, partition: Partition, epoch: int) -> bool:
        """True while work of this epoch still counts."""
        with self._lock:
            return partition in self._owned and self._current.get(partition) == epoch

    def owned(self) -> Mapping[Partition, int]:
        """The owned partitions and their epochs."""
        with self._lock:
            return {partition: self._current[partition] for partition in self._owned}
