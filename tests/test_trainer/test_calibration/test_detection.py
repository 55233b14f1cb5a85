"""Scores to events, drawn as timelines: one digit is a window's score in tenths, a dot none, four windows a second."""

from __future__ import annotations

from dataclasses import asdict, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.analysis.event_machine import EventContext, WindowScores, advance, finish
from pipeline.analysis.thresholds import Calibration, resolve
from pipeline.records.events import ActionEvent, Evidence
from pipeline.records.labels import Label
from pipeline.records.state import LabelState
from pipeline.testing import sample_event
from trainer.calibration.detection import Rules, Series, joined, label_tally, match, spans, tally

RULES = Rules(enter=0.6, exit=0.3, confirm=2, merge_seconds=0.5)


def found(line: str, rules: Rules = RULES, onset: float = 0.0, offset: float = 0.0) -> list[tuple[float, float, float]]:
    """Events of a drawn line of scores."""
    scores = np.array([np.nan if mark == "." else int(mark) / 10 for mark in line])
    return spans(scores, np.arange(len(line)) / 4, rules, onset, offset)


def test_two_thresholds_hold_an_event_together() -> None:
    """It begins with the first of two windows above `enter` and lasts to the last one above `exit`."""
    #              start |    | end
    assert found("000016845431000000") == [(5 / 4, 10 / 4, 6 / 4)]


def test_a_single_high_window_is_not_confirmed() -> None:
    """One window above `enter` is no event."""
    assert found("00000900000000") == []


def test_short_gaps_are_merged_and_long_ones_part() -> None:
    """Below `exit` for less than half a second is the same event, for half a second two."""
    assert len(found("0099099000000")) == 1
    assert len(found("0099009900000")) == 2


def test_a_minimum_length_lets_brief_ones_pass() -> None:
    """The score must stay above `exit` for the minimum."""
    brief = Rules(enter=0.6, exit=0.3, confirm=2, merge_seconds=0.5, min_seconds=1.0)
    assert found("009900000000", brief) == []
    assert found("009944400000", brief) == [(2 / 4, 6 / 4, 6 / 4)]


def test_an_event_begins_where_its_score_rose() -> None:
    """Without a gap above `exit`, and at most so long before the windows that confirmed it."""

    def begun(line: str, seconds: float) -> list[float]:
        rules = Rules(enter=0.6, exit=0.3, confirm=2, merge_seconds=0.5, backtrack_seconds=seconds)
        return [start for start, _, _ in found(line, rules)]

    #              |   rise at 2, confirmed at 5
    assert begun("0044499000000", 0.0) == [5 / 4]
    assert begun("0044499000000", 2.0) == [2 / 4]
    assert begun("0044499000000", 0.5) == [3 / 4]
    assert begun("0040499000000", 2.0) == [4 / 4]
    assert begun("0099004499000", 2.0) == [2 / 4, 6 / 4]


def test_nothing_fires_during_the_cool_down() -> None:
    """After an event the label rests; what lasts beyond the rest begins where the rest is over."""
    rest = Rules(enter=0.6, exit=0.3, confirm=2, merge_seconds=0.5, cooldown_seconds=1.0)
    assert len(found("0099000990000000", rest)) == 1
    assert found("009900099999999000", rest)[1][0] == pytest.approx(3 / 4 + 1.5)


def test_lags_shift_the_ends_but_events_never_overlap() -> None:
    """Start and end move back by their lags; a start never lies before the end of the event before."""
    first, second = found("0000999900999900000", onset=1.0, offset=0.25)
    assert first == (0.0, 1.5, 5 / 4)
    assert second[0] == pytest.approx(1.5)


def test_an_event_that_is_cut_off_lasted_until_its_last_window() -> None:
    """The offset lag is how late an end is seen; where the stream ends or the event is too long, none was seen."""
    long = replace(RULES, max_seconds=1.0)
    assert found("000099993000", offset=0.5) == [(4 / 4, 6 / 4, 5 / 4)]
    assert found("000099993", offset=0.5) == [(4 / 4, 8 / 4, 5 / 4)]
    assert found("000099990", offset=0.5) == [(4 / 4, 5 / 4, 5 / 4)]
    assert found("00009999......", offset=0.5) == [(4 / 4, 7 / 4, 5 / 4)]
    assert found("0000999999000", long, offset=0.5)[0] == (4 / 4, 8 / 4, 5 / 4)


SCORES = st.lists(st.sampled_from([0.0, 0.2, 0.4, 0.5, 0.7, 0.9]), min_size=4, max_size=60)
SETTINGS = st.fixed_dictionaries(
    {
        "confirm": st.integers(1, 3),
        "backtrack_seconds": st.sampled_from([0.0, 0.5, 2.0]),
        "min_seconds": st.sampled_from([0.0, 0.5, 1.0]),
        "merge_seconds": st.sampled_from([0.25, 0.5, 1.0]),
        "cooldown_seconds": st.sampled_from([0.0, 0.75]),
        "max_seconds": st.sampled_from([3.0, 60.0]),
    }
)


@given(SCORES, SETTINGS, st.integers(0, 5), st.integers(0, 5))
def test_thresholds_are_fitted_to_what_the_worker_does(
    scores: list[float], settings: dict[str, float], onset: int, offset: int
) -> None:
    """Over any stream that ends, the search sees the events that the serving side's machine tells of."""
    rules = Rules(enter=0.6, exit=0.3, **settings)
    searched = spans(np.array(scores), np.arange(len(scores)) / 4, rules, onset / 4, offset / 4)
    label = Label("fall", "a person falls")
    machine = resolve((label,), Calibration(asdict(rules), {}, onset, offset), {}, rate=4)
    context = EventContext("door", 1, 4, sample_event().model, 1, 8, 4.0)
    states: dict[str, LabelState] = {}
    told: list[ActionEvent] = []
    for tick, score in enumerate(scores):
        window = WindowScores(tick, np.array([score], np.float32), Evidence("frames", 0, tick, tick))
        states, messages = advance(states, window, machine, context)
        told += messages
    told += finish(states, "lost", len(scores) - 1, machine, context)[1]
    served = [(one.start_tick / 4, one.end_tick / 4) for one in told if one.end_tick is not None]
    assert [(start, end) for start, end, _ in searched] == served


def test_pairs_are_one_to_one_and_overlap_by_half() -> None:
    """The better of two detections is matched; the other and one that overlaps too little are not."""
    #  truth      |-----|          |----|
    #  found      |----||-----|         |----|
    truth = [(0.0, 2.0), (5.0, 7.0)]
    events = [(0.0, 1.8, 0.0), (0.5, 2.6, 0.0), (6.5, 8.5, 0.0)]
    assert match(truth, events) == [(0, 0)]
    counts = tally(truth, events)
    assert (counts.hits, counts.truth, counts.found) == (1, 2, 3)
    assert counts.f1 == pytest.approx(0.4)


def test_joined_streams_count_like_single_ones() -> None:
    """No event reaches from one stream into the next, even when it is open at the end."""
    lines = "0000999999", "9999990000", "0009990009"
    streams = [
        Series(np.arange(10) / 4, np.array([[int(mark) / 10] for mark in line]), {0: [(1.0, 2.0)]}, 2.5)
        for line in lines
    ]
    single = sum((label_tally(one, 0, RULES, 0.0, 0.0) for one in streams[1:]), label_tally(streams[0], 0, RULES, 0, 0))
    together = label_tally(joined(streams, 4), 0, RULES, 0.0, 0.0)
    assert (together.hits, together.truth, together.found) == (single.hits, single.truth, single.found)
    assert together.delays == pytest.approx(single.delays)
