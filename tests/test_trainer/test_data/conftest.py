"""Small films whose movements differ."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

Film = Callable[..., Path]


def pictures(kind: str, seed: int, count: int = 30) -> list[np.ndarray]:
    """A bright square that goes across, down or nowhere, over a ground of its own; uint8 [64, 96, 3] each."""
    rng = np.random.default_rng(seed)
    ground = rng.integers(40, 120, (8, 12, 3)).repeat(8, axis=0).repeat(8, axis=1).astype(np.uint8)
    x, y = rng.integers(8, 24, 2)
    found = []
    for number in range(count):
        picture = ground.copy()
        left = x + number * 2 * (kind == "across")
        top = y + number * (kind == "down")
        picture[top : top + 14, left : left + 14] = rng.integers(200, 255)
        found.append(picture)
    return found


@pytest.fixture
def film(tmp_path: Path) -> Film:
    """Writes a film: its path, what moves, a seed; size, quality and a cut at its begin change the copy."""

    def write(
        name: str, kind: str, seed: int, size: tuple[int, int] = (96, 64), quality: int = 20, cut: int = 0
    ) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with av.open(str(path), "w") as container:
            stream = container.add_stream("libx264", rate=10)
            stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
            stream.options = {"crf": str(quality), "threads": "1", "preset": "ultrafast"}
            for picture in pictures(kind, seed)[cut:]:
                frame = av.VideoFrame.from_ndarray(picture).reformat(*size, "yuv420p")
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        return path

    return write
