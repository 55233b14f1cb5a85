"""Rendered cameras, kept by seed."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import av
import pytest

from pipeline.demo import WATCHED, recordings
from pipeline.demo.recordings import recording
from pipeline.errors import ActionwireError


def test_a_recording_is_rendered_once(tmp_path: Path) -> None:
    """The second time the files are taken from the cache, untouched."""
    first = recording(20123, 1, 2.0, tmp_path)
    stamps = {file: file.stat().st_mtime_ns for file in first.files.values()}

    second = recording(20123, 1, 2.0, tmp_path)

    assert second.truth == first.truth
    assert {file: file.stat().st_mtime_ns for file in second.files.values()} == stamps
    with av.open(str(second.files["camera-1"])) as container:
        assert container.streams.video[0].frames == 24


def test_nothing_half_made_stays(tmp_path: Path) -> None:
    """A rendering that fails leaves no folder that a later run would take for a recording."""
    with pytest.raises(ActionwireError, match="exit code"):
        recording(20123, 1, -5.0, tmp_path)

    assert list(tmp_path.iterdir()) == []


def test_of_two_that_render_the_same_the_faster_one_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What another demo has put in place meanwhile, and may be playing, is not taken from under it."""
    made = recording(20123, 1, 2.0, tmp_path / "other").folder
    theirs = tmp_path / "cache" / made.name

    def render(folder: Path, *_: object) -> None:
        shutil.copytree(made, folder)
        shutil.copytree(made, theirs)
        (theirs / "playing").touch()

    monkeypatch.setattr(recordings, "_render", render)

    assert recording(20123, 1, 2.0, tmp_path / "cache").folder == theirs
    assert (theirs / "playing").exists()
    assert [one.name for one in (tmp_path / "cache").iterdir()] == [theirs.name]


def test_what_is_used_is_not_old(tmp_path: Path) -> None:
    """The cache forgets what was not used for longest, not what was rendered first."""
    folder = recording(20123, 1, 2.0, tmp_path).folder
    os.utime(folder, (0, 0))

    recording(20123, 1, 2.0, tmp_path)

    assert folder.stat().st_mtime > 0


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_an_end_while_rendering_leaves_nothing_behind(tmp_path: Path, sent: signal.Signals) -> None:
    """The renderer works with processes of its own; they must not wait for ever for the one that started them."""
    code = "import sys; from pathlib import Path; from pipeline.one_machine.signals import orderly_exit; "
    code += "from pipeline.demo.recordings import recording\n"
    code += "with orderly_exit(): recording(20123, 2, 300.0, Path(sys.argv[1]))"
    environment = {**os.environ, "RENDERED_BY": str(tmp_path)}
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], env=environment, stderr=subprocess.DEVNULL
    ) as demo:
        wait_until(lambda: len(list(tmp_path.glob(".making-*/*.mp4"))) == 2)
        demo.send_signal(sent)
        demo.wait(timeout=20)

    wait_until(lambda: not any_of(environment["RENDERED_BY"]))
    assert list(tmp_path.iterdir()) == []


def wait_until(done: Callable[[], bool], seconds: float = 30.0) -> None:
    """Return as soon as something is so; fail when it takes too long."""
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def any_of(mark: str) -> bool:
    """Whether a process runs that has this mark in its environment."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if f"RENDERED_BY={mark}".encode() in (process / "environ").read_bytes().split(b"\0"):
                return True
        except OSError:
            continue
    return False


def test_the_watched_labels_are_texts_of_the_scenes(tmp_path: Path) -> None:
    """Every label that the demo watches for is the text of an action that the scenes can show."""
    words = (Path(__file__).parents[3] / "trainer/scenes/vocabulary.py").read_text()

    assert len(set(WATCHED)) == 8
    assert all(f'"{text}"' in words for text in WATCHED)
