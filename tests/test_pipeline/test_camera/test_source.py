import gc
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest

from pipeline.camera.picture import scaled
from pipeline.camera.source import open_source
from pipeline.camera.source_settings import SourceSettings
from pipeline.errors import ActionwireError, AuthenticationError, CameraRefused, CameraUnavailable
from pipeline.local.rtsp import Login, Media, RtspServer, load_media
from pipeline.local.test_card import draw, number_of, write_test_card
from pipeline.testing import first_pictures

FOOTAGE = Path(__file__).parents[3] / "../shared/data/singles"


def camera(server: RtspServer, name: str = "door", **settings: object) -> SourceSettings:
    """A camera of the test server, with short limits."""
    return SourceSettings(server.url(name), **{"open_seconds": 2.0, "stall_seconds": 2.0, **settings})  # type: ignore[arg-type]


def test_pictures_carry_the_cameras_capture_time(server: RtspServer, card: Media) -> None:
    """Every picture is there, in order, with a time stamp, and the capture time of the camera's clock."""
    mount = server.add("door", card)

    pictures = first_pictures(camera(server), 15)

    assert [number_of(picture.rgb(64)) for picture in pictures] == list(range(15))
    stamps = [picture.pts for picture in pictures if picture.pts is not None]
    assert len(stamps) == 15
    assert all(39_000_000 < later - earlier < 41_000_000 for earlier, later in pairwise(stamps))
    for number, picture in enumerate(pictures):
        assert picture.reference is not None
        assert picture.reference / 1e9 - (mount.zero or 0) == pytest.approx(number / 25, abs=0.002)
        assert picture.arrival >= picture.reference
        assert not picture.corrupt


def test_without_reports_there_is_no_reference(server: RtspServer, card: Media) -> None:
    """A camera that sends no sender reports gives no capture times of its own, and its first picture no time stamp."""
    server.add("door", card).faults.reports = False

    pictures = first_pictures(camera(server), 5)

    assert {picture.reference for picture in pictures} == {None}
    assert [picture.pts is None for picture in pictures] == [True] + [False] * 4


def test_a_reference_appears_with_the_first_report(server: RtspServer, card: Media) -> None:
    """When reports begin late, the pictures before have no reference and those after have one."""
    server.add("door", card).faults.report_delay = 0.3

    known = [picture.reference is not None for picture in first_pictures(camera(server), 15)]

    assert known == sorted(known)
    assert (known[0], known[-1]) == (False, True)


def test_a_track_of_sound_changes_nothing(server: RtspServer, card: Media) -> None:
    """It stands before the video, nothing ever sounds, and its reports say 1970: the video's own clock counts."""
    mount = server.add("door", card)
    mount.faults.sound = True

    pictures = first_pictures(camera(server), 40)

    assert [number_of(picture.rgb(64)) for picture in pictures] == list(range(40))
    for number, picture in enumerate(pictures):
        assert picture.reference is not None
        assert picture.reference / 1e9 - (mount.zero or 0) == pytest.approx(number / 25, abs=0.002)


def test_a_camera_that_has_moved_is_followed(server: RtspServer, card: Media) -> None:
    """It answers with another address (302), as recorders do; a blank behind the first one is nothing."""
    server.add("door", card)
    server.add("old", card).faults.moved = server.url("door")

    pictures = first_pictures(replace(camera(server, "old"), url=server.url("old") + " "), 3)

    assert [number_of(picture.rgb(64)) for picture in pictures] == [0, 1, 2]


@pytest.mark.parametrize("first", [2**32 - 25_000, 2**31 - 25_000])
def test_a_wrap_of_the_rtp_clock_goes_unnoticed(server: RtspServer, card: Media, first: int) -> None:
    """Time stamps run on where the 32-bit RTP clock wraps, or passes its half."""
    server.add("door", card, first_timestamp=first)

    stamps = [picture.pts for picture in first_pictures(camera(server), 15) if picture.pts is not None]

    assert all(39_000_000 < later - earlier < 41_000_000 for earlier, later in pairwise(stamps))


def test_pictures_with_b_frames_come_in_order_of_time(server: RtspServer, tmp_path: Path) -> None:
    """A camera that sends pictures out of order of time, as B-frames need: the decoder puts them right."""
    file = tmp_path / "b.mp4"
    with av.open(str(file), "w") as output:
        stream = output.add_stream("libx264", 25, options={"bf": "3"})
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        for number in range(40):
            output.mux(stream.encode(av.VideoFrame.from_ndarray(draw(number, 320, 240), format="rgb24")))
        output.mux(stream.encode(None))
    media = load_media(file)
    assert [unit.time for unit in media.units] != sorted(unit.time for unit in media.units)
    mount = server.add("door", media)

    pictures = first_pictures(camera(server), 15)

    assert [number_of(picture.rgb(120)) for picture in pictures] == list(range(15))
    for number, picture in enumerate(pictures):
        assert (picture.reference or 0) / 1e9 - (mount.zero or 0) == pytest.approx(number / 25, abs=0.002)


def test_damaged_pictures_are_marked(server: RtspServer, card: Media) -> None:
    """With packets missing, some pictures are damaged or missing, and none raises."""
    mount = server.add("door", card, seed=5)
    mount.faults.loss = 0.2

    pictures = first_pictures(camera(server), 25)

    stamps = [picture.pts for picture in pictures if picture.pts is not None]
    gaps = [later - earlier for earlier, later in pairwise(stamps) if later - earlier > 50_000_000]
    assert gaps or any(picture.corrupt for picture in pictures)


def test_reordered_packets_do_not_raise(server: RtspServer, card: Media) -> None:
    """Packets that change places, as over UDP, cost pictures at most."""
    server.add("door", card, seed=5).faults.reorder = 0.1

    assert len(first_pictures(camera(server), 15)) == 15


def foreign_threads() -> set[int]:
    """Threads of this process that libraries have started: Python knows nothing of them."""
    tasks = {int(task.name) for task in Path("/proc/self/task").iterdir()}
    return tasks - {one.native_id for one in threading.enumerate()}


def test_a_live_camera_is_decoded_by_the_thread_that_reads_it(server: RtspServer, card: Media) -> None:
    """Its decoder starts no threads: with one per CPU, hundreds of cameras would be thousands of threads."""
    server.add("door", card)
    with open_source(camera(server)) as source:
        before = foreign_threads()
        assert any(source.pictures())
        deadline = time.monotonic() + 10
        while (started := foreign_threads() - before) and time.monotonic() < deadline:
            pass  # one of Python's that begins or ends just now looks like a foreign one for a moment

    assert not started


def test_the_end_of_a_live_stream_is_a_fault(server: RtspServer, card: Media) -> None:
    """A camera that hangs up raises, where a file just ends."""
    mount = server.add("door", card)
    with open_source(camera(server)) as source, pytest.raises(CameraUnavailable, match="ended the stream"):
        for number, _ in enumerate(source.pictures()):
            if number == 5:
                server.drop(mount)


def test_a_library_call_that_hangs_ends_by_itself(server: RtspServer, card: Media) -> None:
    """An endless stall ends after the library's own time-out, which is only the backstop: two stall times."""
    mount = server.add("door", card)
    start = time.monotonic()
    with (
        open_source(camera(server, stall_seconds=0.3)) as source,
        pytest.raises(CameraUnavailable, match="answer in time"),
    ):
        for number, _ in enumerate(source.pictures()):
            mount.faults.stalled = number >= 5

    assert time.monotonic() - start > 0.5


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ({"status": 404}, CameraRefused),
        ({"status": 403}, AuthenticationError),
        ({"status": 454}, CameraRefused),
        ({"status": 503}, CameraUnavailable),
        ({"silent": True}, CameraUnavailable),
    ],
)
def test_a_camera_that_does_not_open(
    server: RtspServer, card: Media, fault: dict[str, object], expected: type[Exception]
) -> None:
    """Each way of not opening raises its own error, which decides whether a retry makes sense."""
    mount = server.add("door", card)
    for name, value in fault.items():
        setattr(mount.faults, name, value)

    with (
        pytest.raises(expected, match=f"rtsp://127.0.0.1:{server.port}: .*; "),
        open_source(camera(server, open_seconds=0.5)),
    ):
        pass


def test_only_udp_against_a_server_without_it(server: RtspServer, card: Media) -> None:
    """The message names the remedy: change the transport."""
    server.add("door", card)

    with pytest.raises(CameraRefused, match="transport"), open_source(camera(server, transport="udp")):
        pass


def test_a_wrong_password_is_named_and_not_shown(server: RtspServer, card: Media) -> None:
    """The error says that the login was refused, without the login."""
    server.add("door", card, login=Login("ann", "right"))
    settings = SourceSettings(server.url("door").replace("right", "wr0ng"), open_seconds=2)

    with pytest.raises(AuthenticationError, match="refused the login") as caught, open_source(settings):
        pass
    assert "wr0ng" not in repr(caught.value)


def test_a_sending_camera_writes_nothing_to_the_terminal(server: RtspServer, card: Media) -> None:
    """FFmpeg's own log lines, which hold URLs, appear nowhere, whether the camera plays, refuses or is away."""
    server.add("door", card, login=Login("ann", "s3cret"))
    code = (
        "import sys\n"
        "from pipeline.camera.source import open_source\n"
        "from pipeline.camera.source_settings import SourceSettings\n"
        "for url in sys.argv[1:]:\n"
        "    try:\n"
        "        with open_source(SourceSettings(url, open_seconds=1)) as source:\n"
        "            next(source.pictures())\n"
        "    except Exception as error:\n"
        "        print(repr(error))\n"
    )
    urls = [server.url("door"), server.url("door").replace("s3cret", "s4cret"), "rtsp://ann:s3cret@127.0.0.1:1/x"]

    done = subprocess.run([sys.executable, "-c", code, *urls], capture_output=True, text=True, timeout=60, check=True)

    assert done.stdout.count("127.0.0.1") == 2
    assert done.stderr == ""
    assert "cret" not in done.stdout


@pytest.mark.parametrize(
    ("size", "short_side", "expected"),
    [
        ((1920, 1080), 256, (455, 256)),
        ((1080, 1920), 256, (256, 455)),
        ((320, 240), 256, (320, 240)),
        ((160, 120), 256, (160, 120)),
    ],
)
def test_pictures_are_scaled_down_and_never_up(
    size: tuple[int, int], short_side: int, expected: tuple[int, int]
) -> None:
    """The shorter side becomes the wanted one, the other keeps the shape; smaller pictures stay as they are."""
    assert scaled(*size, short_side) == expected


@pytest.mark.parametrize(
    ("codec", "suffix"), [("libx264", "mp4"), ("mpeg4", "avi"), ("mjpeg", "avi"), ("libx265", "mkv")]
)
def test_files_of_many_codecs(tmp_path: Path, codec: str, suffix: str) -> None:
    """A file gives all its pictures, each with a time stamp, and ends without a fault."""
    file = write_test_card(tmp_path / f"card.{suffix}", seconds=1, fps=10, width=320, height=240, codec=codec)
    with open_source(SourceSettings(str(file))) as source:
        pictures = [picture for picture in source.pictures() if picture]

    assert [number_of(picture.rgb(120)) for picture in pictures] == list(range(10))
    assert all(picture.pts is not None and picture.rgb(120).shape == (120, 160, 3) for picture in pictures)


def write_tracks(file: Path, tracks: tuple[str, ...]) -> Path:
    """Twenty numbered pictures and other tracks, numbered in this order: `video`, `audio` (silence), `data`."""
    with av.open(str(file), "w") as output:
        for track in tracks:
            if track == "audio":
                sound = output.add_stream("pcm_s16le", 8000)
            elif track == "data":
                output.add_data_stream("klv")
            else:
                video = output.add_stream("libx264", 25, options={"bf": "2"})
                video.width, video.height, video.pix_fmt = 160, 120, "yuv420p"
        for number in range(20):
            output.mux(video.encode(av.VideoFrame.from_ndarray(draw(number, 160, 120), format="rgb24")))
        output.mux(video.encode(None))
        if "audio" in tracks:
            silence = av.AudioFrame.from_ndarray(np.zeros((1, 1600), np.int16), format="s16", layout="mono")
            silence.sample_rate = 8000
            output.mux(sound.encode(silence))
            output.mux(sound.encode(None))
    return file


@pytest.mark.parametrize(
    ("name", "tracks"), [("a.mov", ("audio", "video")), ("d.ts", ("video", "data")), ("v.mov", ("video", "audio"))]
)
def test_other_tracks_cost_no_picture_at_the_end_of_a_file(tmp_path: Path, name: str, tracks: tuple[str, ...]) -> None:
    """Whatever lies beside the video, and before or after it, a file gives its last pictures too and ends well."""
    file = write_tracks(tmp_path / name, tracks)
    with open_source(SourceSettings(str(file))) as source:
        pictures = [picture for picture in source.pictures() if picture]

    assert [number_of(picture.rgb(120)) for picture in pictures] == list(range(20))


def test_half_a_file_gives_the_pictures_that_are_there(tmp_path: Path) -> None:
    """A download or a recording that was cut off, its index at the front."""
    file = tmp_path / "half.mp4"
    with av.open(str(file), "w", options={"movflags": "faststart"}) as output:
        stream = output.add_stream("libx264", 25, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
        for number in range(60):
            output.mux(stream.encode(av.VideoFrame.from_ndarray(draw(number, 160, 120), format="rgb24")))
        output.mux(stream.encode(None))
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])

    with open_source(SourceSettings(str(file))) as source:
        numbers = [number_of(picture.rgb(120)) for picture in source.pictures() if picture and not picture.corrupt]

    assert len(numbers) >= 15 and numbers == list(range(len(numbers)))


def write_stamped(file: Path, stamps: Sequence[int], clock: int, form: str) -> Path:
    """Numbered pictures whose packets have these time stamps, in units of 1/clock."""
    with av.open(str(file), "w", format=form) as output:
        stream = output.add_stream("libx264", 25, options={"preset": "ultrafast", "tune": "zerolatency"})
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
        for number, stamp in enumerate(stamps):
            for packet in stream.encode(av.VideoFrame.from_ndarray(draw(number, 160, 120), format="rgb24")):
                packet.time_base, packet.pts, packet.dts = Fraction(1, clock), stamp, stamp
                output.mux(packet)
    return file


def test_time_runs_on_where_the_stamps_of_a_file_wrap(tmp_path: Path) -> None:
    """Those of a transport stream have 33 bits: they begin anew after a day, in the middle of a recording."""
    stamps = [2**33 - 270_000 + 3600 * number for number in range(100)]
    file = write_stamped(tmp_path / "day.ts", stamps, 90_000, "mpegts")
    with open_source(SourceSettings(str(file))) as source:
        times = [picture.pts for picture in source.pictures() if picture]

    assert len(times) == 100
    assert {later - earlier for earlier, later in pairwise(times)} == {40_000_000}


def test_a_hole_in_a_file_is_a_hole(tmp_path: Path) -> None:
    """A recorder that wrote nothing for twenty seconds."""
    stamps = [40 * number + 20_000 * (number >= 25) for number in range(50)]
    file = write_stamped(tmp_path / "hole.mkv", stamps, 1000, "matroska")
    with open_source(SourceSettings(str(file))) as source:
        times = [picture.pts for picture in source.pictures() if picture]

    assert len(times) == 50
    assert [later - earlier for earlier, later in pairwise(times)][24] == pytest.approx(20_040_000_000, abs=2e6)


@pytest.mark.parametrize(
    ("name", "reason"), [("missing.mp4", "no such file"), ("", "folder"), ("text.mp4", "nothing that plays")]
)
def test_a_file_that_does_not_play(tmp_path: Path, name: str, reason: str) -> None:
    """A missing file, a folder and a file that holds no video are each named."""
    (tmp_path / "text.mp4").write_text("no video")

    with pytest.raises(CameraRefused, match=reason), open_source(SourceSettings(str(tmp_path / name))):
        pass


def test_no_such_device() -> None:
    """A device that is not there is named."""
    with (
        pytest.raises(CameraRefused, match=r"/dev/video99: no such file or device"),
        open_source(SourceSettings("/dev/video99")),
    ):
        pass


@pytest.mark.footage
def test_real_clips_give_every_picture() -> None:
    """Real clips of many codecs, sizes and rates: as many pictures as their manifest says, none damaged."""
    if not FOOTAGE.exists():
        pytest.skip(f"no footage at {FOOTAGE}")
    for row in (FOOTAGE / "MANIFEST.csv").read_text().splitlines()[1:]:
        path, _, _, frames, _, width, height, *_ = row.split(",")
        if int(frames) * int(width) * int(height) > 25_000_000:
            continue  # large or long ones only take longer
        with open_source(SourceSettings(str(FOOTAGE / path))) as source:
            pictures = [picture for picture in source.pictures() if picture]
        stored = pictures[0].frame
        assert (stored.width, stored.height) == (int(width), int(height))
        assert abs(len(pictures) - int(frames)) <= 1, path


@pytest.mark.footage
@pytest.mark.parametrize("pattern", ["**/*demo_skeleton.mp4", "**/Punch/*.avi"])
def test_real_clips_over_rtsp(server: RtspServer, pattern: str) -> None:
    """Real clips, played by our server, arrive whole."""
    if not FOOTAGE.exists():
        pytest.skip(f"no footage at {FOOTAGE}")
    server.add("door", load_media(next(FOOTAGE.glob(pattern))))

    pictures = first_pictures(camera(server), 10)

    assert not any(picture.corrupt for picture in pictures)
    assert all(picture.reference is not None for picture in pictures)


@pytest.fixture
def uncollected() -> Iterator[Callable[[], list[str]]]:
    """What of PyAV waits for the garbage collector, which does not come by itself meanwhile."""

    def found() -> list[str]:
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        return [type(one).__name__ for one in gc.garbage if type(one).__module__.startswith("av.")]

    gc.collect()
    gc.disable()
    yield found
    gc.set_debug(0)
    gc.garbage.clear()
    gc.enable()


def test_a_picture_leaves_nothing_behind(card_file: Path, uncollected: Callable[[], list[str]]) -> None:
    """Its pixels go with the last reference, and no conversion starts threads; else both would grow by the second."""
    threads = set()

    with open_source(SourceSettings(str(card_file))) as source:
        for picture in source.pictures():
            if picture:
                picture.rgb(64)
                threads.add(threads_of_this_process())
    del source, picture

    assert uncollected() == []
    assert len(threads) == 1


@pytest.mark.parametrize("at", ["the login", "a picture", "nobody there"])
def test_a_lost_connection_leaves_nothing_behind(
    server: RtspServer, card: Media, uncollected: Callable[[], list[str]], at: str
) -> None:
    """A decoder holds pictures: it goes with its connection, whatever ends it, and does not wait for the collector."""
    mount = server.add("door", card, login=Login("ann", "secret"))
    url = server.url("door", login=at != "the login")
    if at == "nobody there":
        server.close()

    def read() -> None:
        with pytest.raises(ActionwireError), open_source(SourceSettings(url, open_seconds=2.0)) as source:
            for picture in source.pictures():
                if picture:
                    server.drop(mount)

    read()

    assert uncollected() == []


def threads_of_this_process() -> int:
    """Those of libraries included, where the system tells."""
    return len(list(Path("/proc/self/task").iterdir())) if sys.platform == "linux" else 0
