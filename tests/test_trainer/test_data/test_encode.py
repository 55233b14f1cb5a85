import av
import numpy as np
from av.video.frame import PictureType

from trainer.data.encode import encode_mp4
from trainer.scenes.picture.render import render
from trainer.scenes.script import draw_stream

FRAMES = render(draw_stream(20_000, 3.0), np.arange(36) / 12, (160, 120))


def test_an_mp4_has_every_frame_a_key_frame_a_second_and_no_b_frames(tmp_path):
    """36 frames at 12 fps read back: 3 s, key frames at 0, 12 and 24, pictures in order and close to the source.

    frame  0           12          24         35
           K...........K...........K...........
    """
    path = tmp_path / "camera.mp4"
    assert encode_mp4(FRAMES, path, fps=12, bitrate=400_000) == 36
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264"
        assert float(stream.average_rate) == 12
        frames = list(container.decode(stream))
    assert [number for number, frame in enumerate(frames) if frame.key_frame] == [0, 12, 24]
    assert [round(frame.time * 12) for frame in frames] == list(range(36))
    assert not any(PictureType(frame.pict_type) is PictureType.B for frame in frames)
    decoded = np.stack([frame.to_ndarray(format="rgb24") for frame in frames])
    assert np.abs(decoded.astype(int) - FRAMES).mean() < 12


def test_equal_frames_give_equal_files(tmp_path):
    """Encoding is reproducible byte for byte."""
    for name in ("a.mp4", "b.mp4"):
        encode_mp4(FRAMES[:12], tmp_path / name, fps=12)
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()
