"""Where the user's own folders lie."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from engines.bundle.store import default_store
from engines.folders import cache_directory, data_directory, state_directory

FOLDERS = [
    (cache_directory, "XDG_CACHE_HOME", ".cache"),
    (state_directory, "XDG_STATE_HOME", ".local/state"),
    (data_directory, "XDG_DATA_HOME", ".local/share"),
]


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A user whose environment says nothing."""
    for variable in ("ACTIONWIRE_CACHE", *(variable for _, variable, _ in FOLDERS)):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(("folder", "variable", "otherwise"), FOLDERS)
def test_folders_follow_xdg(
    folder: Callable[[], Path], variable: str, otherwise: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The variable of the specification decides, the home folder where it is not set, empty or relative."""
    assert folder() == home / otherwise / "actionwire"
    for ignored in ("", "relative/path"):
        monkeypatch.setenv(variable, ignored)
        assert folder() == home / otherwise / "actionwire"
    monkeypatch.setenv(variable, str(home / "elsewhere"))
    assert folder() == home / "elsewhere" / "actionwire"


def test_the_cache_can_be_moved_as_a_whole(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ACTIONWIRE_CACHE names the folder itself and wins."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "xdg"))
    monkeypatch.setenv("ACTIONWIRE_CACHE", "~/of-mine")

    assert cache_directory() == home / "of-mine"


def test_the_store_is_the_users_data(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Published bundles are data: nothing makes them again. ACTIONWIRE_STORE moves them for every command."""
    monkeypatch.delenv("ACTIONWIRE_STORE", raising=False)
    assert default_store() == home / ".local/share/actionwire/bundles"
    monkeypatch.setenv("ACTIONWIRE_STORE", "~/shared")
    assert default_store() == home / "shared"
