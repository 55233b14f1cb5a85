"""Truth against events, on drawn timelines: one character is half a second."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.analysis.ticks import REPLAY_EPOCH_NS, SECOND
from pipeline.records.events import ActionEvent
from pipeline.replay.evaluation import (
    Comparison,
    Detection,
    Tally,
    compare,
    figures,
    matching,
    overlap,
    pool,
    report,
)
from pipeline.replay.truth import Action, Truth
from pipeline.testing import sample_event

TEXTS = {"f": "a person falls", "r": "a person runs", "w": "a person waves"}


def spans(drawn: str) -> list[tuple[str, float, float]]:
    """Runs of a letter: (label text, start, end) in seconds. Capitals are the same label, to part two neighbours."""
    return [
        (TEXTS[found.group()[0].lower()], found.start() / 2, found.end() / 2)
        for found in re.finditer(r"([a-zA-Z])\1*", drawn)
    ]


def truth_of(**cameras: str) -> Truth:
    """Truth from one drawing per camera."""
    return Truth(
        tuple(Action(camera, *span) for camera, drawn in cameras.items() for span in spans(drawn)),
        {camera: len(drawn) / 2 for camera, drawn in cameras.items()},
        dict.fromkeys(cameras, REPLAY_EPOCH_NS),
    )


def instant(seconds: float) -> int:
    """Capture time of a second of the stream."""
    return REPLAY_EPOCH_NS + round(seconds * SECOND)


def messages_of(late: float = 1.5, **cameras: str) -> list[ActionEvent]:
    """Events from one drawing per camera: `started` fires `late` seconds after the start, `ended` 2 s after the end."""
    made = []
    for camera, drawn in cameras.items():
        for number, (text, start, end) in enumerate(spans(drawn)):
            same = {"id": f"{camera}-{number}", "camera": camera, "label": text, "start_ns": instant(start)}
            made.append(sample_event("started", **same, time_ns=instant(start + late)))
            made.append(sample_event("ended", **same, time_ns=instant(end + 2), end_ns=instant(end)))
    return made


def counts(tally: Tally) -> tuple[int, int, int, int]:
    """(truth, events, matched by overlap, matched by start)."""
    return tally.truth_events, tally.events, tally.matched, tally.starts_matched


@pytest.mark.parametrize(
    ("truth", "events", "expected"),
    [
        ("..ffffff......", "..ffffff......", (1, 1, 1, 1)),
        ("..ffffff......", "....ffff......", (1, 1, 1, 1)),  # overlap 4/6, starts one second apart
        ("..ffffff......", ".....fff......", (1, 1, 1, 0)),  # overlap exactly a half
        ("..ffffff......", "......ffff....", (1, 1, 0, 0)),  # overlap 2/8
        ("..ffffff......", "..ff..........", (1, 1, 0, 1)),  # too short, but its start is right
        ("..ffffff......", "..rrrrrr......", (1, 1, 0, 0)),  # the right time, the wrong label
        ("..ffffff......", "..fff.FFF.....", (1, 2, 1, 1)),  # cut in two: one matches, one is a false alarm
        ("..fff.FFF.....", "..ffffffff....", (2, 1, 0, 1)),  # two merged into one: neither overlaps enough
        ("..............", "..fff.........", (0, 1, 0, 0)),
        ("..fff.........", "..............", (1, 0, 0, 0)),
        ("..............", "..............", (0, 0, 0, 0)),
    ],
)
def test_spans_match_by_overlap_and_starts_by_distance(
    truth: str, events: str, expected: tuple[int, int, int, int]
) -> None:
    """An event matches an action of its label that it overlaps by half, or whose start is within a second."""
    assert counts(compare(truth_of(a=truth), messages_of(a=events)).total) == expected


def test_events_outside_the_recording_are_left_out() -> None:
    """A topic holds a week; what was over before the recording began, or began after its end, says nothing of it."""
    messages = messages_of(a="rr....ffff......rr")
    truth = replace(truth_of(a="..ffff......"), epochs_ns={"a": instant(2)})

    comparison = compare(truth, messages)

    assert counts(comparison.total) == (1, 1, 1, 1)
    assert comparison.ignored == 2


def test_a_label_is_named_by_its_text_or_its_id() -> None:
    """An id that was given by hand does not follow from the text; the events say which is which."""
    messages = [replace(message, label_id="drop") for message in messages_of(a="ffff....")]

    for name in ("drop", TEXTS["f"], "a-person-falls"):
        assert counts(compare(truth_of(a="ffff.rrr"), messages, [name]).total) == (1, 1, 1, 1)


def test_cameras_are_apart() -> None:
    """What happens before one camera is no excuse for an event of another."""
    total = compare(truth_of(a="ffff....", b="........"), messages_of(a="........", b="ffff....")).total

    assert (counts(total), total.baseless) == ((1, 1, 0, 0), 1)


def test_as_many_as_possible_are_matched() -> None:
    """The best pair gives way where that lets both actions be matched."""
    actions = [Action("a", "x", 2, 12), Action("a", "x", 0, 10)]
    events = [Detection("a", "x", "x", 1, 11, 1, 13), Detection("a", "x", "x", 4, 14, 5, 15)]

    def fit(action: Action, event: Detection) -> float | None:
        return shared if (shared := overlap(action, event)) >= 0.5 else None

    # The first action fits the first event best (9/11), but the second action fits nothing else.
    assert matching(actions, events, fit) == [(0, 1), (1, 0)]


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 12), st.integers(1, 8)), max_size=4),
    st.lists(st.tuples(st.integers(0, 12), st.integers(1, 8)), max_size=4),
)
def test_no_matching_is_larger(actions: list[tuple[int, int]], events: list[tuple[int, int]]) -> None:
    """Trying every assignment finds no larger one-to-one matching."""
    truths = [Action("a", "x", start, start + length) for start, length in actions]
    found = [Detection("a", "x", "x", start, start + length, None, None) for start, length in events]

    def fit(action: Action, event: Detection) -> float | None:
        return shared if (shared := overlap(action, event)) >= 0.3 else None

    few, many = sorted((range(len(truths)), range(len(found))), key=len)
    swapped = len(truths) > len(found)
    best = max(
        sum(
            fit(truths[many_one if swapped else few_one], found[few_one if swapped else many_one]) is not None
            for few_one, many_one in zip(few, order, strict=True)
        )
        for order in permutations(many, len(few))
    )
    pairs = matching(truths, found, fit)
    assert len(pairs) == best == len({a for a, _ in pairs}) == len({e for _, e in pairs})


def test_delays_are_of_the_window_that_fired() -> None:
    """Onset delay is the firing window less the true start; the reported start and the clearing are apart."""
    #                0   2   4   6   8
    truth = truth_of(a="....ffffffff....")
    messages = messages_of(a=".....fffffff....", late=1.25)  # starts 0.5 s late, fires 1.25 s after that

    found = report(compare(truth, messages))

    assert found["onset_delay_median_s"] == pytest.approx(1.75)
    assert found["start_error_median_s"] == pytest.approx(0.5)
    assert found["time_to_clear_median_s"] == pytest.approx(2.0)


def test_the_report_has_stable_names_in_total_and_by_label() -> None:
    """One run that was found, one wave that was not, one fall that never was, over a quarter of an hour."""
    truth = truth_of(a="rrrr....wwww...." + "." * 1784)
    found = report(compare(truth, messages_of(a="rrrr........ffff")))

    assert {name: found[name] for name in ("events", "truth_events", "precision", "recall", "event_f1")} == {
        "events": 2,
        "truth_events": 2,
        "precision": 0.5,
        "recall": 0.5,
        "event_f1": 0.5,
    }
    assert found["false_alarms_per_camera_hour"] == found["baseless_events_per_camera_hour"] == pytest.approx(4.0)
    assert found["labels"]["a person falls"]["recall"] is None
    assert found["labels"]["a person waves"]["precision"] is None
    assert json.loads(json.dumps(found)) == found


def test_only_the_labels_asked_for_count() -> None:
    """Other labels are neither missed nor false; a label is named by its text or its id."""
    truth, messages = truth_of(a="ffff....rrrr...."), messages_of(a="ffff....wwww....")

    assert counts(compare(truth, messages, ["A person falls"]).total) == (1, 1, 1, 1)
    assert counts(compare(truth, messages, ["a-person-waves"]).total) == (0, 1, 0, 0)
    assert counts(compare(truth, messages, ["a person flies"]).total) == (0, 0, 0, 0)


def test_messages_may_come_twice_and_in_any_order() -> None:
    """Repeated and shuffled messages are the same events; updates change nothing."""
    messages = messages_of(a="ffff....rrrr....")
    update = replace(messages[0], sequence=1, phase="updated", peak=0.95)
    messages = [messages[3], replace(messages[1], sequence=2), messages[2], update, messages[0], messages[0]]

    assert counts(compare(truth_of(a="ffff....rrrr...."), messages).total) == (2, 2, 2, 2)


def test_an_open_event_lasts_until_the_end() -> None:
    """An event without an end reaches to the end of the stream and has no time to clear."""
    found = compare(truth_of(a="........ffffffff"), messages_of(a="........ffff....")[:1]).total

    assert (counts(found), found.clearing_times) == ((1, 1, 1, 1), ())


def test_events_of_unknown_cameras_and_after_the_end_are_counted_apart() -> None:
    """They are neither right nor wrong, but they are said."""
    found = compare(truth_of(a="ffff...."), messages_of(a="ffff......rrrr", b="ffff"))

    assert (counts(found.total), found.ignored) == ((1, 1, 1, 1), 2)


def test_pooling_adds_counts_before_taking_ratios() -> None:
    """A run with much truth weighs more than one with little."""
    good = compare(truth_of(a="ffff....FFFF....ffff...."), messages_of(a="ffff....FFFF....ffff...."))
    bad = compare(truth_of(a="ffff...."), messages_of(a="....rrrr"))

    both = pool([good, bad])

    assert counts(both.total) == (4, 4, 3, 3)
    assert both.camera_hours == pytest.approx(16 / 3600)
    assert report(both)["event_f1"] == pytest.approx(0.75)


def test_pooled_hours_are_exact() -> None:
    """Thirty times eight camera-minutes are four hours, so eight false alarms in them are two per hour and no more."""
    run = Comparison({"fall": Tally()}, 480 / 3600)
    assert pool([run] * 30).camera_hours == 4.0


def test_nothing_at_all_has_no_ratios() -> None:
    """Without truth and events no figure is invented."""
    assert {value for name, value in figures(Tally(), 0.0).items() if name not in ("truth_events",)} == {0, None}


@pytest.mark.parametrize("count", [50, 3000])
def test_a_matching_may_take_a_long_way(count: int) -> None:
    """The last action fits one event only, which has all others move by one: as many steps as there are actions.

    action   0     1     2    ...   n
    fits     0 1   1 2   2 3        0
    """
    actions = [Action("a", "f", float(row), float(row + 1)) for row in range(count + 1)]
    events = [Detection("a", "f", "f", float(column), float(column + 1), None, None) for column in range(count + 1)]

    def fit(action: Action, event: Detection) -> float | None:
        row, column = int(action.start), int(event.start)
        if row == count:
            return 1.0 if column == 0 else None
        return {0: 1.0, 1: 0.5}.get(column - row)

    assert matching(actions, events, fit) == [*((row, row + 1) for row in range(count)), (count, 0)]


@given(st.lists(st.sets(st.integers(0, 5)), max_size=6))
def test_a_matching_is_as_large_as_can_be(fits: list[set[int]]) -> None:
    """Held against every way of pairing them."""
    actions = [Action("a", "f", float(row), 9.0) for row in range(len(fits))]
    events = [Detection("a", "f", "f", float(column), 9.0, None, None) for column in range(6)]

    def fit(action: Action, event: Detection) -> float | None:
        return 1.0 if int(event.start) in fits[int(action.start)] else None

    def most(row: int, left: frozenset[int]) -> int:
        if row == len(fits):
            return 0
        return max([most(row + 1, left), *(1 + most(row + 1, left - {one}) for one in fits[row] & left)])

    pairs = matching(actions, events, fit)
    assert len(pairs) == most(0, frozenset(range(6)))
    assert all(column in fits[row] for row, column in pairs)
    assert len({row for row, _ in pairs}) == len({column for _, column in pairs}) == len(pairs)


@pytest.mark.parametrize("early", [0.92, -0.92], ids=["early", "late"])
@pytest.mark.parametrize("count", [1500, 10_000])
def test_hours_of_actions_without_a_pause_are_matched_in_full(count: int, early: float) -> None:
    """Each event starts closer to the next action than to its own, so every start but the last must move by one.

    truth   |-0-|-1-|-2-|      events are `early` by half of that
    events |-0-|-1-|-2-|
    """
    seconds = 1.8 * count + 10
    truth = Truth(
        tuple(Action("door", "fall", 5 + 1.8 * row, 5 + 1.8 * row + 1.8) for row in range(count)),
        {"door": seconds},
        {"door": REPLAY_EPOCH_NS},
    )
    begins = [instant(5 + 1.8 * row - early) for row in range(count)]
    messages = [
        sample_event(
            "ended", id=f"e{row}", camera="door", label="fall", start_ns=begin, end_ns=begin + 18 * SECOND // 10
        )
        for row, begin in enumerate(begins)
    ]

    assert report(compare(truth, messages))["start_recall"] == 1.0


@pytest.mark.parametrize("name", ["OpenDoor", "open_door", "Open  Door", "open door", "Ｏｐｅｎ Ｄｏｏｒ"])
@pytest.mark.parametrize("chosen", [None, ["open door"], ["OpenDoor"], ["open_door"], ["open-door"]])
def test_a_label_is_one_however_it_is_written(name: str, chosen: list[str] | None) -> None:
    """Class names, words, other capitals, wide letters: as lists of clips and calibrations write them, in words."""
    truth = Truth((Action("a", name, 10, 20),), {"a": 100.0}, {"a": REPLAY_EPOCH_NS})
    message = sample_event(
        "ended", camera="a", label="open door", label_id="open-door", start_ns=instant(10), end_ns=instant(20)
    )

    found = compare(truth, [message], chosen)

    assert (len(found.labels), found.total.matched, found.total.events) == (1, 1, 1)


@pytest.mark.parametrize(
    ("true", "event"),
    [("T\u00fcr\u00d6ffnen", "tu\u0308r o\u0308ffnen"), ("跑步", "跑步"), ("ПрыжокВверх", "прыжок вверх")],
)
def test_labels_of_other_scripts_are_compared_alike(true: str, event: str) -> None:
    """Accents may be characters of their own, and other alphabets have capitals too."""
    truth = Truth((Action("a", true, 10, 20),), {"a": 100.0}, {"a": REPLAY_EPOCH_NS})
    message = sample_event("ended", camera="a", label=event, start_ns=instant(10), end_ns=instant(20))

    assert compare(truth, [message]).total.matched == 1
    assert compare(truth, [message], [true]).total.matched == 1
    assert compare(truth, [message], [event]).total.matched == 1
    assert compare(truth, [message], ["something else"]).total.matched == 0
