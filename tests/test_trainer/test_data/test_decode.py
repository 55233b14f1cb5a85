"""From a video file to pictures at a rate."""

from __future__ import annotations

import array
import shutil
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from trainer.data.decode import Damage, probe, read_clip
from trainer.data.encode import encode_mp4
from trainer.errors import VideoError

ONE = 1 << 16
UPRIGHT = np.zeros((48, 64, 3), np.uint8)
UPRIGHT[:12, :, 0] = UPRIGHT[:, :16, 1] = 220
"""Red along the top, green along the left."""


def test_a_clip_is_sampled_on_its_tick_grid(tmp_path: Path) -> None:
    """At 10 frames/s and 4 ticks/s the first frame at or after each tick is yielded, once."""
    frames = (np.full((64, 64, 3), 10 * level, np.uint8) for level in range(20))
    encode_mp4(frames, tmp_path / "clip.mp4", 10, 400_000)
    seconds = [second for second, _ in read_clip(tmp_path / "clip.mp4", 4)]
    assert seconds == pytest.approx([0.0, 0.3, 0.5, 0.8, 1.0, 1.3, 1.5, 1.8], abs=1e-3)
    assert probe(tmp_path / "clip.mp4").seconds == pytest.approx(2.0, abs=0.11)


def write(
    path: Path, pictures: list[np.ndarray], codec: str, matrix: list[int] | None = None, ratio: Fraction | None = None
) -> None:
    """A film of 10 pictures a second, with a display matrix and a pixel ratio."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=10)
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        if ratio:
            stream.codec_context.sample_aspect_ratio = ratio
        if matrix:
            stream.set_display_matrix(array.array("i", matrix))
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture)))
        container.mux(stream.encode(None))


@pytest.mark.parametrize(
    ("corner", "stored"),
    [
        ([1, 0, 0, 1], UPRIGHT),
        ([0, 1, -1, 0], np.rot90(UPRIGHT, 1)),
        ([-1, 0, 0, -1], np.rot90(UPRIGHT, 2)),
        ([0, -1, 1, 0], np.rot90(UPRIGHT, 3)),
        ([-1, 0, 0, 1], UPRIGHT[:, ::-1]),
        ([0, 1, 1, 0], UPRIGHT.transpose(1, 0, 2)),
    ],
)
def test_a_clip_of_a_phone_is_upright(tmp_path: Path, corner: list[int], stored: np.ndarray) -> None:
    """Whatever the display matrix says, turned or mirrored: top on top, left on the left."""
    a, b, c, d = (ONE * value for value in corner)
    pictures = [np.ascontiguousarray(stored)] * 5
    write(tmp_path / "clip.mp4", pictures, "libx264", [a, b, 0, c, d, 0, 0, 0, 1 << 30])
    shown = next(read_clip(tmp_path / "clip.mp4", 4))[1]
    assert shown.shape == UPRIGHT.shape
    assert np.abs(shown.astype(int) - UPRIGHT)[4:-4, 4:-4].mean() < 25


@pytest.mark.parametrize(("ratio", "shape"), [(Fraction(2), (48, 128, 3)), (Fraction(1, 2), (96, 64, 3))])
def test_pixels_that_are_not_square_get_the_shape_of_the_scene(
    tmp_path: Path, ratio: Fraction, shape: tuple[int, ...]
) -> None:
    """A recorder's half-wide pictures are widened, half-high ones heightened."""
    write(tmp_path / "clip.mp4", [UPRIGHT] * 3, "libx264", ratio=ratio)
    assert next(read_clip(tmp_path / "clip.mp4", 4))[1].shape == shape


@pytest.mark.parametrize(("codec", "name", "left"), [("mjpeg", "a.avi", 97), ("mpeg4", "a.avi", 90)])
def test_a_damaged_packet_costs_its_picture(tmp_path: Path, codec: str, name: str, left: int) -> None:
    """Three packets of a hundred are zero but for their first bytes; the rest of the film is there, and they count."""
    write(tmp_path / name, [np.full((64, 64, 3), 2 * level, np.uint8) for level in range(100)], codec)
    data = bytearray((tmp_path / name).read_bytes())
    with av.open(str(tmp_path / name)) as container:
        packets = [(packet.pos, packet.size) for packet in container.demux() if packet.size]
    for number in (50, 51, 80):
        at, size = packets[number]
        data[at + 8 : at + size] = bytes(size - 8)
    (tmp_path / name).write_bytes(data)
    damage = Damage()
    shown = [picture for _, picture in read_clip(tmp_path / name, 10, damage=damage)]
    assert left <= len(shown) <= 100 - (codec == "mjpeg") * 3
    assert codec != "mjpeg" or damage.count == 3


def test_what_is_no_video_is_named_with_its_reason(tmp_path: Path) -> None:
    """A text file, an MP4 that was cut before its index, an empty file, a film without pictures."""
    (tmp_path / "text.mp4").write_text("not a video")
    encode_mp4((np.full((64, 64, 3), 9, np.uint8) for _ in range(20)), tmp_path / "whole.mp4", 10)
    whole = (tmp_path / "whole.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "empty.mp4").touch()
    for name in ("text.mp4", "cut.mp4", "empty.mp4"):
        with pytest.raises(VideoError, match=rf"{name} cannot be decoded: it is no video, or was cut off"):
            probe(tmp_path / name)
        with pytest.raises(VideoError, match="it is no video"):
            list(read_clip(tmp_path / name, 4))
    with pytest.raises(VideoError, match="no such file"):
        probe(tmp_path / "gone.mp4")


def test_names_that_recorders_write_are_paths(tmp_path: Path) -> None:
    """A colon does not make a protocol of a file's name."""
    for name in ("10:15:02.mp4", "50% #1 'a'.mp4"):
        encode_mp4((np.full((64, 64, 3), 9, np.uint8) for _ in range(4)), tmp_path / name, 10)
        assert len(list(read_clip(tmp_path / name, 10))) == 4


def test_a_stream_without_time_stamps_plays_at_its_rate_and_joined_files_go_on(tmp_path: Path) -> None:
    """Raw H.264 has no time stamps; a .ts that was written behind another begins anew in the middle."""
    for name, form in (("a.h264", "h264"), ("a.ts", "mpegts")):
        with av.open(str(tmp_path / name), "w", format=form) as container:
            stream = container.add_stream("libx264", rate=10)
            stream.height, stream.width, stream.pix_fmt, stream.max_b_frames = 48, 64, "yuv420p", 0
            for _ in range(20):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(UPRIGHT)))
            container.mux(stream.encode(None))
    assert len(list(read_clip(tmp_path / "a.h264", 4))) >= 3
    with (tmp_path / "two.ts").open("wb") as joined:
        for _ in range(2):
            with (tmp_path / "a.ts").open("rb") as part:
                shutil.copyfileobj(part, joined)
    seconds = [second for second, _ in read_clip(tmp_path / "two.ts", 10)]
    assert len(seconds) >= 38 and all(np.diff(seconds) > 0)
