import json
from pathlib import Path

import pytest

from pipeline.camera.check import CheckReport, check
from pipeline.camera.source_settings import SourceSettings
from pipeline.errors import AuthenticationError, CameraRefused
from pipeline.local.rtsp import Login, Media, RtspServer, load_media
from pipeline.local.test_card import write_test_card


def camera(server: RtspServer) -> SourceSettings:
    """The test camera, with short limits."""
    return SourceSettings(server.url("door"), open_seconds=1, stall_seconds=0.5)


def test_a_sound_camera_has_no_remarks(server: RtspServer, card: Media) -> None:
    """Codec, size, rate, key pictures, clock and latency of a good camera are all measured, and nothing is wrong."""
    server.add("door", card, login=Login("ann", "s3cret"))

    report = check(camera(server), 1.5)

    assert (report.codec, report.width, report.height, report.clock) == ("h264", 320, 240, "rtcp")
    assert report.fps == pytest.approx(25, abs=0.5)
    assert report.key_interval == pytest.approx(12 / 25, abs=0.05)
    assert report.clock_offset == pytest.approx(0, abs=0.5)
    assert report.latency is not None
    assert 0 <= report.latency < 1
    assert (report.corrupt, report.untimed, report.sessions, report.fault) == (0, 0, 1, None)
    assert report.remarks == []
    assert "s3cret" not in json.dumps(report.document())


@pytest.mark.parametrize(
    ("fault", "value", "remark"),
    [
        ("reports", False, "no RTCP sender reports"),
        ("report_clock", 600.0, "its clock is off by"),
        ("loss", 1.0, "no picture"),
    ],
)
def test_what_is_wrong_is_said_with_a_remedy(
    server: RtspServer, card: Media, fault: str, value: object, remark: str
) -> None:
    """Missing reports, a wrong clock and a silent stream are each remarked on."""
    setattr(server.add("door", card).faults, fault, value)

    report = check(camera(server), 0.6)

    assert any(remark in text for text in report.remarks), report.remarks


def test_a_file_is_measured_too(tmp_path: Path) -> None:
    """A file has no clock and no latency; its rate and key pictures are known, and nobody waits for the next one."""
    file = write_test_card(tmp_path / "card.mp4", seconds=12, fps=10, width=160, height=120, gop=50)

    report = check(SourceSettings(str(file)), 5)

    assert (report.fps, report.key_interval, report.pictures) == (10.0, 5.0, 120)
    assert (report.latency, report.clock_offset, report.jitter, report.clock) == (None, None, None, None)
    assert report.remarks == []


def test_a_file_without_time_stamps_is_remarked_on(tmp_path: Path) -> None:
    """An elementary stream is measured at the rate at which its pictures are counted, and the remark says so."""
    file = write_test_card(tmp_path / "card.h264", seconds=2, fps=25, width=160, height=120)

    report = check(SourceSettings(str(file)), 5)

    assert (report.pictures, report.untimed, report.fps, report.fault) == (50, 0, 25.0, None)
    assert any("no time stamps: its pictures are counted at 25 a second" in remark for remark in report.remarks)


@pytest.mark.parametrize(
    ("fault", "remark", "fps"),
    [
        ({"restamp": lambda number, at: 0.0}, "they stand still", 25),
        ({"restamp": lambda number, at: at // 2 * 2}, "they stand still", 25),
        ({"restamp": lambda number, at: at * 0.8}, "its time stamps run 25 % fast: they say 31", 25),
        ({"restamp": lambda number, at: at * 2.0}, "its time stamps run 50 % slow: they say 12.5", 25),
    ],
)
def test_time_stamps_that_are_worth_nothing_are_remarked_on(
    server: RtspServer, card: Media, fault: dict[str, object], remark: str, fps: float
) -> None:
    """Stamps that stand still, or run fast or slow: the check says so, and tells the rate that is delivered."""
    faults = server.add("door", card).faults
    for name, value in fault.items():
        setattr(faults, name, value)

    report = check(camera(server), 5.0)

    assert any(remark in text for text in report.remarks), report.remarks
    assert report.fps == pytest.approx(fps, abs=1.0)
    assert report.sessions <= 2


def test_a_camera_without_a_key_picture_is_remarked_on(server: RtspServer, tmp_path: Path) -> None:
    """Whoever joins between two key pictures gets none: the check says so, how long it watched, and what to set."""
    file = write_test_card(tmp_path / "rare.mp4", seconds=12, fps=15, width=160, height=120, gop=180)
    server.add("door", load_media(file, longest_gop=20)).faults.joined = 1.0

    report = check(camera(server), 2.0)

    assert (report.pictures, report.fault) == (0, None)
    assert "video comes, but no key picture for 2" in report.remarks[0]
    assert "set one every 1 to 2 s on the camera" in report.remarks[0]


def test_rare_key_pictures_are_remarked_on() -> None:
    """Key pictures far apart make a reconnect slow; the remark names the distance and the remedy."""
    report = CheckReport("x", 9, 0.1, 0.2, "h264", 1, 1, 25, 8.0, 225, "rtcp", 0, 0, 0, 0, 0, 1, 1, None)

    assert report.remarks == ["key pictures are 8.0 s apart: a reconnect loses as much; set 1 to 2 s on the camera"]


def test_a_camera_that_does_not_open_raises(server: RtspServer, card: Media) -> None:
    """A refused login and an unknown path raise their own errors."""
    server.add("door", card, login=Login("ann", "s3cret"))

    with pytest.raises(AuthenticationError):
        check(SourceSettings(server.url("door", login=False)), 1)
    with pytest.raises(CameraRefused):
        check(SourceSettings(server.url("door") + "x"), 1)


def test_the_document_has_stable_names() -> None:
    """The names that programs rely on."""
    report = CheckReport("x", 1, 0.1, 0.2, "h264", 1, 1, 25, 1, 9, "rtcp", 0, 0, 0, 0, 0, 1, 1, None)

    assert set(report.document()) == {
        *("source", "seconds", "opened_after", "first_picture_after", "codec", "width", "height", "fps"),
        *("key_interval", "pictures", "clock", "clock_offset", "latency", "jitter", "longest_gap", "corrupt"),
        *("untimed", "sessions", "fault", "remarks", "stamped_fps", "stamp_fault", "counted_fps", "unkeyed_seconds"),
    }
