"""The event state machine. Timelines: one character per tick at 4 ticks per second, a dot where no window came."""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.analysis.event_machine import (
    FORGET_SECONDS,
    EventContext,
    WindowScores,
    advance,
    by_label,
    finish,
    ordered,
    pass_ticks,
    relabel,
)
from pipeline.analysis.thresholds import Calibration, CameraRules, EventRules, resolve
from pipeline.analysis.ticks import tick_ns
from pipeline.records.events import ActionEvent, Evidence, ModelReference, encode_event
from pipeline.records.labels import THRESHOLDS, Label
from pipeline.records.state import CameraState, CoolDown, LabelState, OpenEvent, decode_state, encode_state

RATE = 4
DEFAULTS = {
    "enter": 0.7,
    "exit": 0.4,
    "confirm": 2,
    "backtrack_seconds": 0.0,
    "min_seconds": 0.0,
    "merge_seconds": 0.5,
    "cooldown_seconds": 0.0,
    "max_seconds": 60.0,
}
MODEL = ModelReference("b" * 64, "demo", "0.1.0", "space-a")
CONTEXT = EventContext("door", 1_790_000_000_000, RATE, MODEL, 3, 8, 4.0)
FALL = Label("fall", "a person falls")
RUN = Label("run", "a person runs")


def rules_with(*labels: Label, onset: int = 0, offset: int = 0, stride: int = 1, **changes: float) -> EventRules:
    """Rules with some settings changed."""
    calibrated = Calibration({**DEFAULTS, **changes}, {}, onset, offset)
    return resolve(labels or (FALL,), calibrated, {}, rate=RATE, stride=stride)


@dataclass
class Run:
    """A camera that is driven window by window; it counts offsets as a partition would."""

    rules: EventRules
    context: EventContext = CONTEXT

    def __post_init__(self) -> None:
        self.states: dict[str, LabelState] = {}
        self.messages: list[ActionEvent] = []

    def keep(self, result: tuple[dict[str, LabelState], list[ActionEvent]]) -> list[ActionEvent]:
        """Take over the states and note the messages."""
        self.states, messages = result
        self.messages += messages
        return messages

    def window(self, tick: int, *scores: float) -> list[ActionEvent]:
        """Process one window; its evidence identifies it."""
        evidence = Evidence("actionwire.frames", 0, tick * 10, tick * 10 + 7)
        window = WindowScores(tick, np.array(scores, np.float32), evidence)
        return self.keep(advance(self.states, window, self.rules, self.context))

    def timeline(self, drawn: str, first: int = 0) -> list[ActionEvent]:
        """Play digits as tenths: `9` scores 0.9; a dot has no window."""
        before = len(self.messages)
        for position, character in enumerate(drawn):
            if character != ".":
                self.window(first + position * self.rules.step, int(character) / 10)
        return self.messages[before:]


def told(messages: list[ActionEvent]) -> list[tuple[Any, ...]]:
    """Phase and start of each message, and for an end also its tick and reason."""
    return [
        (m.phase, m.start_tick) if m.end_tick is None else (m.phase, m.start_tick, m.end_tick, m.reason)
        for m in messages
    ]


def deciding(messages: list[ActionEvent]) -> list[int]:
    """The ticks at which messages were decided."""
    return [next(t for t in range(-5, 400) if tick_ns(t, RATE, "door") == m.time_ns) for m in messages]


@pytest.mark.parametrize(
    ("drawn", "changes", "expected", "at"),
    [
        # tick       0123456789..
        ("0088800000", {}, [("started", 2), ("ended", 2, 4, "score")], [3, 6]),
        ("0080800000", {}, [], []),  # two windows, but not in a row
        ("0086800000", {}, [], []),  # 0.6 stays, but does not enter
        ("0886000000", {}, [("started", 1), ("ended", 1, 3, "score")], [2, 5]),  # 0.6 holds an open event
        ("0888388000", {}, [("started", 1), ("ended", 1, 6, "score")], [2, 8]),  # a gap shorter than the merge time
        ("0888300000", {"merge_seconds": 0}, [("started", 1), ("ended", 1, 3, "score")], [2, 4]),
        ("0880088000", {}, [("started", 1), ("ended", 1, 2, "score"), ("started", 5), ("ended", 5, 6, "score")], None),
        ("0800000000", {"confirm": 1}, [("started", 1), ("ended", 1, 2, "score")], [1, 3]),
        ("0888880000", {"confirm": 3}, [("started", 1), ("ended", 1, 5, "score")], [3, 7]),
        ("0885500000", {"min_seconds": 1.0}, [], []),  # spans 0.75 s
        ("0885550000", {"min_seconds": 1.0}, [("started", 1), ("ended", 1, 5, "score")], [5, 7]),
        ("0883588000", {"min_seconds": 1.0}, [], []),  # dipped below exit before it was long enough
    ],
)
def test_thresholds_decide_when_an_event_starts_and_ends(
    drawn: str, changes: dict[str, float], expected: list[tuple[Any, ...]], at: list[int] | None
) -> None:
    """Streaks of `confirm` windows start an event, `min_seconds` delays it, a gap of `merge_seconds` ends it."""
    messages = Run(rules_with(**changes)).timeline(drawn)

    assert told(messages) == expected
    assert at is None or deciding(messages) == at


@pytest.mark.parametrize(
    ("drawn", "changes", "expected"),
    [
        # tick       0123456789..
        ("0556880000", {"backtrack_seconds": 0.0}, [("started", 4), ("ended", 4, 5, "score")]),
        ("0556880000", {"backtrack_seconds": 2.0}, [("started", 1), ("ended", 1, 5, "score")]),
        ("0556880000", {"backtrack_seconds": 0.5}, [("started", 2), ("ended", 2, 5, "score")]),  # not before that
        ("0535880000", {"backtrack_seconds": 2.0}, [("started", 3), ("ended", 3, 5, "score")]),  # 0.3 is below exit
        ("08.5880000", {"backtrack_seconds": 2.0}, [("started", 3), ("ended", 3, 5, "score")]),  # a gap is, too
        ("0858588000", {"backtrack_seconds": 2.0}, [("started", 1), ("ended", 1, 6, "score")]),  # broken streaks
        ("0555550000", {"backtrack_seconds": 2.0}, []),  # never entered
        ("8800588000", {"backtrack_seconds": 2.0, "cooldown_seconds": 0.5}, [
            ("started", 0), ("ended", 0, 1, "score"), ("started", 5), ("ended", 5, 6, "score"),
        ]),
    ],
)  # fmt: skip
def test_an_event_begins_where_its_score_rose(
    drawn: str, changes: dict[str, float], expected: list[tuple[Any, ...]]
) -> None:
    """The unbroken stretch at or above `exit` before the streak belongs to the event, up to `backtrack_seconds`."""
    assert told(Run(rules_with(**changes)).timeline(drawn)) == expected


def test_cool_down_holds_the_next_event_back() -> None:
    """After an event nothing starts for `cooldown_seconds` from the window that ended it."""
    #          0123456789012345
    drawn = "8800888888880000"  # ended at 3, at rest until 7: the streak that was under way counts from there
    messages = Run(rules_with(cooldown_seconds=1.0)).timeline(drawn)

    assert told(messages) == [
        ("started", 0),
        ("ended", 0, 1, "score"),
        ("started", 7),
        ("ended", 7, 11, "score"),
    ]


def test_the_longest_event_is_cut_and_a_new_streak_begins() -> None:
    """After `max_seconds` the event ends though the score is high; then cool-down, then a new streak."""
    #          0123456789012
    drawn = "8888888888888"  # ends at 4, at rest until 6, again from 6
    messages = Run(rules_with(max_seconds=1.0, cooldown_seconds=0.5)).timeline(drawn)

    assert told(messages)[:3] == [("started", 0), ("ended", 0, 4, "max_length"), ("started", 6)]


def test_lags_move_start_and_end_back() -> None:
    """`start` and `end` are less the measured lags; `end` is at least one tick after `start`."""
    rules = rules_with(onset=3, offset=2)

    long = Run(rules).timeline("0888888000")
    short = Run(rules_with(onset=1, offset=6)).timeline("0888000000")

    assert told(long) == [("started", -2), ("ended", -2, 4, "score")]
    assert told(short) == [("started", 0), ("ended", 0, 1, "score")]


@pytest.mark.parametrize(
    ("drawn", "changes", "expected"),
    [
        # tick 0123456789
        ("0888888", {}, ("ended", 1, 6, "lost")),  # the last window held it: nobody saw it end
        ("0888883", {}, ("ended", 1, 3, "lost")),  # the last window did not: it was about to end
        ("0888888000", {}, ("ended", 1, 4, "score")),
        ("088888.", {}, ("ended", 1, 3, "lost")),  # a missing window counts as below exit
        ("0888888", {"max_seconds": 1.0}, ("ended", 1, 5, "max_length")),
        ("0888...", {"max_seconds": 1.0, "merge_seconds": 2.0}, ("ended", 1, 2, "max_length")),
    ],
)
def test_an_event_that_is_cut_off_lasted_until_its_last_window(
    drawn: str, changes: dict[str, float], expected: tuple[Any, ...]
) -> None:
    """The offset lag is the delay with which an end is seen. If no end was seen, nothing is subtracted."""
    run = Run(rules_with(offset=2, **changes))
    run.timeline(drawn)
    run.keep(finish(run.states, "lost", len(drawn) - 1, run.rules, run.context))

    assert told(run.messages)[1] == expected


def test_an_event_never_starts_before_the_last_one_ended() -> None:
    """The onset lag does not reach behind the previous event's end, and ids stay apart."""
    #          0123456789
    messages = Run(rules_with(onset=6, merge_seconds=0)).timeline("0880880000")

    assert told(messages) == [
        ("started", -5),
        ("ended", -5, 2, "score"),
        ("started", 2),
        ("ended", 2, 5, "score"),
    ]
    assert len({message.id for message in messages}) == 2


def test_updates_follow_the_peak_at_most_once_a_second() -> None:
    """A rise within a second of the last message is sent when the second is over. Without a rise nothing is sent."""
    run = Run(rules_with())
    #                       0123456789012
    messages = run.timeline("8889999999999")

    assert [(m.phase, m.sequence, round(m.peak, 3)) for m in messages] == [("started", 0, 0.8), ("updated", 1, 0.9)]
    assert deciding(messages) == [1, 5]
    assert messages[1].peak_ns == tick_ns(3, RATE, "door")
    assert messages[1].evidence == Evidence("actionwire.frames", 0, 30, 37)


@pytest.mark.parametrize(
    ("drawn", "expected", "at"),
    [
        # tick 0123456789
        ("088...8880", [("started", 1), ("ended", 1, 2, "score"), ("started", 6)], [2, 4, 7]),
        ("088.880000", [("started", 1), ("ended", 1, 5, "score")], [2, 7]),
        ("08.8800000", [("started", 3), ("ended", 3, 4, "score")], [4, 6]),
    ],
)
def test_a_missing_window_counts_as_below_exit(drawn: str, expected: list[tuple[Any, ...]], at: list[int]) -> None:
    """A gap breaks a streak and ends an event at the tick at which it lasted for the merge time."""
    messages = Run(rules_with()).timeline(drawn)

    assert told(messages) == expected
    assert deciding(messages) == at


def test_windows_every_other_tick_are_no_gap() -> None:
    """With a stride of two only every second tick is due, and seconds keep their meaning."""
    messages = Run(rules_with(stride=2)).timeline("088000")

    assert told(messages) == [("started", 2), ("ended", 2, 4, "score")]
    assert deciding(messages) == [4, 6]


@pytest.mark.parametrize("reason", ["session", "lost", "shed"])
def test_finishing_ends_what_is_open(reason: Any) -> None:
    """The end of a session, a lost camera and shedding end open events; streaks that did not fire leave nothing."""
    run = Run(rules_with(FALL, RUN, cooldown_seconds=1.0))
    for tick in (0, 1, 2):
        run.window(tick, 0.9, 0.9 if tick == 2 else 0.1)

    messages = run.keep(finish(run.states, reason, 2, run.rules, run.context))

    assert told(messages) == [("ended", 0, 2, reason)]
    assert [type(state) for state in run.states.values()] == ([CoolDown] if reason == "shed" else [])


def test_a_gap_before_the_end_of_the_session_still_ends_by_score() -> None:
    """An event whose merge time ran out before the session's last tick ended by its score."""
    run = Run(rules_with())
    run.timeline("888")

    messages = run.keep(finish(run.states, "session", 9, run.rules, run.context))

    assert (told(messages), deciding(messages)) == ([("ended", 0, 2, "score")], [4])


def test_a_label_that_is_no_longer_watched_ends() -> None:
    """Removing a label, changing its text or its cameras ends its open event; other labels go on."""
    for changed in ([RUN], [replace(FALL, text="someone trips"), RUN], [replace(FALL, cameras=("yard",)), RUN]):
        run = Run(rules_with(FALL, RUN))
        for tick in (0, 1):
            run.window(tick, 0.9, 0.9)
        run.rules = CameraRules(rules_with(*changed))("door")

        messages = run.keep(relabel(run.states, 1, run.rules, replace(CONTEXT, labels_version=4)))

        assert [(m.label_id, m.label, m.reason, m.labels_version) for m in messages] == [
            ("fall", "a person falls", "label", 4)
        ]
        assert [state.label_id for state in run.states.values() if isinstance(state, OpenEvent)] == ["run"]


def test_changed_settings_apply_from_their_marker() -> None:
    """An open event goes on under new thresholds with the same id."""
    run = Run(rules_with())
    run.timeline("888")
    run.rules = rules_with(exit=0.2, merge_seconds=0.25)
    assert run.keep(relabel(run.states, 2, run.rules, run.context)) == []

    messages = run.timeline("331", first=3)

    assert told(messages) == [("ended", 0, 4, "score")]
    assert len({message.id for message in run.messages}) == 1


def test_a_swap_keeps_open_events_and_names_both_models() -> None:
    """`ended` says which model started the event and which one ended it."""
    run = Run(rules_with())
    run.timeline("88")
    newer = replace(MODEL, bundle="c" * 64, version="0.2.0", space="space-b")
    run.context = replace(CONTEXT, model=newer)

    ended = run.timeline("000", first=2)[-1]

    assert (ended.id, ended.model, ended.started_by) == (run.messages[0].id, newer, MODEL)


@pytest.mark.parametrize(("drawn", "end"), [("888", 2), ("8883", 0)])
def test_a_swap_to_a_bundle_that_leaves_the_label_out_ends_it(drawn: str, end: int) -> None:
    """An open event ends at the first window of the new bundle, with the time of the old bundle's last window."""
    for first in (len(drawn), 50):
        run = Run(rules_with(FALL, offset=2))
        run.timeline(drawn)
        run.rules = rules_with(RUN, offset=2)

        run.window(first, 0.1)

        assert told(run.messages) == [("started", 0), ("ended", 0, max(1, end), "label")]
        assert deciding(run.messages)[1] == len(drawn) - 1
        assert run.keep(relabel(run.states, first, run.rules, run.context)) == []
        run.window(first + 1 + FORGET_SECONDS * RATE, 0.1)
        assert run.states == {}


def test_a_swap_to_a_bundle_that_leaves_the_label_out_breaks_its_streak() -> None:
    """A streak that the old bundle began is forgotten."""
    run = Run(rules_with())
    run.timeline("08")
    run.rules = rules_with(RUN)

    assert run.window(2, 0.1) == [] and run.states == {}


def test_ids_are_made_of_what_happened() -> None:
    """Camera, session, label, start and space make the id: another run gives the same, another value gives another."""
    first = Run(rules_with()).timeline("88")[0].id
    others = [
        replace(CONTEXT, camera="yard"),
        replace(CONTEXT, session=5),
        replace(CONTEXT, model=replace(MODEL, space="space-b")),
    ]

    assert Run(rules_with()).timeline("88")[0].id == first
    assert len({first, *(Run(rules_with(), context).timeline("88")[0].id for context in others)}) == 4


def test_a_label_at_rest_has_no_state() -> None:
    """Below `enter` nothing is remembered, and the end of an event no longer than a later one may reach back."""
    run = Run(rules_with(FALL, RUN, onset=2))
    for tick in range(12):
        run.window(tick, 0.9 if tick < 3 else 0.1, 0.6)
    assert [type(state) for state in run.states.values()] == [CoolDown]

    run.window(12 + FORGET_SECONDS * RATE, 0.1, 0.6)

    assert run.states == {}


ROUTES = st.lists(
    st.tuples(
        st.integers(1, 5),
        st.sampled_from(["window", "window", "window", "pass"]),
        st.lists(st.sampled_from([0.1, 0.3, 0.45, 0.6, 0.72, 0.8, 0.95]), min_size=2, max_size=2),
    ),
    max_size=60,
)
CHANGES = st.fixed_dictionaries(
    {
        "confirm": st.integers(1, 3),
        "backtrack_seconds": st.sampled_from([0.0, 0.5, 2.0]),
        "min_seconds": st.sampled_from([0.0, 0.5, 1.0]),
        "merge_seconds": st.sampled_from([0.0, 0.25, 1.0]),
        "cooldown_seconds": st.sampled_from([0.0, 0.75]),
        "max_seconds": st.sampled_from([1.0, 2.5, 60.0]),
        "onset": st.integers(0, 7),
        "offset": st.integers(0, 7),
        "stride": st.integers(1, 2),
    }
)


def play(run: Run, route: list[Any], cut: int | None = None, passes: bool = True) -> list[bytes]:
    """Drive a camera along a route and finish it; at `cut` the state is written down and read back."""
    tick = 0
    for position, (gap, kind, scores) in enumerate(route):
        if position == cut:
            state = CameraState("door", CONTEXT.session, RATE, tick, False, ordered(run.states))
            run.states = by_label(decode_state(b"door", encode_state(state).value).labels)
        tick += gap if kind == "pass" else max(gap - 2, 1)
        if kind == "window" and tick % run.rules.step == 0:
            run.window(tick, *scores[: len(run.rules.labels)])
        elif passes:
            run.keep(pass_ticks(run.states, tick, run.rules, run.context))
    run.keep(finish(run.states, "session", tick, run.rules, run.context))
    return [encode_event(message, "/test").value or b"" for message in run.messages]


@settings(max_examples=150, deadline=None)
@given(ROUTES, CHANGES, st.integers(0, 60))
def test_going_on_from_any_snapshot_gives_the_same_bytes(route: Any, changes: Any, cut: int) -> None:
    """A state that was written and read back at any window continues with the same messages."""
    rules = rules_with(FALL, RUN, **changes)

    assert play(Run(rules), route, cut) == play(Run(rules), route)


@settings(max_examples=150, deadline=None)
@given(ROUTES, CHANGES)
def test_when_a_missing_window_is_noticed_does_not_matter(route: Any, changes: Any) -> None:
    """Passing ticks one by one or finding the gap at the next window gives the same messages."""
    rules = rules_with(FALL, RUN, **changes)

    assert sorted(play(Run(rules), route)) == sorted(play(Run(rules), route, passes=False))


@settings(max_examples=150, deadline=None)
@given(ROUTES, CHANGES)
def test_labels_do_not_touch_each_other(route: Any, changes: Any) -> None:
    """A label's messages are the same with and without other labels."""
    both = play(Run(rules_with(FALL, RUN, **changes)), route)
    alone = play(Run(rules_with(FALL, **changes)), route)

    assert [value for value in both if json.loads(value)["label"]["id"] == "fall"] == alone


@settings(max_examples=200, deadline=None)
@given(ROUTES, CHANGES)
def test_every_started_event_ends_once(route: Any, changes: Any) -> None:
    """Messages of an event are started, then updates, then one ended; events of a label do not overlap."""
    run = Run(rules_with(FALL, RUN, **changes))
    play(run, route)

    events: dict[str, list[ActionEvent]] = {}
    for message in run.messages:
        events.setdefault(message.id, []).append(message)
    for messages in events.values():
        assert [message.sequence for message in messages] == list(range(len(messages)))
        assert [message.phase for message in messages] == [
            "started",
            *["updated"] * (len(messages) - 2),
            "ended",
        ]
        assert messages[0].start_tick < (messages[-1].end_tick or 0)
        peaks = [message.peak for message in messages]
        assert peaks == sorted(peaks)
    for label in ("fall", "run"):
        ended = [message for message in run.messages if message.label_id == label and message.phase == "ended"]
        for earlier, later in itertools.pairwise(ended):
            assert (earlier.end_tick or 0) <= later.start_tick
            assert earlier.time_ns <= later.time_ns


def test_settings_are_complete() -> None:
    """The defaults of these tests name every threshold there is."""
    assert set(DEFAULTS) == set(THRESHOLDS)


def test_an_event_does_not_begin_before_the_end_of_the_last_when_the_lag_grows() -> None:
    """A bundle with a longer onset lag that is swapped in reaches back further; ids are made from the start.

    tick    0123456789012
    lag 0   .888000000
    lag 8             888    would start at 2, inside the first event
    """
    run = Run(replace(rules_with(cooldown_seconds=0), onset_lag=0))
    run.timeline("0888000000")
    run.rules = replace(run.rules, onset_lag=8)
    run.timeline("88800000", first=10)

    first, second = (message for message in run.messages if message.phase == "ended")
    assert first.end_tick is not None
    assert second.start_tick >= first.end_tick
