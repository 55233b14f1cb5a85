"""Coverage: ticks encoded over ticks captured, counted over hand-made records."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.analysis.camera_streams import Geometry
from pipeline.demo.live import counter, dropped
from pipeline.records.frames import EndMarker, StreamRecord
from pipeline.records.wire import Partition, Record
from pipeline.replay.coverage import Coverage, coverage
from pipeline.testing import as_record, frame

PARTITION = Partition("demo.frames", 0)
EVERY_TICK = Geometry(frames=4, rate=4)


def topic(*records: StreamRecord) -> list[Record]:
    """One partition of the frames topic."""
    return [as_record(record, PARTITION, offset) for offset, record in enumerate(records)]


def count(
    records: Sequence[Record], encodings: int, geometry: Geometry = EVERY_TICK, *, ingest: int = 0, **worker: int
) -> tuple[int, int]:
    """(captured, encoded); `ingest` ticks were dropped for the broker's queue, and the worker's by reason."""
    found = coverage(records, geometry, encodings=encodings, ingest_dropped={"queue": ingest}, worker_dropped=worker)
    return found.captured, found.encoded


def test_every_tick_of_the_topic_is_captured_once() -> None:
    """What counts is the topic, not a grid of expected ticks: one frame at the seam more is one captured tick more."""
    records = topic(*(frame("a", tick) for tick in range(10, 19)))

    assert count(records, 9) == (9, 9)
    assert count(records, 8) == (9, 8)


def test_a_tick_encoded_again_after_a_restart_counts_once() -> None:
    """Warming up encodes the frames of a window anew; the share stays at 1."""
    records = topic(*(frame("a", tick) for tick in range(6)))

    assert count(records, 6 + 4) == (6, 6)


@pytest.mark.parametrize("reason", ["shed", "hole", "undecodable", "bad_record"])
def test_what_the_worker_leaves_out_is_missing(reason: str) -> None:
    """Shed, expired and undecodable frames lower the share, even where a restart encoded others twice."""
    records = topic(*(frame("a", tick) for tick in range(8)))

    assert count(records, 5, **{reason: 3}) == (8, 5)
    assert count(records, 5 + 4, **{reason: 3}) == (8, 5)


def test_what_ingest_drops_is_missing() -> None:
    """A tick that never reached the topic because the broker was slow was captured all the same."""
    assert count(topic(*(frame("a", tick) for tick in range(6))), 6, ingest=2) == (8, 6)


def test_an_overloaded_worker_that_takes_every_other_tick_covers_half() -> None:
    """Under overload items are left out without a record or a reason; the number of encodings says so."""
    records = topic(*(frame("a", tick) for tick in range(12)))

    assert count(records, 6) == (12, 6)


def test_only_the_ticks_that_the_bundle_uses_are_counted() -> None:
    """A bundle at half the deployment's rate uses every other tick.

    tick   0 1 2 3 4 5 6
    item   x   x   x   x
    """
    records = topic(*(frame("a", tick) for tick in range(7)))

    assert count(records, 4, Geometry(frames=4, rate=2)) == (4, 4)


def test_a_rate_that_the_bundle_cannot_use_is_not_covered() -> None:
    """Three frames a second make no window of a bundle at two; all of them are missed."""
    records = topic(*(frame("a", tick, rate=3) for tick in range(6)))

    assert count(records, 0, Geometry(frames=4, rate=2)) == (6, 0)


def test_records_that_do_not_count_are_judged_as_the_worker_judges_them() -> None:
    """A repeated tick is captured once; a late one, one of an older or of an ended session is captured and missed.

    session  1 1 1 1 2 1 2 end 2
    tick     1 2 2 0 1 3 2     3
             . .   l . s .     e      l: late, s: superseded, e: ended
    """
    records = topic(
        frame("a", 1), frame("a", 2), frame("a", 2), frame("a", 0),
        frame("a", 1, session=2), frame("a", 3), frame("a", 2, session=2),
        EndMarker("a", 2, 2, "lost"), frame("a", 3, session=2),
    )  # fmt: skip

    assert count(records, 4) == (7, 4)


def test_what_is_no_frame_is_no_tick() -> None:
    """A record that nobody can read, and markers, were never captured."""
    garbage = Record(PARTITION.topic, PARTITION.number, 1, b"a", b"?", (("schema", b"99"),))
    first, last = topic(frame("a", 1), EndMarker("a", 1, 1, "removed"))

    assert count([first, garbage, last], 1) == (1, 1)


def test_nothing_captured_has_no_share() -> None:
    """Of nothing there is no share."""
    assert count([], 0) == (0, 0)
    assert Coverage(0, 0).share is None
    assert Coverage(4, 3).share == 0.75


@given(
    ticks=st.lists(st.tuples(st.sampled_from("ab"), st.integers(1, 3), st.integers(0, 9)), max_size=30),
    encodings=st.integers(0, 60),
    queue=st.integers(0, 5),
    shed=st.integers(0, 5),
)
def test_the_share_is_a_share(ticks: list[tuple[str, int, int]], encodings: int, queue: int, shed: int) -> None:
    """Whatever the topic holds and the processes count: from 0 to 1, and below 1 as soon as something was left out."""
    records = topic(*(frame(camera, tick, session=session) for camera, session, tick in ticks))

    captured, encoded = count(records, encodings, ingest=queue, shed=shed)

    assert 0 <= encoded <= captured == len(set(ticks)) + queue
    assert encoded <= encodings
    if captured and (queue or shed):
        assert encoded < captured


def test_the_figures_come_from_a_metrics_page() -> None:
    """A series is read by its whole name; a longer name that begins with it is another series."""
    page = "\n".join(
        [
            "# TYPE actionwire_frames_total counter",
            "actionwire_frames_total 12.0",
            "actionwire_frames_total_of_another 99.0",
            'actionwire_dropped_total{reason="shed"} 3.0',
            'actionwire_dropped_total{reason="queue"} 0.0',
        ]
    )

    assert counter(page, "actionwire_frames_total") == 12.0
    assert counter(page, "actionwire_windows_total") == 0.0
    assert (dropped(page)["shed"], dropped(page)["queue"], dropped(page)["late"]) == (3, 0, 0)
