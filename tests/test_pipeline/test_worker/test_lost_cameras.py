from pipeline.analysis.sessions import Stream
from pipeline.records.frames import EndMarker
from pipeline.records.wire import Partition
from pipeline.worker.lost_cameras import Silence, Suspicion

P = Partition("frames", 0)


def test_a_camera_is_suspected_after_the_limit() -> None:
    """Silence counts from the last frame that was processed.

    seconds   0    1 ....... 10   11
    door      x    x               suspected
    yard      x              x
    """
    silence = Silence(limit=10)
    streams = {"door": Stream(5, 4, 99), "yard": Stream(6, 4, 100)}
    silence.open(P, 0)
    silence.hear(P, ["door", "yard"], 1)
    silence.hear(P, ["yard"], 10)
    assert silence.suspect(P, 7, streams, 10.9) is None
    assert silence.suspect(P, 7, streams, 11) == Suspicion(7, (EndMarker("door", 5, 99, "lost"),))


def test_nobody_has_been_silent_before_the_assignment() -> None:
    """A worker that takes a partition over gives every camera the whole limit again; ended sessions are left alone."""
    silence = Silence(limit=10)
    silence.open(P, 100)
    streams = {"door": Stream(5, 4, 99), "gone": Stream(5, 4, 99, ended=True)}
    assert silence.suspect(P, 7, streams, 109) is None
    found = silence.suspect(P, 7, streams, 110)
    assert found is not None and [marker.camera for marker in found.markers] == ["door"]
    silence.open(P, 120)
    assert silence.suspect(P, 7, streams, 125) is None
