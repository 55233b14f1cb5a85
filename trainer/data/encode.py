"""Pictures to an MP4 file, for streams that are played back."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Frames = NDArray[np.uint8]


def encode_mp4(frames: Iterable[Frames], path: Path, fps: int, bitrate: int = 600_000) -> int:
    """Write RGB frames (uint8 [H, W, 3], H and W even) as H.264 without B-frames, a key frame every second.

    `bitrate` is in bits per second. Returns the number of frames written. One encoder thread: the same frames give the
    same bytes.
    """
    import av

    written = 0
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(fps))
        stream.pix_fmt = "yuv420p"
        stream.bit_rate = bitrate
        stream.gop_size = fps
        stream.max_b_frames = 0
        stream.thread_count = 1
        stream.options = {
            "preset": "superfast",
            "tune": "zerolatency",
            "sc_threshold": "0",
            "keyint_min": str(fps),
            "threads": "1",
        }
        for frame in frames:
            if not written:
                stream.height, stream.width = frame.shape[:2]
            for packet in stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")):
                container.mux(packet)
            written += 1
        for packet in stream.encode():
            container.mux(packet)
    return written
