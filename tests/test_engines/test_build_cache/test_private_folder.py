"""What is executed lies where nobody else can write."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from engines.build_cache.private_folder import make_private, read_own, write_synced
from engines.errors import BuildCacheError


def mode(path: Path) -> int:
    """Its rights."""
    return path.stat().st_mode & 0o777


def test_a_new_folder_is_for_its_owner_alone(folder: Path) -> None:
    """So are the files in it."""
    make_private(folder)
    write_synced(folder / "plan", b"a plan")
    assert (mode(folder), mode(folder / "plan")) == (0o700, 0o600)
    assert read_own(folder / "plan") == b"a plan"


def test_rights_to_read_are_taken_back(folder: Path) -> None:
    """A folder that others could only look into becomes private."""
    folder.mkdir(parents=True, mode=0o755)
    make_private(folder)
    assert mode(folder) == 0o700


@pytest.mark.parametrize("rights", [0o770, 0o707, 0o777])
def test_a_folder_that_others_could_write_to_is_refused(folder: Path, rights: int) -> None:
    """What lies in it may be anybody's, so taking the rights back would come too late."""
    folder.mkdir(parents=True)
    folder.chmod(rights)
    with pytest.raises(BuildCacheError, match=r"other users may write to .*ACTIONWIRE_CACHE"):
        make_private(folder)


def test_a_folder_of_another_user_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both users are named."""
    make_private(folder)
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    with pytest.raises(BuildCacheError, match="this process runs as 12345: what another user built is not executed"):
        make_private(folder)
    write_synced(folder / "plan", b"")
    with pytest.raises(PermissionError, match="no file of user 12345"):
        read_own(folder / "plan")


def test_a_link_and_a_file_are_no_folder(folder: Path, tmp_path: Path) -> None:
    """A link may lead anywhere."""
    folder.parent.mkdir()
    folder.symlink_to(tmp_path)
    with pytest.raises(BuildCacheError, match="is no folder"):
        make_private(folder)
    folder.unlink()
    folder.write_text("")
    with pytest.raises(BuildCacheError, match="is no folder"):
        make_private(folder)


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    """Neither to read."""
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere").write_bytes(b"a plan")
    with pytest.raises(OSError, match="link"):
        read_own(tmp_path / "link")
