from pathlib import Path

import pytest
import structlog

from pipeline.config.reading import load
from pipeline.config.settings import Settings
from pipeline.config.settings_file import FileWatch


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A settings file with one camera."""
    path = tmp_path / "actionwire.yaml"
    path.write_text("cameras: {door: {url: a.mp4}}")
    return path


def watch(file: Path) -> FileWatch:
    """Watch a file that is read as commands read it."""
    return FileWatch(file, lambda: load(file))


def second(look: FileWatch) -> Settings | None:
    """The answer to the second look at a change; the first only notices it."""
    assert look() is None
    return look()


def test_an_edit_gives_the_new_settings_once(file: Path) -> None:
    """After an edit the second look gives the new settings, and the one after it nothing."""
    look = watch(file)
    assert look() is None
    file.write_text("cameras: {door: {url: a.mp4}, yard: {url: b.mp4}}")

    found = second(look)

    assert isinstance(found, Settings)
    assert set(found.cameras) == {"door", "yard"}
    assert look() is None


def test_an_edit_while_ingest_starts_is_seen(file: Path) -> None:
    """The file is watched from before it is read: a save in between is not taken for what was read.

    file    door |  door, yard
    watched ------------------
    read    x
    looks             x   x
    """

    def read() -> Settings:
        found = load(file)
        if "yard" not in found.cameras:
            file.write_text("cameras: {door: {url: a.mp4}, yard: {url: b.mp4}}")
        return found

    look = FileWatch(file, read)
    assert set(look.current.cameras) == {"door"}

    found = second(look)

    assert found is not None
    assert set(found.cameras) == {"door", "yard"}


def test_a_touch_that_changes_nothing_gives_nothing(file: Path) -> None:
    """Comments and white space are no change of settings."""
    look = watch(file)
    file.write_text("# front\n" + file.read_text())

    assert second(look) is None


def test_a_replaced_file_is_seen(file: Path) -> None:
    """Editors write beside the file and rename: that is an edit too, and a missing file in between is none."""
    look = watch(file)
    file.unlink()
    assert look() is None
    other = file.with_suffix(".new")
    other.write_text("cameras: {}")
    other.rename(file)

    found = second(look)

    assert found is not None
    assert not found.cameras


def test_the_last_camera_can_be_deleted(file: Path) -> None:
    """What is left of a section, its bare name, means that there are no cameras."""
    look = watch(file)
    file.write_text("cameras:\n")

    found = second(look)

    assert found is not None
    assert not found.cameras


@pytest.mark.parametrize(
    ("broken", "reason"), [("cameras: {door: {urrl: a.mp4}}", "urrl"), ("7: {url: a.mp4}", "7: unknown key")]
)
def test_a_broken_file_leaves_the_settings_and_is_logged_once(file: Path, broken: str, reason: str) -> None:
    """A typing error while editing must not take the cameras down; the next good edit counts."""
    look = watch(file)
    file.write_text(broken)
    with structlog.testing.capture_logs() as logs:
        assert second(look) is None
        assert look() is None
    assert [line["log_level"] for line in logs] == ["error"]
    assert reason in logs[0]["reason"]
    file.write_text("cameras: {}")

    assert second(look) is not None


def test_a_file_that_is_being_written_takes_no_camera_away(file: Path) -> None:
    """An editor that writes in place empties the file first; what is seen once may be half of it.

    file   door      (empty)    door, yard
    look          x          x             x     x
    gives         -          -             -     door, yard
    """
    look = watch(file)
    file.write_text("")
    assert look() is None
    file.write_text("cameras: {door: {url: a.mp4}, yard: {url: b.mp4}}")

    found = second(look)

    assert found is not None
    assert set(found.cameras) == {"door", "yard"}


@pytest.mark.parametrize("text", ["cameras: " + "[" * 5000, "cameras: !!timestamp x", '"a\\nb": 1', "\x00"])
def test_no_edit_ends_ingest(file: Path, text: str) -> None:
    """Whatever is saved, the old settings stay, in one line of the log."""
    look = watch(file)
    file.write_text(text)
    with structlog.testing.capture_logs() as logs:
        assert second(look) is None
    assert [line["event"] for line in logs] == ["settings not taken over, the old ones stay"]
