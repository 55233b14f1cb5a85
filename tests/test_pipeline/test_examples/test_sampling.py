"""A clip as an example, and every clip that cannot be one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from pipeline.config.settings import Settings
from pipeline.errors import ActionwireError, ConfigurationError
from pipeline.examples.sampling import LARGEST_FILE, example_of_clip, example_of_frames, require_different
from pipeline.records.examples import decode_example, encode_example
from pipeline.records.frames import FrameRecord
from pipeline.records.jpeg import decode_jpeg, encode_jpeg
from pipeline.testing import frame

Film = Callable[[Path, Sequence[tuple[str, float]]], Path]
SETTINGS = Settings()


def test_a_clip_is_sampled_as_a_camera_would_be(film: Film, tmp_path: Path) -> None:
    """Two seconds at four a second are eight ticks or nine, and the topic takes what it shows."""
    example = example_of_clip("fence", film(tmp_path / "it.mp4", [("red", 1.0), ("cyan", 1.0)]), SETTINGS)
    message = encode_example(example)
    assert decode_example(message.key, message.value) == example
    ticks = [one.tick for one in example.pictures]
    assert (example.rate, ticks) == (4, list(range(len(ticks)))) and len(ticks) in (8, 9)
    assert example.source == "clip it.mp4"
    first, last = (decode_jpeg(example.pictures[place].jpeg).mean(axis=(0, 1)) for place in (0, -1))
    assert first == pytest.approx([255, 0, 0], abs=12) and last == pytest.approx([0, 255, 255], abs=12)


def _nothing(path: Path, _: Film) -> Path:
    return path


def _empty(path: Path, _: Film) -> Path:
    path.write_bytes(b"")
    return path


def _text(path: Path, _: Film) -> Path:
    path.write_text("no video at all\n" * 99)
    return path


def _one_picture(path: Path, film: Film) -> Path:
    return film(path, [("red", 1 / 12)])


def _too_short(path: Path, film: Film) -> Path:
    return film(path, [("red", 0.3)])


def _minutes(path: Path, film: Film) -> Path:
    return film(path, [("red", 120.0)])


def _fifty_megabytes(path: Path, film: Film) -> Path:
    film(path, [("red", 2.0)])
    with path.open("ab") as file:
        file.truncate(LARGEST_FILE + 1)
    return path


def _cut_short(path: Path, film: Film) -> Path:
    path.write_bytes(film(path, [("red", 2.0)]).read_bytes()[:900])
    return path


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (_nothing, "there is no file"),
        (_empty, "it.mp4"),
        (_text, "it.mp4"),
        (_cut_short, "it.mp4"),
        (_one_picture, "shows 1 pictures in 0 s"),
        (_too_short, "an action takes time"),
        (_minutes, "is longer than 20 s; an example shows one action"),
        (_fifty_megabytes, "has 48 MiB, at most 48 are taken; cut the action out"),
    ],
)
def test_what_cannot_be_an_example_is_refused(
    make: Callable[[Path, Film], Path], words: str, film: Film, tmp_path: Path
) -> None:
    """Each with the file, the reason and the remedy in one line."""
    with pytest.raises(ActionwireError, match=words) as found:
        example_of_clip("fence", make(tmp_path / "it.mp4", film), SETTINGS)
    assert "it.mp4" in str(found.value)


def at_most(size: int) -> Settings:
    """Settings of a broker that takes messages of so many bytes."""
    return SETTINGS.model_copy(update={"kafka": SETTINGS.kafka.model_copy(update={"max_message_bytes": size})})


def test_a_busy_clip_is_compressed_harder_until_it_fits(card_file: Path) -> None:
    """Where the broker takes little; what fits at no quality is refused."""
    whole = len(encode_example(example_of_clip("fence", card_file, SETTINGS)).value or b"")
    narrow = encode_example(example_of_clip("fence", card_file, at_most(whole))).value or b""
    assert len(narrow) < whole - 2000
    with pytest.raises(ConfigurationError, match="952 are taken; cut it shorter"):
        example_of_clip("fence", card_file, at_most(3000))


def test_frames_of_a_camera_stay_as_they_were_published(tmp_path: Path) -> None:
    """No picture is encoded twice; too few are refused."""
    jpeg = encode_jpeg(np.full((8, 8, 3), 90, np.uint8))
    frames = [frame("gate", tick, jpeg=jpeg) for tick in (40, 41, 43)]
    example = example_of_frames("fence", frames, "camera gate", SETTINGS)
    assert [(one.tick, one.jpeg) for one in example.pictures] == [(0, jpeg), (1, jpeg), (3, jpeg)]
    squashed = [FrameRecord("gate", 1, 0, tick, 4, 0, "arrival", 8, 8, jpeg, (16, 8)) for tick in (0, 2)]
    assert {one.pixel for one in example_of_frames("fence", squashed, "camera gate", SETTINGS).pictures} == {2.0}
    for few in ([], frames[:1]):
        with pytest.raises(ConfigurationError, match="camera gate"):
            example_of_frames("fence", few, "camera gate", SETTINGS)


def test_the_same_pictures_teach_once(film: Film, tmp_path: Path) -> None:
    """Twice in one command, or again later: refused, with both names."""
    one, two = (example_of_clip("f", film(tmp_path / name, [("red", 1.0)]), SETTINGS) for name in ("a.mp4", "b.mp4"))
    with pytest.raises(ConfigurationError, match=r"clip b\.mp4 shows the same pictures as clip a\.mp4"):
        require_different([one, two], ())
    with pytest.raises(ConfigurationError, match=r"clip a\.mp4 shows the same pictures as an example that is enrolled"):
        require_different([one], [two.id])
    require_different([one], ["0" * 16])
