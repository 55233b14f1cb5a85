"""Media for the tests of the RTSP server."""

from pathlib import Path

import pytest

from pipeline.local.rtsp import Media, load_media
from pipeline.local.test_card import write_test_card


@pytest.fixture(scope="session")
def card_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds of numbered pictures, 25 a second, a key picture each second."""
    return write_test_card(tmp_path_factory.mktemp("rtsp") / "card.mp4", seconds=2, width=320, height=240)


@pytest.fixture(scope="session")
def card(card_file: Path) -> Media:
    """The test card in memory."""
    return load_media(card_file)
