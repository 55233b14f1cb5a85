from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.camera.check import check
from pipeline.camera.sampling import sample_file
from pipeline.camera.source_settings import SourceSettings
from pipeline.local.rtsp import RtspServer, load_media
from pipeline.testing import first_pictures
from trainer.data.decode import read_clip

CORNERS = {"red": (250, 20, 20), "green": (20, 200, 20), "blue": (20, 20, 250), "grey": (128, 128, 128)}
UPRIGHT = ("red", "green", "blue", "grey")
"""Colours of the scene: top left, top right, bottom left, bottom right."""


def scene(width: int, height: int) -> NDArray[np.uint8]:
    """uint8[height, width, 3]: four colours, one in each corner."""
    image = np.empty((height, width, 3), np.uint8)
    for number, name in enumerate(UPRIGHT):
        top, left = divmod(number, 2)
        image[top * height // 2 : (top + 1) * height // 2, left * width // 2 : (left + 1) * width // 2] = CORNERS[name]
    return image


def corners(image: NDArray[np.uint8]) -> tuple[str, ...]:
    """The colours in the four quarters of a picture."""
    height, width = image.shape[:2]
    found = []
    for top, left in ((1, 1), (1, 3), (3, 1), (3, 3)):
        pixel = image[top * height // 4, left * width // 4].astype(int)
        found.append(min(CORNERS, key=lambda name: abs(pixel - CORNERS[name]).sum()))
    return tuple(found)


def write(
    path: Path,
    image: NDArray[np.uint8],
    *,
    rotation: float | None = None,
    ratio: Fraction | None = None,
    **options: Any,
) -> Path:
    """A second of one picture; rotation: degrees counter-clockwise in its display matrix."""
    with av.open(str(path), "w") as output:
        stream = output.add_stream(str(options.get("codec", "libx264")), 25, options=options.get("options"))
        stream.height, stream.width = image.shape[:2]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.gop_size = 12
        if ratio:
            stream.codec_context.sample_aspect_ratio = ratio
        if rotation is not None:
            stream.set_display_rotation(rotation)
        for _ in range(25):
            output.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        output.mux(stream.encode(None))
    return path


Stored = Callable[[NDArray[np.uint8]], NDArray[np.uint8]]
TURNED: list[tuple[float, Stored]] = [
    (-90.0, lambda shown: np.rot90(shown, 1)),  # a phone held upright: stored turned to the left
    (90.0, lambda shown: np.rot90(shown, -1)),
    (180.0, lambda shown: np.rot90(shown, 2)),
    (0.0, lambda shown: shown),
]


@pytest.mark.parametrize(("rotation", "stored"), TURNED)
def test_a_clip_from_a_phone_is_upright(tmp_path: Path, rotation: float, stored: Stored) -> None:
    """The display matrix turns the stored picture: its size and what is on top are those of the scene, for a camera, a
    check and a replay."""
    clip = write(tmp_path / "clip.mp4", np.ascontiguousarray(stored(scene(240, 320))), rotation=rotation)

    [picture] = first_pictures(SourceSettings(str(clip)), 1)
    report = check(SourceSettings(str(clip)), 5)
    sampled = next(sample_file(clip, "door", 4, 0, short_side=120))

    assert (picture.width, picture.height) == (report.width, report.height) == (240, 320)
    assert picture.rgb(120).shape == sampled.image.shape == (160, 120, 3)
    assert corners(picture.rgb(120)) == corners(sampled.image) == UPRIGHT


@pytest.mark.parametrize("short_side", [240, 120, 113])
@pytest.mark.parametrize(("rotation", "stored"), TURNED)
def test_a_turned_clip_looks_like_the_same_film_stored_upright(
    tmp_path: Path, rotation: float, stored: Stored, short_side: int
) -> None:
    """Pixel by pixel, scaled or not, to widths odd and even; a quarter turn moves colours by less than a pixel, since
    they are stored for two at once."""
    down, across = np.mgrid[0:240, 0:320] / 9
    waves = [np.cos(across * part) * np.cos(down / part) for part in (1.0, 1.5, 0.6)]
    drawn = np.stack([128 + 120 * wave for wave in waves], axis=2).astype(np.uint8)
    images = []
    for name, image, turn in (("upright", drawn, None), ("turned", np.ascontiguousarray(stored(drawn)), rotation)):
        clip = write(tmp_path / f"{name}.mp4", image, rotation=turn, options={"qp": "0"})
        [picture] = first_pictures(SourceSettings(str(clip)), 1)
        images.append(picture.rgb(short_side).astype(int))

    assert images[0].shape == images[1].shape
    assert np.abs(images[0] - images[1]).mean() < (0.5 if rotation in (-90.0, 90.0) else 0.001)


@pytest.mark.parametrize(("name", "codec"), [("cif.mp4", "libx264"), ("cif.avi", "mpeg4"), ("cif.mkv", "libx264")])
def test_a_recorders_half_pictures_get_their_width_back(tmp_path: Path, name: str, codec: str) -> None:
    """352 x 576 with pixels twice as wide as high is a scene of 1.22 : 1, whatever container holds it."""
    clip = write(tmp_path / name, scene(352, 576), ratio=Fraction(2), codec=codec)

    [picture] = first_pictures(SourceSettings(str(clip)), 1)

    assert (picture.width, picture.height) == (704, 576)
    assert picture.rgb(256).shape == (256, 313, 3)
    assert corners(picture.rgb(256)) == UPRIGHT


@pytest.mark.parametrize(("rotation", "stored"), TURNED)
def test_a_clip_from_a_phone_is_served_upright(
    server: RtspServer, tmp_path: Path, rotation: float, stored: Stored
) -> None:
    """RTSP knows no display matrix, so what is served of such a clip was turned before."""
    clip = write(tmp_path / "clip.mp4", np.ascontiguousarray(stored(scene(240, 320))), rotation=rotation)
    server.add("door", load_media(clip))

    [picture] = first_pictures(SourceSettings(server.url("door")), 1)

    assert (picture.width, picture.height) == (240, 320)
    assert corners(picture.rgb(120)) == UPRIGHT


@pytest.mark.parametrize(("name", "codec"), [("cif.avi", "mpeg4"), ("cif.mkv", "libx264")])
def test_a_served_file_keeps_the_shape_of_its_pixels(server: RtspServer, tmp_path: Path, name: str, codec: str) -> None:
    """Copied or encoded again."""
    server.add("door", load_media(write(tmp_path / name, scene(176, 288), ratio=Fraction(2), codec=codec)))

    [picture] = first_pictures(SourceSettings(server.url("door")), 1)

    assert (picture.width, picture.height) == (352, 288)


def test_a_live_camera_tells_the_shape_of_its_pixels_in_its_stream(server: RtspServer, tmp_path: Path) -> None:
    """Over RTSP the ratio stands in the parameter sets of the stream."""
    clip = write(tmp_path / "cif.mp4", scene(176, 288), ratio=Fraction(2))
    server.add("door", load_media(clip))

    [picture] = first_pictures(SourceSettings(server.url("door")), 1)

    assert (picture.width, picture.height) == (352, 288)
    assert corners(picture.rgb(256)) == UPRIGHT


@pytest.mark.parametrize(("rotation", "stored"), TURNED)
@pytest.mark.parametrize("ratio", [None, Fraction(2), Fraction(1, 12)])
def test_training_decodes_the_pixels_that_serving_sees(
    tmp_path: Path, rotation: float, stored: Stored, ratio: Fraction | None
) -> None:
    """Turned or not, with pixels of any shape: one function, so that a model is served what it was trained on."""
    waves = np.add.outer(np.arange(240), np.arange(320)).astype(np.uint8)
    drawn = np.ascontiguousarray(stored(np.stack([waves, waves.T.reshape(240, 320), waves], axis=2)))
    clip = write(tmp_path / "clip.mp4", drawn, rotation=rotation, ratio=ratio)

    [picture] = first_pictures(SourceSettings(str(clip)), 1)
    _, trained = next(read_clip(clip, 25))

    assert np.array_equal(picture.rgb(min(picture.width, picture.height)), trained)
