"""Truth against events: matching, F1, delays, false alarms.

    truth    |----- fall -----|                  |--- run ---|
    events       |---- fall ----|    |- run -|
                 : s : d                          temporal IoU of the first pair >= 0.5: matched
                                     not matched: a false alarm, and the run was missed

Two matchings, each one-to-one per camera and label and as large as possible: by temporal overlap (intersection over
union of the spans at least 0.5) and by starts (at most one second apart; online detection of action starts). Delays
are those of the pairs matched by overlap. The *onset delay* is the instant of the window that fired minus the true
start, the *start error* the reported start minus the true one, the *time to clear* the instant at which the end was
decided minus the true end.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import fsum
from statistics import median, quantiles
from typing import Any, TypeAlias, TypeVar

from engines.canonical import folded, words
from pipeline.analysis.label_set import slug
from pipeline.analysis.ticks import SECOND
from pipeline.records.events import ActionEvent
from pipeline.replay.truth import Action, Truth

Found = TypeVar("Found", "Action", "Detection")

OVERLAP = 0.5
"""Least temporal intersection over union of a match."""
START_SECONDS = 1.0
"""Greatest distance of two starts that match."""


@dataclass(frozen=True, slots=True)
class Detection:
    """One event, assembled from its messages. Seconds since the camera's time zero."""

    camera: str
    label: str
    label_id: str
    start: float
    end: float
    fired: float | None
    """Instant of the window that fired `started`; None when that message is missing."""
    cleared: float | None
    """Instant at which the end was decided; None while the event is open."""


@dataclass(frozen=True, slots=True)
class Tally:
    """The outcome for one label, or pooled over several."""

    truth_events: int = 0
    events: int = 0
    matched: int = 0
    starts_matched: int = 0
    baseless: int = 0
    """Events that overlap no action of their label at all."""
    onset_delays: tuple[float, ...] = ()
    start_errors: tuple[float, ...] = ()
    clearing_times: tuple[float, ...] = ()

    def __add__(self, other: Tally) -> Tally:
        return Tally(**{name: getattr(self, name) + getattr(other, name) for name in self.__slots__})


@dataclass(frozen=True, slots=True)
class Comparison:
    """Truth against events, by label text."""

    labels: Mapping[str, Tally]
    camera_hours: float
    ignored: int = 0
    """Events of cameras that the truth does not know, or outside its time."""
    total: Tally = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "total", sum(self.labels.values(), Tally()))


def detections(messages: Iterable[ActionEvent], truth: Truth) -> tuple[list[Detection], int]:
    """Assemble events from their messages, in any order and however often; returns (events, how many were left out).

    Left out are events of cameras that the truth does not know, and those that began after the end of its stream or
    ended before its beginning. An event that never ended lasts until the end of the stream.
    """
    by_event: dict[str, dict[int, ActionEvent]] = {}
    for message in messages:
        by_event.setdefault(message.id, {})[message.sequence] = message
    known = [parts for parts in by_event.values() if next(iter(parts.values())).camera in truth.seconds]
    every = [_detection(parts, truth) for parts in known]
    found = [one for one in every if one.start < truth.seconds[one.camera] and one.end > 0]
    return sorted(found, key=lambda one: (one.camera, one.label, one.start)), len(by_event) - len(found)


def compare(truth: Truth, messages: Iterable[ActionEvent], labels: Sequence[str] | None = None) -> Comparison:
    """Compare events with the truth.

    labels: texts or ids; other labels count neither as truth nor as events. None: all that occur in either.
    """
    events, ignored = detections(messages, truth)
    texts = {_key(text): text for text in [*(one.label for one in events), *(one.label for one in truth.actions)]}
    if labels is not None:
        named = {one.label_id: one.label for one in events}
        wanted = {slug(_key(label)): label for label in (named.get(name, name) for name in labels)}
        texts = {key: text for key, text in texts.items() if wanted.keys() & {slug(key), slug(text)}}
        absent = wanted.keys() - {name for key, text in texts.items() for name in (slug(key), slug(text))}
        texts |= {_key(wanted[name]): wanted[name] for name in absent}
    happened, reported = _by_label(truth.actions), _by_label(events)
    tallies = {
        text: sum((_tally(happened[key, camera], reported[key, camera]) for camera in truth.seconds), Tally())
        for key, text in sorted(texts.items())
    }
    return Comparison(tallies, sum(truth.seconds.values()) / 3600, ignored)


def _by_label(found: Iterable[Found]) -> Mapping[tuple[str, str], list[Found]]:
    """Actions or events by label, as labels are compared, and camera."""
    groups: dict[tuple[str, str], list[Found]] = defaultdict(list)
    for one in found:
        groups[_key(one.label), one.camera].append(one)
    return groups


def _key(label: str) -> str:
    """The form in which labels are compared: as words, whatever their case and encoding."""
    return folded(words(label))


def pool(comparisons: Sequence[Comparison]) -> Comparison:
    """Several runs as one: counts and delays are pooled before any ratio is taken."""
    texts = sorted({text for comparison in comparisons for text in comparison.labels})
    return Comparison(
        {text: sum((one.labels.get(text, Tally()) for one in comparisons), Tally()) for text in texts},
        fsum(one.camera_hours for one in comparisons),
        sum(one.ignored for one in comparisons),
    )


def report(comparison: Comparison) -> dict[str, Any]:
    """The figures under stable names, in total and by label. An undefined figure is None."""
    hours = comparison.camera_hours
    labels = {text: figures(tally, hours) for text, tally in comparison.labels.items()}
    total = figures(comparison.total, hours)
    return {**total, "camera_hours": hours, "ignored_events": comparison.ignored, "labels": labels}


def figures(tally: Tally, camera_hours: float) -> dict[str, float | int | None]:
    """The figures of one tally."""
    false_alarms = tally.events - tally.matched
    return {
        "truth_events": tally.truth_events,
        "events": tally.events,
        "matched": tally.matched,
        "event_f1": _ratio(2 * tally.matched, tally.events + tally.truth_events),
        "precision": _ratio(tally.matched, tally.events),
        "recall": _ratio(tally.matched, tally.truth_events),
        "start_f1": _ratio(2 * tally.starts_matched, tally.events + tally.truth_events),
        "start_precision": _ratio(tally.starts_matched, tally.events),
        "start_recall": _ratio(tally.starts_matched, tally.truth_events),
        "false_alarms": false_alarms,
        "false_alarms_per_camera_hour": _ratio(false_alarms, camera_hours),
        "baseless_events_per_camera_hour": _ratio(tally.baseless, camera_hours),
        "onset_delay_median_s": _median(tally.onset_delays),
        "onset_delay_p90_s": _p90(tally.onset_delays),
        "start_error_median_s": _median(tally.start_errors),
        "start_error_absolute_median_s": _median([abs(error) for error in tally.start_errors]),
        "time_to_clear_median_s": _median(tally.clearing_times),
    }


def overlap(action: Action, event: Detection) -> float:
    """Temporal intersection over union of two spans, 0 to 1."""
    shared = min(action.end, event.end) - max(action.start, event.start)
    union = max(action.end, event.end) - min(action.start, event.start)
    return max(shared, 0.0) / union if union > 0 else 0.0


Fit: TypeAlias = Callable[[Action, Detection], float | None]
"""How well an action and an event fit: greater is better, None means not at all."""


def matching(
    actions: Sequence[Action],
    events: Sequence[Detection],
    fit: Fit,
    candidates: Sequence[Sequence[int]] | None = None,
) -> list[tuple[int, int]]:
    """A largest one-to-one matching, as pairs of positions; the same for the same arguments.

    Augmenting paths (Berge's theorem). An action takes the free event that fits it best, then the earlier one; where
    none is free, others make room.
    candidates: for each action the positions of the events that may fit it, in order; None: all.
    """
    choices: list[list[int]] = []
    for number, action in enumerate(actions):
        near = range(len(events)) if candidates is None else candidates[number]
        fits = [(value, position) for position in near if (value := fit(action, events[position])) is not None]
        choices.append([position for _, position in sorted(fits, key=lambda one: (-one[0], one[1]))])
    taken: dict[int, int] = {}
    for row in range(len(actions)):
        taken.update(_augmenting_path(row, choices, taken))
    return sorted((row, column) for column, row in taken.items())


def _augmenting_path(row: int, choices: Sequence[Sequence[int]], taken: Mapping[int, int]) -> dict[int, int]:
    """Who takes which column so that `row` has one too, found depth first; nothing where there is no way.

    A loop, because a path may be as long as there are actions. Free columns first: in hours of actions without a pause
    every path would be long otherwise.
    """
    tried: set[int] = set()
    path = [(row, iter(choices[row]))]
    columns: list[int] = []
    while path:
        free = next((one for one in choices[path[-1][0]] if one not in taken), None)
        column = next((one for one in path[-1][1] if one not in tried), None) if free is None else free
        if column is None:
            path.pop()
            del columns[-1:]
            continue
        tried.add(column)
        columns.append(column)
        if column not in taken:
            return {column: taker for column, (taker, _) in zip(columns, path, strict=True)}
        path.append((taken[column], iter(choices[taken[column]])))
    return {}


def _tally(actions: Sequence[Action], events: Sequence[Detection]) -> Tally:
    near = _near(actions, events)
    pairs = [(actions[a], events[e]) for a, e in matching(actions, events, _by_overlap, near)]
    founded = {
        one for action, some in zip(actions, near, strict=True) for one in some if overlap(action, events[one]) > 0
    }
    return Tally(
        truth_events=len(actions),
        events=len(events),
        matched=len(pairs),
        starts_matched=len(matching(actions, events, _by_start, near)),
        baseless=len(events) - len(founded),
        onset_delays=tuple(event.fired - action.start for action, event in pairs if event.fired is not None),
        start_errors=tuple(event.start - action.start for action, event in pairs),
        clearing_times=tuple(event.cleared - action.end for action, event in pairs if event.cleared is not None),
    )


def _near(actions: Sequence[Action], events: Sequence[Detection]) -> list[list[int]]:
    """For each action the events that may overlap it or start close to its start.

    Days of video hold thousands of each, and every pair of them would take minutes.
    """
    order = sorted(range(len(events)), key=lambda position: events[position].start)
    starts = [events[position].start for position in order]
    longest = max((event.end - event.start for event in events), default=0.0)
    reach = 2 * START_SECONDS  # more than enough, so that rounding leaves nothing out
    return [
        sorted(order[bisect_left(starts, action.start - reach - longest) : bisect_right(starts, action.end + reach)])
        for action in actions
    ]


def _by_overlap(action: Action, event: Detection) -> float | None:
    shared = overlap(action, event)
    return shared if shared >= OVERLAP else None


def _by_start(action: Action, event: Detection) -> float | None:
    distance = abs(action.start - event.start)
    return -distance if distance <= START_SECONDS else None


def _detection(parts: Mapping[int, ActionEvent], truth: Truth) -> Detection:
    first, last = parts[min(parts)], parts[max(parts)]
    epoch = truth.epochs_ns[first.camera]

    def seconds(instant_ns: int) -> float:
        return (instant_ns - epoch) / SECOND

    start = seconds(last.start_ns)
    end = truth.seconds[first.camera] if last.end_ns is None else seconds(last.end_ns)
    fired = seconds(first.time_ns) if first.phase == "started" else None
    cleared = None if last.end_ns is None else seconds(last.time_ns)
    return Detection(first.camera, first.label, first.label_id, start, end, fired, cleared)


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def _median(values: Sequence[float]) -> float | None:
    return median(values) if values else None


def _p90(values: Sequence[float]) -> float | None:
    if len(values) < 2:
        return values[0] if values else None
    return quantiles(values, n=10, method="inclusive")[-1]
