import pytest

from pipeline.camera.source_settings import SourceSettings
from pipeline.camera.waiting import Waiting, no_key_picture

SOURCE = SourceSettings("rtsp://camera/door", stall_seconds=5.0, key_picture_seconds=60.0)


def verdicts(waiting: Waiting, until: float, *, video_until: float = 1e9, picture_at: float = 0.0) -> dict[float, str]:
    """The first instant of each verdict, asked each half second; a packet of the video comes each time."""
    found: dict[float, str] = {}
    packets = 0
    for at in (half / 2 for half in range(201, round(until * 2) + 1)):
        packets += at <= video_until
        verdict = waiting.verdict(at, packets, picture_at)
        if verdict and verdict not in found.values():
            found[at] = verdict
    return found


def test_a_key_picture_has_its_chance() -> None:
    """Packets come, none of a key picture: after five seconds it is said, after sixty the connection is given up.

    opened 100 ..... 105 "key picture" ........ 160 "no key picture"
    """
    assert verdicts(Waiting(SOURCE, 100.0), 170) == {105.0: "key picture", 160.0: "no key picture"}


def test_a_connection_without_video_is_a_stall() -> None:
    """Nothing of the video comes, or no more of it: the usual limit."""
    assert verdicts(Waiting(SOURCE, 100.0), 170, video_until=0) == {105.0: "nothing"}
    assert verdicts(Waiting(SOURCE, 100.0), 170, video_until=110) == {105.0: "key picture", 115.0: "nothing"}


def test_once_pictures_have_come_the_usual_limit_holds() -> None:
    """After a usable picture five seconds without one are a stall, whatever packets come."""
    waiting = Waiting(SOURCE, 100.0)
    waiting.decoded(True, 110.0)

    assert verdicts(waiting, 170, picture_at=110.0) == {115.0: "nothing"}


def test_damaged_key_pictures_are_not_waited_for() -> None:
    """A key picture came and was of no use, like all others: a new connection brings another."""
    waiting = Waiting(SOURCE, 100.0)
    waiting.decoded(True, 104.0)

    assert verdicts(waiting, 170) == {105.0: "unusable"}


@pytest.mark.parametrize(("seconds", "shown"), [(0.26, "0.3"), (9.9, "5"), (31.0, "30")])
def test_the_words_change_every_five_seconds_only(seconds: float, shown: str) -> None:
    """A status that changes is published at once, so its words stay for a while."""
    assert f"no key picture for {shown} s" in no_key_picture(seconds)
