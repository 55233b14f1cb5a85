"""The demo model's bundle in the place of the shipped one."""

from __future__ import annotations

from pathlib import Path

from engines.bundle import files as bundles
from trainer.demo.demo_model import replace


def test_a_bundle_replaces_the_shipped_one_as_a_whole(calibrated: Path, tmp_path: Path) -> None:
    """The place then holds the new bundle and nothing else; a draft is not shipped."""
    place = tmp_path / "demo"
    place.mkdir()
    (place / "old").write_text("old")
    replace(calibrated, place)
    assert bundles.load(place).manifest == bundles.load(calibrated).manifest
    assert [entry.name for entry in tmp_path.iterdir()] == ["demo"]
