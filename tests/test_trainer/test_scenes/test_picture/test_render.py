import dataclasses
import subprocess
import sys

import numpy as np
import pytest

from trainer.scenes.picture.render import render
from trainer.scenes.script import draw_clip, draw_stream
from trainer.scenes.vocabulary import KEYS

SIZE = (160, 120)


def motion(scene, rate=4.0):
    """The largest share of pixels that change clearly between two frames, by people alone."""
    scene = dataclasses.replace(scene, things=())
    frames = render(scene, np.arange(0.25, scene.seconds - 0.2, 1 / rate), SIZE).astype(np.int16)
    change = np.abs(np.diff(frames, axis=0)).max(axis=3) > 45
    return change.mean(axis=(1, 2)).max()


def test_frames_have_the_size_and_the_type_asked_for():
    """n instants give uint8 [n, H, W, 3]."""
    frames = render(draw_stream(3, 10.0), [0.0, 1.5, 9.0], (96, 64))
    assert frames.shape == (3, 64, 96, 3)
    assert frames.dtype == np.uint8
    assert frames.std() > 10


def test_a_frame_depends_on_its_instant_alone():
    """Rendered alone, among others or in another process's order, a frame is the same, byte for byte."""
    scene = draw_stream(20_011, 30.0)
    times = np.arange(0, 30, 0.4)
    together = render(scene, times, SIZE)
    for number in (0, 17, 60):
        assert np.array_equal(together[number], render(scene, [times[number]], SIZE)[0])
    assert np.array_equal(together[::-1], render(scene, times[::-1], SIZE))


def test_long_stretches_are_rendered_in_blocks_without_a_seam():
    """Frames beyond the first block equal those of a shorter call."""
    scene = draw_stream(5, 80.0)
    times = np.arange(0, 80, 0.25)
    assert np.array_equal(render(scene, times, (64, 48))[250:], render(scene, times[250:], (64, 48)))


@pytest.fixture(scope="module")
def idle():
    """The usual motion of scenes in which nothing of interest happens."""
    return np.median([motion(draw_clip(seed, None)) for seed in range(20_000, 20_016)])


@pytest.mark.parametrize("key", [key for key in KEYS if key != "lie_still"])
def test_joint_angles_move_pixels_in_actions(key, idle):
    """In every action but lying still, clearly more of the picture changes than where people do nothing of interest."""
    moving = np.median([motion(draw_clip(seed, key, seconds=4.0)) for seed in range(20_000, 20_007)])
    assert moving > 1.4 * idle
    assert moving > 0.008


def test_idle_scenes_hardly_move(idle):
    """Where nothing of interest happens, people move less than 1 % of the picture at a time."""
    assert idle < 0.01


def test_lying_still_moves_less_than_anything(idle):
    """Whoever lies still moves next to nothing."""
    assert np.median([motion(draw_clip(seed, "lie_still", seconds=2.0)) for seed in range(20_000, 20_009)]) < idle


def test_noise_differs_from_frame_to_frame():
    """Sensor noise is new in every frame, even where nothing moves."""
    scene = draw_clip(20_004, None)
    first, second = render(scene, [1.0, 1.001], SIZE).astype(int)
    assert 0.2 < np.abs(first - second).mean() < 12


def test_scenes_need_numpy_and_opencv_only():
    """Drawing and rendering load neither torch nor pydantic nor the serving side nor PyAV."""
    code = (
        "import sys; from trainer.scenes import script, vocabulary; from trainer.scenes.picture import render;"
        "found = {'torch', 'pydantic', 'pipeline', 'av', 'typer'} & set(sys.modules);"
        "sys.exit(repr(found) if found else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
