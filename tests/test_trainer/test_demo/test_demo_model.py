"""The demo model's bundle in the place of the shipped one."""

from __future__ import annotations

from pathlib import Path

from engines.bundle import files as bundles
from engines.testing import tiny_bundle
from trainer.demo.demo_model import replace


def test_a_bundle_replaces_the_shipped_one_as_a_whole(tmp_path: Path) -> None:
    """The place then holds the new bundle and nothing else; a draft is not shipped."""
    made, place = tmp_path / "made", tmp_path / "shipped" / "demo"
    tiny_bundle(made)
    place.mkdir(parents=True)
    (place / "old").write_text("old")
    replace(made, place)
    assert bundles.load(place).manifest == bundles.load(made).manifest
    assert [entry.name for entry in place.parent.iterdir()] == ["demo"]
