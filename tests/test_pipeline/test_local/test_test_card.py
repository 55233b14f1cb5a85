from pathlib import Path

import av
import cv2
import pytest

from pipeline.local.test_card import draw, number_of, write_test_card


@pytest.mark.parametrize("number", [0, 1, 255, 32_768, 65_535])
@pytest.mark.parametrize("size", [(320, 240), (64, 48), (1280, 720)])
def test_a_card_carries_its_number(number: int, size: tuple[int, int]) -> None:
    """The number is read back from a card of any size, and from one that was scaled."""
    card = draw(number, *size)

    assert number_of(card) == number
    assert number_of(cv2.resize(card, (100, 60), interpolation=cv2.INTER_AREA)) == number


def test_a_card_survives_coding(tmp_path: Path) -> None:
    """Every picture of the file carries its number, and key pictures stand where they were asked for."""
    file = write_test_card(tmp_path / "card.mp4", seconds=1, fps=10, gop=5)
    with av.open(str(file)) as container:
        frames = [(number_of(frame.to_ndarray(format="rgb24")), frame.key_frame) for frame in container.decode(video=0)]

    assert [number for number, _ in frames] == list(range(10))
    assert [number for number, key in frames if key] == [0, 5]
