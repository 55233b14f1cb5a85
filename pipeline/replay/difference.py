"""Events of one model against events of another, over the same time: what is new, what is gone, what moved. Pure.

    in use       |---- fall ----|        |-- run --|           |- fall -|
    candidate      |--- fall ---|        |-- run --|  |- run -|
                 moved                   same         new       gone

Two events of a camera and a label are the same action where they share an instant; of several, those that share most.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from statistics import median
from typing import Any

from pipeline.analysis.ticks import SECOND
from pipeline.records.events import ActionEvent
from pipeline.records.wire import iso

TOLERANCE_SECONDS = 1.0
"""By how much start or end may differ in the same event."""


@dataclass(frozen=True, slots=True)
class Span:
    """One event, assembled from its messages. Nanoseconds since 1970."""

    id: str
    camera: str
    label_id: str
    label: str
    start_ns: int
    end_ns: int
    """Of an open event: as far as its newest message reaches."""
    open: bool
    peak: float


@dataclass(frozen=True, slots=True)
class Pair:
    """The same action, as both tell it."""

    before: Span
    after: Span

    @property
    def start_seconds(self) -> float:
        """How much later the candidate lets it start."""
        return (self.after.start_ns - self.before.start_ns) / SECOND

    @property
    def end_seconds(self) -> float | None:
        """How much later the candidate lets it end; None where one of them is still open."""
        if self.before.open or self.after.open:
            return None
        return (self.after.end_ns - self.before.end_ns) / SECOND

    def moved(self, tolerance: float) -> bool:
        """Whether start or end differ by more than `tolerance` seconds."""
        return abs(self.start_seconds) > tolerance or abs(self.end_seconds or 0.0) > tolerance


@dataclass(frozen=True, slots=True)
class Difference:
    """What would change."""

    same: tuple[Pair, ...]
    moved: tuple[Pair, ...]
    new: tuple[Span, ...]
    gone: tuple[Span, ...]

    @property
    def changed(self) -> bool:
        """Whether a subscriber would notice."""
        return bool(self.moved or self.new or self.gone)


def difference(
    before: Iterable[ActionEvent], after: Iterable[ActionEvent], tolerance: float = TOLERANCE_SECONDS
) -> Difference:
    """Compare the messages of two models. Those of cameras that only one of them saw count as new or gone."""
    groups: dict[tuple[str, str], tuple[list[Span], list[Span]]] = defaultdict(lambda: ([], []))
    for side, messages in enumerate((before, after)):
        for span in spans(messages):
            groups[span.camera, span.label_id][side].append(span)
    pairs: list[Pair] = []
    new: list[Span] = []
    gone: list[Span] = []
    for one, other in groups.values():
        found = _pairs(one, other)
        pairs += found
        gone += [span for span in one if span not in {pair.before for pair in found}]
        new += [span for span in other if span not in {pair.after for pair in found}]
    pairs.sort(key=lambda pair: _order(pair.before))
    return Difference(
        same=tuple(pair for pair in pairs if not pair.moved(tolerance)),
        moved=tuple(pair for pair in pairs if pair.moved(tolerance)),
        new=tuple(sorted(new, key=_order)),
        gone=tuple(sorted(gone, key=_order)),
    )


def spans(messages: Iterable[ActionEvent]) -> list[Span]:
    """Assemble events from their messages, in whatever order these come, each perhaps several times."""
    newest: dict[str, ActionEvent] = {}
    for message in messages:
        if message.id not in newest or message.sequence >= newest[message.id].sequence:
            newest[message.id] = message
    return [
        Span(
            id=last.id,
            camera=last.camera,
            label_id=last.label_id,
            label=last.label,
            start_ns=last.start_ns,
            end_ns=max(last.start_ns, last.time_ns if last.end_ns is None else last.end_ns),
            open=last.end_ns is None,
            peak=last.peak,
        )
        for last in newest.values()
    ]


def report(found: Difference) -> dict[str, Any]:
    """The difference as JSON data: counts in all and by label, and every event that is not the same."""
    return {
        **_counts(found, None),
        "labels": {label: _counts(found, label) for label in sorted(_labels(found))},
        "new_events": [_shown(span) for span in found.new],
        "gone_events": [_shown(span) for span in found.gone],
        "moved_events": [
            _shown(pair.before) | {"start_seconds": pair.start_seconds, "end_seconds": pair.end_seconds}
            for pair in found.moved
        ],
    }


def _pairs(one: Sequence[Span], other: Sequence[Span]) -> list[Pair]:
    """Return pairs, one to one, those first that share most."""
    shared = [(_shared(first, second), first, second) for first, second in product(one, other)]
    shared = [entry for entry in shared if entry[0] >= 0]
    shared.sort(key=lambda entry: (-entry[0], _order(entry[1]), _order(entry[2])))
    taken: set[Span] = set()
    pairs = []
    for _, first, second in shared:
        if first not in taken and second not in taken:
            taken |= {first, second}
            pairs.append(Pair(first, second))
    return pairs


def _shared(one: Span, other: Span) -> int:
    """Nanoseconds that two spans share, 0 where they touch; negative where they are apart."""
    return min(one.end_ns, other.end_ns) - max(one.start_ns, other.start_ns)


def _order(span: Span) -> tuple[int, int, str, str]:
    return span.start_ns, span.end_ns, span.camera, span.id


def _labels(found: Difference) -> dict[str, None]:
    every = [*(pair.before for pair in (*found.same, *found.moved)), *found.new, *found.gone]
    return dict.fromkeys(span.label for span in every)


def _counts(found: Difference, label: str | None) -> dict[str, Any]:
    def of(pairs: Sequence[Pair]) -> list[Pair]:
        return [pair for pair in pairs if label in (None, pair.before.label)]

    same, moved = of(found.same), of(found.moved)
    starts = [pair.start_seconds for pair in (*same, *moved)]
    ends = [pair.end_seconds for pair in (*same, *moved) if pair.end_seconds is not None]
    return {
        "same": len(same),
        "moved": len(moved),
        "new": sum(label in (None, span.label) for span in found.new),
        "gone": sum(label in (None, span.label) for span in found.gone),
        "start_seconds_median": median(starts) if starts else None,
        "end_seconds_median": median(ends) if ends else None,
    }


def _shown(span: Span) -> dict[str, Any]:
    return {
        "id": span.id,
        "camera": span.camera,
        "label": span.label,
        "start": iso(span.start_ns),
        "end": None if span.open else iso(span.end_ns),
        "peak": round(span.peak, 6),
    }
