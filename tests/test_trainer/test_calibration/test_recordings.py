"""Rendered validation streams and where they are kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from trainer.calibration import recordings


def test_streams_lie_in_the_cache_that_serving_uses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One variable moves everything that can be made again, the trainer's streams included."""
    monkeypatch.setenv("ACTIONWIRE_CACHE", str(tmp_path))
    assert recordings.cache_directory() == tmp_path / "validation"
