import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.analysis.sessions import DROPPED, Stream, ends, judge
from pipeline.records.frames import EndMarker


def walk(frames: list[tuple[int, int]], rate: int = 4) -> list[str]:
    """Judge (session, tick) pairs in order, as a worker does."""
    stream: Stream | None = None
    verdicts = []
    for session, tick in frames:
        verdict = judge(stream, session, tick, rate)
        verdicts.append(verdict)
        if verdict not in DROPPED:
            stream = Stream(session, rate, tick)
    return verdicts


def test_a_newer_session_ends_the_older_and_ticks_only_grow() -> None:
    """The timeline of the module's docstring is judged as drawn."""
    frames = [(100, 7), (100, 8), (100, 8), (200, 3), (100, 9), (200, 4), (200, 2), (200, 5)]
    assert walk(frames) == [
        "opens",
        "continues",
        "duplicate",
        "opens",
        "superseded",
        "continues",
        "late",
        "continues",
    ]


def test_an_ended_session_stays_ended() -> None:
    """After an end marker nothing of that session counts, but a newer session opens."""
    ended = Stream(100, 4, 8, ended=True)
    assert judge(ended, 100, 9, 4) == "ended"
    assert judge(ended, 99, 9, 4) == "superseded"
    assert judge(ended, 101, 1, 4) == "opens"


def test_a_session_has_one_rate() -> None:
    """A frame of another rate inside a session is dropped: a change of rate must open a new session."""
    assert judge(Stream(100, 4, 8), 100, 20, 8) == "rate"


@pytest.mark.parametrize(
    ("stream", "applies"),
    [
        (Stream(100, 4, 8), True),
        (Stream(100, 4, 9), False),
        (Stream(101, 4, 8), False),
        (Stream(100, 4, 8, ended=True), False),
        (None, False),
    ],
    ids=["still-there", "went-on", "reconnected", "ended-already", "never-seen"],
)
def test_an_end_marker_applies_only_to_what_it_saw(stream: Stream | None, applies: bool) -> None:
    """An end marker that was overtaken by frames or by a new session changes nothing."""
    assert ends(stream, EndMarker("door", session=100, last_tick=8, reason="lost")) is applies


@pytest.mark.parametrize(
    ("stream", "applies"),
    [
        (Stream(100, 4, 8), True),
        (Stream(100, 4, 8, ended=True), True),
        (Stream(100, 4, 9), True),
        (Stream(99, 4, 8), False),
        (Stream(101, 4, 8), False),
        (None, False),
    ],
    ids=["still-there", "lost before", "another last tick", "an older session", "reconnected", "never-seen"],
)
def test_a_removal_applies_by_session_alone(stream: Stream | None, applies: bool) -> None:
    """Whoever takes a camera out may not have published it, and knows no last tick. A newer session is another's."""
    assert ends(stream, EndMarker("door", session=100, last_tick=8, reason="removed")) is applies


@given(st.lists(st.tuples(st.integers(1, 3), st.integers(0, 9)), max_size=40))
def test_what_counts_is_strictly_growing(frames: list[tuple[int, int]]) -> None:
    """Whatever arrives, (session, tick) of the frames that count grows strictly."""
    counted = [frame for frame, verdict in zip(frames, walk(frames), strict=True) if verdict not in DROPPED]
    assert all(before < after for before, after in itertools.pairwise(counted))
