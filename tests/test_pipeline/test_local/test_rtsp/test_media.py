from pathlib import Path

import pytest

from pipeline.errors import ConfigurationError
from pipeline.local.rtsp import Media, load_media
from pipeline.local.rtsp.media import split_nals
from pipeline.local.test_card import write_test_card

FOOTAGE = Path(__file__).parents[4] / "../shared/data/singles"


def test_h264_is_taken_as_it_is(card: Media) -> None:
    """Fifty pictures at 25 a second, a key picture each second, and parameter sets with every key picture."""
    assert card.duration == 2 * 90_000
    assert [unit.time for unit in card.units] == [number * 3600 for number in range(50)]
    assert [number for number, unit in enumerate(card.units) if unit.key] == [0, 25]
    for unit in (card.units[0], card.units[25]):
        assert {nal[0] & 0x1F for nal in unit.nals} >= {7, 8, 5}


@pytest.mark.parametrize(("codec", "suffix"), [("mpeg4", "avi"), ("mjpeg", "avi"), ("libx265", "mp4")])
def test_other_codecs_are_encoded(tmp_path: Path, codec: str, suffix: str) -> None:
    """Whatever the file holds, it plays as H.264 with a key picture each second and as many pictures."""
    file = write_test_card(tmp_path / f"card.{suffix}", seconds=1.2, fps=10, width=160, height=120, codec=codec)

    media = load_media(file)

    assert len(media.units) == 12
    assert [number for number, unit in enumerate(media.units) if unit.key] == [0, 10]


@pytest.mark.parametrize(("gop", "keys"), [(30, 6), (15, 2)], ids=["every six seconds", "every three seconds"])
def test_rare_key_pictures_are_made_frequent(tmp_path: Path, gop: int, keys: int) -> None:
    """H.264 with one key picture in six seconds is encoded again, since whoever joins waits for the next one."""
    file = write_test_card(tmp_path / "rare.mp4", seconds=6, fps=5, width=160, height=120, gop=gop)

    assert sum(unit.key for unit in load_media(file).units) == keys


def test_a_picture_is_sent_once_what_it_needs_was_captured(card: Media) -> None:
    """Sending times never run backwards and never precede the capture."""
    sends = [unit.send for unit in card.units]

    assert sends == sorted(sends)
    assert all(unit.send >= unit.time for unit in card.units)


def test_nal_units_are_split_at_start_codes() -> None:
    """Start codes of three and four bytes are both found, and empty units are left out."""
    assert list(split_nals(b"\0\0\0\1\x67a\0\0\1\x68b\0\0\0\1\0\0\1\x65c")) == [b"\x67a", b"\x68b", b"\x65c"]


@pytest.mark.parametrize("content", [b"", b"not a video"])
def test_a_file_without_video_is_refused(tmp_path: Path, content: bytes) -> None:
    """The message names the file and the remedy."""
    file = tmp_path / "text.mp4"
    file.write_bytes(content)

    with pytest.raises(ConfigurationError, match=r"text\.mp4.*another file"):
        load_media(file)


@pytest.mark.footage
@pytest.mark.parametrize("pattern", ["**/*skeleton.mp4", "**/flipping*/*.mkv", "**/jogging/*.avi", "**/Punch/*.avi"])
def test_real_footage_plays(pattern: str) -> None:
    """Real clips of several codecs and sizes, some with B-pictures, all become media that start with a key picture."""
    if not FOOTAGE.exists():
        pytest.skip(f"no footage at {FOOTAGE}")
    media = load_media(next(FOOTAGE.glob(pattern)))

    assert media.units[0].key
    assert media.duration > max(unit.time for unit in media.units)
    assert all(unit.send >= unit.time for unit in media.units)
