from pipeline.analysis.camera_streams import Arrived, CameraStreams, Closed, Geometry, Opened, Relabelled
from pipeline.analysis.sessions import Stream
from pipeline.analysis.windows import Window
from pipeline.records.frames import EndMarker, LabelsMarker
from pipeline.testing import frame, picture

GREY = picture("grey")


def camera_streams(position: int = 0, restored: dict[str, Stream] | None = None) -> CameraStreams:
    """A partition with windows of two frames at four per second."""
    return CameraStreams(Geometry(2, 4), 2.0, position, -1, restored or {})


def test_a_session_opens_and_its_frames_become_windows() -> None:
    """The first frame opens the session, the second completes a window."""
    streams = camera_streams()
    first = streams.take(0, frame("door", 8), GREY)
    assert isinstance(first[0], Opened) and isinstance(first[1], Arrived) and first[1].due == (range(8, 9),)
    second = streams.take(1, frame("door", 9), GREY)
    assert isinstance(second[0], Arrived) and isinstance(second[0].due[0], Window)
    assert second[0].due[0].offsets == (0, 1)
    assert streams.position == 2 and streams.rewind == 0


def test_a_newer_session_closes_the_older_first() -> None:
    """The older session ends at its last tick, in a step before the newer one opens."""
    streams = camera_streams()
    streams.take(0, frame("door", 8), GREY)
    closed, opened, _ = streams.take(1, frame("door", 3, session=2), GREY)
    assert closed == Closed("door", Stream(1, 4, 8), "session") and opened == Opened("door", 2, 4)


def test_what_does_not_count_is_counted() -> None:
    """Dropped frames make no step, but they move the position and are counted by reason."""
    streams = camera_streams()
    streams.take(0, frame("door", 8), GREY)
    for offset, other in enumerate([frame("door", 8), frame("door", 7), frame("door", 9, rate=6)], start=1):
        assert streams.take(offset, other, GREY) == []
    assert dict(streams.tally.dropped) == {"duplicate": 1, "late": 1, "rate": 1} and streams.position == 4


def test_an_end_marker_closes_a_session_for_good() -> None:
    """After `lost` the session stays ended and holds nothing back; after `removed` the camera is forgotten."""
    streams = camera_streams()
    streams.take(0, frame("door", 8), GREY)
    (closed,) = streams.take(1, EndMarker("door", 1, 8, "lost"), None)
    assert closed == Closed("door", Stream(1, 4, 8), "lost")
    assert streams.take(2, frame("door", 9), GREY) == [] and streams.tally.dropped["ended"] == 1
    assert streams.rewind == streams.position == 3
    streams.take(3, frame("door", 1, session=2), GREY)
    (gone,) = streams.take(4, EndMarker("door", 2, 1, "removed"), None)
    assert isinstance(gone, Closed) and gone.removed and streams.stream("door") is None


def test_a_camera_that_was_lost_and_then_removed_is_forgotten() -> None:
    """Otherwise its state would be kept for ever; it has no event that could end once more."""
    streams = camera_streams()
    streams.take(0, frame("door", 8), GREY)
    streams.take(1, EndMarker("door", 1, 8, "lost"), None)

    (gone,) = streams.take(2, EndMarker("door", 1, 8, "removed"), None)

    assert gone == Closed("door", Stream(1, 4, 8, ended=True), "session", removed=True)
    assert streams.stream("door") is None
    assert streams.take(3, EndMarker("door", 1, 8, "removed"), None) == []


def test_a_label_version_only_rises() -> None:
    """A marker of the version in force, or of an older one, is no step."""
    streams = camera_streams()
    (step,) = streams.take(0, LabelsMarker(3), None)
    assert step == Relabelled(3, {}) and streams.labels == 3
    assert streams.take(1, LabelsMarker(3), None) == [] and streams.take(2, LabelsMarker(1), None) == []


def test_frames_below_the_position_only_fill_rings() -> None:
    """After a restart the rewound frames make no steps, and the first live frame completes a window with them.

    offset   5    6  |  7
    tick     8    9  |  10
              rewound  live
    """
    streams = camera_streams(position=7, restored={"door": Stream(1, 4, 2), "old": Stream(1, 4, 5)})
    assert streams.take(5, frame("door", 8), GREY) == [] and streams.take(6, frame("door", 9), GREY) == []
    (arrived,) = streams.take(7, frame("door", 10), GREY)
    assert isinstance(arrived, Arrived) and isinstance(arrived.due[0], Window)
    assert [slot.item.item for slot in arrived.due[0].slots] == [None, None]
    assert streams.stream("old") == Stream(1, 4, 5)


def test_rewound_frames_of_unknown_cameras_and_sessions_are_left_out() -> None:
    """A camera or session that the state does not know had ended, or was removed, at P."""
    streams = camera_streams(position=3, restored={"door": Stream(2, 4, 8), "gone": Stream(1, 4, 8, ended=True)})
    for offset, record in enumerate([frame("door", 9, session=1), frame("other", 9), frame("gone", 9)]):
        assert streams.take(offset, record, GREY) == []
    assert dict(streams.streams()) == {"door": Stream(2, 4, 8), "gone": Stream(1, 4, 8, ended=True)}


def test_rewound_frames_from_before_the_session_was_opened_are_left_out() -> None:
    """A removed camera may come back in the same session; `test_cuts` draws the case."""
    streams = camera_streams(position=3, restored={"door": Stream(1, 4, 8, opened=2)})
    for offset, tick in enumerate([9, 10, 8]):
        assert streams.take(offset, frame("door", tick), GREY) == []
    assert streams.stream("door") == Stream(1, 4, 8, opened=2)
