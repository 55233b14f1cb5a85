"""What subscribers got, against what they were due. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace

from pipeline.records.wire import Record


@dataclass(frozen=True, slots=True)
class Verdict:
    """Counts of messages."""

    due: int
    got: int
    lost: int
    """Messages that never came."""
    doubled: int
    """Messages that came again."""
    differing: int
    """Messages with other bytes, in another partition, in another order, or that nobody was due."""

    @property
    def clean(self) -> bool:
        """True when subscribers got exactly what they were due."""
        return self.due == self.got and not (self.lost or self.doubled or self.differing)

    def document(self) -> dict[str, int]:
        """As plain JSON."""
        return asdict(self)


def renamed(records: Sequence[Record], old: str, new: str) -> list[Record]:
    """Records as if their namespace had another name: it stands in the evidence of events and in dead letters."""
    before, after = f"{old}.frames".encode(), f"{new}.frames".encode()
    return [
        replace(
            one,
            value=(one.value or b"").replace(b'"topic":"%s"' % before, b'"topic":"%s"' % after),
            headers=tuple((name, after if name == "topic" and text == before else text) for name, text in one.headers),
        )
        for one in records
    ]


def compare_events(due: Sequence[Record], got: Sequence[Record]) -> Verdict:
    """Compare key, headers and value to the byte, and the order within each partition."""
    return _compare(due, got, lambda one: dict(one.headers)["ce_id"], lambda one: one.partition)


def compare_dead(due: Sequence[Record], got: Sequence[Record]) -> Verdict:
    """Compare dead letters, but for the broker's time stamp of the bad record, which its copy has from its own arrival.

    They share one partition, so their order means something per source partition only.
    """
    return _compare(_undated(due), _undated(got), _origin, lambda one: _origin(one)[0])


def _undated(dead: Sequence[Record]) -> list[Record]:
    return [replace(one, headers=tuple(found for found in one.headers if found[0] != "timestamp_ms")) for one in dead]


def _origin(dead: Record) -> tuple[bytes, bytes]:
    headers = dict(dead.headers)
    return headers["partition"], headers["offset"]


def _compare(
    due: Sequence[Record], got: Sequence[Record], name: Callable[[Record], object], place: Callable[[Record], object]
) -> Verdict:
    wanted = {name(one): one for one in due}
    counts = Counter(name(one) for one in got)
    first = {name(one): one for one in reversed(got)}
    same = {key for key, one in first.items() if key in wanted and _bytes(one) == _bytes(wanted[key])}
    disordered = 0
    for where in {place(one) for one in due}:
        expected = [name(one) for one in due if place(one) == where and name(one) in same]
        found = list(dict.fromkeys(name(one) for one in got if place(one) == where and name(one) in same))
        disordered += sum(a != b for a, b in zip(expected, found, strict=True))
    return Verdict(
        due=len(due),
        got=len(got),
        lost=sum(key not in counts for key in wanted),
        doubled=sum(count - 1 for count in counts.values()),
        differing=len(first) - len(same) + disordered,
    )


def _bytes(record: Record) -> tuple[object, ...]:
    return record.partition, record.key, record.value, record.headers
