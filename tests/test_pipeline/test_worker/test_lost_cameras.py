from pipeline.analysis.sessions import Stream
from pipeline.records.frames import EndMarker
from pipeline.records.wire import Partition
from pipeline.worker.lost_cameras import LostCameras, Suspicion

P = Partition("frames", 0)


def test_a_camera_is_suspected_after_the_limit() -> None:
    """The limit counts from the last frame that was processed.

    seconds   0    1 ....... 10   11
    door      x    x               suspected
    yard      x              x
    """
    lost_cameras = LostCameras(limit=10)
    streams = {"door": Stream(5, 4, 99), "yard": Stream(6, 4, 100)}
    lost_cameras.open(P, 0)
    lost_cameras.processed(P, ["door", "yard"], 1)
    lost_cameras.processed(P, ["yard"], 10)
    assert lost_cameras.suspect(P, 7, streams, 10.9) is None
    assert lost_cameras.suspect(P, 7, streams, 11) == Suspicion(7, (EndMarker("door", 5, 99, "lost"),))


def test_no_camera_is_suspected_for_the_time_before_the_assignment() -> None:
    """After a takeover every camera gets the whole limit again. Ended sessions are ignored."""
    lost_cameras = LostCameras(limit=10)
    lost_cameras.open(P, 100)
    streams = {"door": Stream(5, 4, 99), "gone": Stream(5, 4, 99, ended=True)}
    assert lost_cameras.suspect(P, 7, streams, 109) is None
    found = lost_cameras.suspect(P, 7, streams, 110)
    assert found is not None and [marker.camera for marker in found.markers] == ["door"]
    lost_cameras.open(P, 120)
    assert lost_cameras.suspect(P, 7, streams, 125) is None
