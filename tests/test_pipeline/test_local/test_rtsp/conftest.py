"""Media and servers for the tests of the RTSP server."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.local.rtsp import Media, RtspServer, load_media
from pipeline.local.test_card import write_test_card


@pytest.fixture(scope="session")
def card_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds of numbered pictures, 25 a second, a key picture each second."""
    return write_test_card(tmp_path_factory.mktemp("rtsp") / "card.mp4", seconds=2, width=320, height=240)


@pytest.fixture(scope="session")
def card(card_file: Path) -> Media:
    """The test card in memory."""
    return load_media(card_file)


@pytest.fixture
def server() -> Iterator[RtspServer]:
    """A server on a free port."""
    with RtspServer() as server:
        yield server
