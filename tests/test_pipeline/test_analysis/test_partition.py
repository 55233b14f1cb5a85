"""The analysis of one partition by itself: every score is given, without an engine."""

from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np

from pipeline.analysis.camera_streams import Decoded, Geometry, Tally
from pipeline.analysis.partition import Dead, Fired, LabelView, PartitionAnalysis, Restored
from pipeline.analysis.rewind import MOST_BAD, NO_STATE, Committed, Pictures
from pipeline.errors import BadRecordError
from pipeline.records.events import ModelReference
from pipeline.records.frames import LabelsMarker
from pipeline.records.wire import Partition
from pipeline.testing import ColourLabels, as_record, frame, picture

P = Partition("actionwire.frames", 0)
RED = ColourLabels.of(0, ["red"])
MODEL = ModelReference("colours@1", "colours", "1", "colours")


def partition(position: int = 0, **options: object) -> PartitionAnalysis:
    """The analysis of a partition that starts at a position, with windows of four frames."""
    restored = Restored(P, Committed(position, position, NO_STATE, 0), **options)  # type: ignore[arg-type]
    return PartitionAnalysis(restored, Geometry(4, 4), 5.0, MODEL, Tally())


def frames(count: int, begin: int = 0) -> list[Decoded]:
    """One frame per tick; offsets are ticks."""
    return [Decoded(tick, frame("door", tick), picture("grey")) for tick in range(begin, begin + count)]


def advance(
    analysis: PartitionAnalysis,
    records: Iterable[Decoded],
    score: float = 0.0,
    label_views: Callable[[int], LabelView] = lambda _: RED,
) -> tuple[list[Fired], list[Dead]]:
    """Lead records through both stages; every window gets the same score for every label."""
    dead: list[Dead] = []
    fired: list[Fired] = []
    steps = list(analysis.take(list(records), label_views, dead))
    analysis.pass_to(analysis.reach())
    for taken in steps:
        taken.scored.extend(np.array([score], np.float32) for _ in taken.windows)
        fired += analysis.decide(taken)
    return fired, dead


def phases(fired: Iterable[Fired]) -> list[tuple[str, str | None]]:
    """Phase and end reason of each message."""
    return [(one.event.phase, one.event.reason) for one in fired]


def test_scores_become_events_in_two_stages() -> None:
    """`take` says which windows to score, `decide` fires at the frame that confirms the event."""
    fired, _ = advance(partition(), frames(8), score=1.0)

    assert phases(fired) == [("started", None)]
    assert fired[0].partition == P and fired[0].capture_ns is not None


def test_a_commit_says_what_is_decided_while_more_is_taken() -> None:
    """One thread takes the next records while another decides and commits those before.

    taken      0 ... 4 | 5 ... 9
    decided    0 ... 4 |           commit: P = 5, and the state at tick 4
    """
    analysis = partition()
    steps = list(analysis.take(frames(5), lambda _: RED, []))
    first = analysis.reach()
    later = list(analysis.take(frames(5, begin=5), lambda _: RED, []))
    second = analysis.reach()
    seen = []
    for reached, some in ((first, steps), (second, later)):
        analysis.pass_to(reached)
        for taken in some:
            taken.scored.extend(np.array([0.0], np.float32) for _ in taken.windows)
            analysis.decide(taken)
        snapshot, state = analysis.snapshot(), analysis.state("door")
        assert snapshot is not None and state is not None
        seen.append((snapshot.committed.position, state.last_tick))

    assert seen == [(5, 4), (10, 9)]


def test_a_partition_without_a_position_ends_what_it_finds_open() -> None:
    """Events left over from an older life of the group end as lost, and their cameras are forgotten."""
    before = partition()
    advance(before, frames(8), score=1.0)
    state = before.state("door")
    assert state is not None

    again = partition(50, cameras={"door": state}, fresh=True)

    assert phases(again.end_leftovers(RED)) == [("ended", "lost")]
    snapshot = again.snapshot()
    assert snapshot is not None
    assert replace(snapshot.committed, pictures=None) == Committed(50, 50, NO_STATE, 0)
    assert snapshot.changed == {"door": None}
    assert again.snapshot() is None


def test_a_state_is_written_only_when_it_changed() -> None:
    """Frames that leave every label at rest move the position, not the state."""
    analysis = partition()
    advance(analysis, frames(5))
    first = analysis.snapshot()
    advance(analysis, frames(5, begin=5))
    second = analysis.snapshot()

    assert first is not None and first.committed.position == 5 and set(first.changed) == {"door"}
    assert second is not None and second.committed.position == 10 and second.changed == {}


def test_a_bad_record_is_dead_once() -> None:
    """Below P it went to the dead letters in an earlier life of the partition.

    offset   0     1     2     3
    record   bad   bad   bad   frame
    P at 2               dead
    """
    error = BadRecordError("jpeg", "not a JPEG")
    bad = [Decoded(offset, error, raw=as_record(frame("door", offset), P, offset)) for offset in range(3)]
    analysis = partition(2)

    _, dead = advance(analysis, [*bad, *frames(1, begin=3)])

    assert [(one.record.offset, one.reason) for one in dead] == [(2, "jpeg")]
    assert analysis.streams.position == 4


def test_a_commit_says_which_pictures_a_restart_needs() -> None:
    """Those in the rings at P, and which are bad among those that are read again; too many bad ones, and it says none.

    offset     0 ... 4   5 bad   6 ... 9
    windows                      6 7 8 9: W = 6
    """
    error = BadRecordError("jpeg", "not a JPEG")
    analysis = partition()
    advance(analysis, [*frames(5), Decoded(5, error), *frames(4, begin=6)])
    assert analysis.reach().pictures == Pictures(6, 4, 4, 1, (5,))
    advance(analysis, [Decoded(10 + number, error) for number in range(MOST_BAD)])
    assert analysis.reach().pictures is None


def test_a_stray_label_marker_does_not_shut_out_those_that_follow() -> None:
    """A version that was never written stands for the newest known one; the next change must still count.

    marker   2^61        1
    labels      0 (red)   1 (blue)
    """
    known = {0: RED, 1: ColourLabels.of(1, ["blue"])}
    analysis = partition()

    markers = [Decoded(0, LabelsMarker(2**61)), Decoded(1, LabelsMarker(1))]
    advance(analysis, markers, label_views=lambda version: known.get(version, known[0]))

    assert analysis.streams.labels == 1
