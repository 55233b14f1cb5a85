"""A camera to read from."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.local.rtsp import Media, RtspServer, load_media
from pipeline.local.test_card import write_test_card


@pytest.fixture(scope="session")
def card_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four seconds of numbered pictures, 25 a second, a key picture each half second."""
    return write_test_card(tmp_path_factory.mktemp("camera") / "card.mp4", seconds=4, width=320, height=240, gop=12)


@pytest.fixture(scope="session")
def card(card_file: Path) -> Media:
    """The test card in memory."""
    return load_media(card_file)


@pytest.fixture
def server() -> Iterator[RtspServer]:
    """An RTSP server on a free port."""
    with RtspServer() as server:
        yield server
