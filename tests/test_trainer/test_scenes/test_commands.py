import json

import av
import numpy as np
import pytest
from typer.testing import CliRunner

from trainer.scenes import commands
from trainer.scenes.commands import app, camera_seed, parse_size
from trainer.scenes.script import draw_stream
from trainer.scenes.vocabulary import split_of

ARGUMENTS = ["render", "--seed", "20003", "--cameras", "2", "--seconds", "8", "--fps", "6", "--size", "96x72"]


def pictures(path):
    """Decoded frames of a file."""
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def test_rendering_writes_files_and_truth_the_same_for_the_same_seed(tmp_path):
    """With one process or two, one seed gives equal files; the truth is that of the cameras' scenes."""
    runs = [tmp_path / "one", tmp_path / "two"]
    results = [
        CliRunner().invoke(app, [*ARGUMENTS, "--out", str(run), "--workers", str(workers), "--json"])
        for workers, run in enumerate(runs, start=1)
    ]
    assert [result.exit_code for result in results] == [0, 0], results[0].output
    assert (runs[0] / "truth.json").read_bytes() == (runs[1] / "truth.json").read_bytes()
    truth = json.loads((runs[0] / "truth.json").read_text())
    assert json.loads(results[0].stdout) == truth
    assert {key: truth[key] for key in ("schema", "seed", "seconds", "fps")} == {
        "schema": 1, "seed": 20_003, "seconds": 8.0, "fps": 6,
    }  # fmt: skip
    for number, camera in enumerate(truth["cameras"], start=1):
        assert (camera["id"], camera["file"]) == (f"camera-{number}", f"camera-{number}.mp4")
        events = draw_stream(camera_seed(20_003, number), 8.0).events
        assert [action["start"] for action in camera["actions"]] == [event.start for event in events]
        frames = pictures(runs[0] / camera["file"])
        assert frames.shape == (48, 72, 96, 3)
        assert np.array_equal(frames, pictures(runs[1] / camera["file"]))


def test_cameras_of_a_run_differ_and_stay_in_its_split():
    """Every camera has a scene of its own, from the split of the run's seed."""
    for seed in (0, 9_999, 10_000, 19_999, 20_000, 123_456):
        seeds = {camera_seed(seed, camera) for camera in range(1, 9)}
        assert len(seeds) == 8
        assert {split_of(found) for found in seeds} == {split_of(seed)}


def test_background_cameras_show_no_action(tmp_path):
    """With density 0 the truth is empty: material for counting false alarms."""
    arguments = [*ARGUMENTS, "--out", str(tmp_path), "--density", "0", "--workers", "1"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    truth = json.loads((tmp_path / "truth.json").read_text())
    assert [camera["actions"] for camera in truth["cameras"]] == [[], []]
    assert "camera-2.mp4, 0 actions" in result.stdout


@pytest.mark.parametrize("size", ["320", "321x240", "8x8", "axb"])
def test_a_size_that_cannot_be_encoded_is_refused(size, tmp_path):
    """H.264 wants even sides; the message names what was written."""
    result = CliRunner().invoke(app, ["render", "--out", str(tmp_path), "--size", size])
    assert result.exit_code == 2
    assert size.split("x")[0] in result.output


def test_the_renderers_version_is_printed():
    """Twelve hex digits and nothing else, the same every time."""
    first, second = (CliRunner().invoke(app, ["version"]) for _ in range(2))
    assert first.exit_code == 0
    assert first.stdout == second.stdout
    assert len(bytes.fromhex(first.stdout.strip())) == 6


def test_a_size_is_read():
    """WIDTHxHEIGHT becomes a pair."""
    assert parse_size("320x240") == (320, 240)


def test_every_module_of_the_renderer_makes_its_version(tmp_path, monkeypatch):
    """A changed limb or colour gives another version, wherever below the folder its module lies; a cache stays true."""
    (tmp_path / "picture").mkdir()
    for name in ("commands.py", "picture/render.py"):
        (tmp_path / name).write_text("")
    monkeypatch.setattr(commands, "__file__", str(tmp_path / "commands.py"))
    before = commands.renderer_version()
    assert commands.renderer_version() == before
    (tmp_path / "picture/render.py").write_text("# thicker")
    changed = commands.renderer_version()
    (tmp_path / "picture/render.py").rename(tmp_path / "picture/draw.py")
    assert len({before, changed, commands.renderer_version()}) == 3
