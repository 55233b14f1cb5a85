"""From a list of clips to frames on disk."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from trainer.data import decoded
from trainer.data.cache import Clips
from trainer.data.decode import Damage, read_clip
from trainer.data.decoded import Size
from trainer.data.encode import encode_mp4
from trainer.data.manifest import read_list
from trainer.data.opening import open_clips
from trainer.errors import RecipeError
from trainer.progress import silent

SIZE = Size(10, 32, 32)
NAMES = ("gets brighter", "gets darker")


def opened(source: Path, labels: tuple[str, ...] = NAMES, **options: object) -> Clips:
    """The clips of a list, at 10 frames a second, decoded into `cache` beside it."""
    folder = source if source.is_dir() else source.parent
    return open_clips(read_list(source), labels, folder / "cache", SIZE, options.pop("report", silent), **options)  # type: ignore[arg-type]


def rows(folder: Path, *parts: dict[str, object]) -> Path:
    """A list of these rows, as JSON."""
    (folder / "list.json").write_text(json.dumps(parts))
    return folder / "list.json"


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that are decoded, picture by picture."""
    told: list[str] = []

    def counted(path: Path, rate: int, damage: Damage) -> Iterator[tuple[float, np.ndarray]]:
        for seconds, picture in read_clip(path, rate, damage=damage):
            told.append(path.name)
            yield seconds, picture

    monkeypatch.setattr(decoded, "read_clip", counted)
    return told


def test_clips_are_decoded_once_and_sampled_both_ways(listed: Path, reads: list[str]) -> None:
    """Brightness tells which frames were taken: segments span the clip, windows are consecutive, parts are parts."""
    told: list[tuple[str, int, int]] = []
    clips = opened(listed, report=lambda what, done, of, note: told.append((what, done, of)))
    assert told == [("look at files", 1, 2), ("look at files", 2, 2), ("decode files", 1, 2), ("decode files", 2, 2)]
    assert clips.labels == (0, 1, 1) and clips.of("validate") == [2]
    assert [(part.first, part.last) for part in clips.stretches] == [(0, 30), (0, 10), (10, 20)]
    level = clips.sample(0, 3).mean(axis=(1, 2, 3))
    assert np.diff(level) == pytest.approx([80, 80], abs=6)
    close = clips.sample(0, 3, "window").mean(axis=(1, 2, 3))
    assert np.diff(close) == pytest.approx([8, 8], abs=3)
    reads.clear()
    assert np.array_equal(opened(listed).sample(1, 5), clips.sample(1, 5)) and reads == []


def test_other_labels_parts_and_splits_decode_nothing_again(listed: Path, reads: list[str]) -> None:
    """Frames belong to the bytes of a file, whatever a list says of it and however the file is called."""
    opened(listed)
    first = len(reads)
    shutil.copy(listed / "up.mp4", listed / "copy.mp4")
    other = rows(
        listed,
        {"path": "copy.mp4", "label": "y", "start": 0.5, "end": 1.0},
        {"path": "down.mp4", "label": "x", "end": 1.5, "group": "a"},
    )
    clips = opened(other, ("x", "y"))
    assert len(reads) == first and clips.sample(0, 1).mean() == pytest.approx(60, abs=12)


def test_a_file_is_read_once_and_only_as_far_as_its_parts_go(listed: Path, reads: list[str]) -> None:
    """Parts of a long recording share one reading, which ends a window behind the last of them.

    down.mp4  0         1         2         3 s
    parts     |---------|    |----|
                   |---------|
    """
    parts = [{"path": "down.mp4", "label": "y", "start": a, "end": b} for a, b in ((0.0, 1.0), (0.5, 1.5), (1.5, 2.0))]
    clips = opened(rows(listed, {"path": "up.mp4", "label": "x", "end": 0.1}, *parts), ("x", "y"))
    assert [(part.first, part.last) for part in clips.stretches] == [(0, 1), (0, 10), (5, 15), (15, 20)]
    assert reads == ["up.mp4"] * 3 + ["down.mp4"] * 22


def test_a_video_that_was_replaced_is_decoded_again(listed: Path) -> None:
    """Frames in the cache are those of these bytes."""
    before = opened(listed).sample(0, 5)
    encode_mp4((np.full((64, 64, 3), 90, np.uint8) for _ in range(30)), listed / "up.mp4", 10, 100_000)
    assert not np.array_equal(before, opened(listed).sample(0, 5))


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("index.json", lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])),
        ("index.json", lambda path: path.write_text("{}")),
        ("index.json", lambda path: path.write_text('{"times": 3, "until": null, "damaged": 0}')),
        ("frames.rgb", lambda path: path.write_bytes(path.read_bytes()[:-1])),
        ("frames.rgb", lambda path: path.unlink()),
    ],
)
def test_what_is_damaged_in_the_cache_is_made_again(listed: Path, name: str, damage: Callable[[Path], object]) -> None:
    """As after a power cut; nothing half-written is left under a name that counts."""
    before = opened(listed).sample(0, 5)
    for entry in (listed / "cache").glob(f"*/{name}"):
        damage(entry)
    assert np.array_equal(opened(listed).sample(0, 5), before)
    assert len(list((listed / "cache").iterdir())) == 2


def test_what_was_decoded_stays_when_a_later_file_fails(
    listed: Path, monkeypatch: pytest.MonkeyPatch, reads: list[str]
) -> None:
    """A run that was stopped while it decoded goes on with the next file."""
    real = decoded.read_clip

    def failing(path: Path, rate: int, damage: Damage) -> Iterator[tuple[float, np.ndarray]]:
        if path.name == "down.mp4":
            raise KeyboardInterrupt
        yield from real(path, rate, damage)

    with monkeypatch.context() as patch:
        patch.setattr(decoded, "read_clip", failing)
        with pytest.raises(KeyboardInterrupt):
            opened(listed)
    assert reads == ["up.mp4"] * 30 and len(list((listed / "cache").iterdir())) == 1
    opened(listed)
    assert reads[30:] == ["down.mp4"] * len(reads[30:])


def test_a_label_that_a_model_does_not_know_is_named(listed: Path) -> None:
    """A list that got a new label after training cannot be measured with that model."""
    with pytest.raises(RecipeError, match="'gets darker', which this model was not trained on"):
        opened(listed, ("gets brighter",))


def test_all_that_cannot_be_read_is_named_before_anything_is_decoded(listed: Path, reads: list[str]) -> None:
    """A text file, an MP4 without its index and a part behind the end of its file, in one line."""
    (listed / "text.mp4").write_text("not a video")
    (listed / "cut.mp4").write_bytes((listed / "up.mp4").read_bytes()[:700])
    parts = [{"path": name, "label": "x"} for name in ("up.mp4", "text.mp4", "cut.mp4")]
    late = {"path": "down.mp4", "label": "y", "start": 40_000, "end": 50_000}
    with pytest.raises(
        RecipeError, match=r"(?s)3 of 5 .*text\.mp4: it is no video.*cut\.mp4: .*40000-50000 s: the file ends at"
    ) as raised:
        opened(rows(listed, *parts, late, {"path": "down.mp4", "label": "y"}), ("x", "y"), max_skipped=0.5)
    assert reads == [] and "\n" not in str(raised.value)


def test_a_few_unreadable_clips_are_left_out_named_and_counted(listed: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Up to the stated share; but a label that would lose all its training clips is refused."""
    (listed / "text.mp4").write_text("not a video")
    good = [{"path": "up.mp4", "label": "x"}, {"path": "down.mp4", "label": "y"}]
    with caplog.at_level(logging.WARNING):
        clips = opened(rows(listed, *good, {"path": "text.mp4", "label": "y"}), ("x", "y"), max_skipped=0.4)
    assert clips.labels == (0, 1) and clips.figures(4, "window")["clips_skipped"] == 1
    assert "text.mp4: it is no video" in caplog.text
    with pytest.raises(RecipeError, match="no clip to train on is left for 'z'"):
        opened(rows(listed, *good, {"path": "text.mp4", "label": "z"}), ("x", "y", "z"), max_skipped=0.4)


def test_a_part_between_two_pictures_is_the_nearest_one(listed: Path) -> None:
    """Parts of 0.05 s at 10 pictures a second, in two files.

    pictures  1.0       1.1       1.2
    part             |-----|
    """
    clips = opened(
        rows(
            listed,
            {"path": "up.mp4", "label": "x", "start": 1.02, "end": 1.07},
            {"path": "down.mp4", "label": "y", "start": 2.93, "end": 2.99},
        ),
        ("x", "y"),
    )
    assert [(part.first, part.last) for part in clips.stretches] == [(10, 11), (29, 30)]


def test_one_recording_under_two_names_is_on_one_side(listed: Path) -> None:
    """A copy in another split would measure what was trained."""
    shutil.copy(listed / "up.mp4", listed / "again.mp4")
    source = rows(
        listed,
        {"path": "up.mp4", "label": "x"},
        {"path": "down.mp4", "label": "y"},
        {"path": "again.mp4", "label": "x", "split": "validate"},
    )
    with pytest.raises(RecipeError, match=r"up\.mp4 and .*again\.mp4 are the same recording"):
        opened(source, ("x", "y"))


def test_a_short_part_takes_context_and_a_short_file_holds_its_last_frame(listed: Path) -> None:
    """Ten pictures a second and windows of 20: never stretched, and context ends half of the way to another part.

    up.mp4    0         1         2         3 s      down.mp4   |--- y ---| ends at 1.5 s
    parts               |- x -|      |- y -|
    """
    encode_mp4((np.full((64, 64, 3), 8 * level, np.uint8) for level in range(15)), listed / "down.mp4", 10, 400_000)
    clips = opened(
        rows(
            listed,
            {"path": "up.mp4", "label": "x", "start": 1.0, "end": 1.5},
            {"path": "up.mp4", "label": "y", "start": 2.1, "end": 2.6},
            {"path": "down.mp4", "label": "y"},
        ),
        ("x", "y"),
        window=20,
    )
    shown = [stretch.indices(16, "window") for stretch in clips.stretches]
    assert shown[0].tolist() == list(range(2, 18)), "as nearly centred as the other part allows"
    assert shown[1].tolist() == [*range(18, 30), 29, 29, 29, 29], "all there is, then the last frame"
    assert shown[2].tolist() == [*range(15), 14]
    assert clips.figures(16, "window")["clips_held"] == 2 and clips.figures(16, "segments")["clips_held"] == 0


def test_the_time_between_labelled_parts_is_background(listed: Path) -> None:
    """By default; not where the two neighbours are on two sides, and not where the setting is off.

    up.mp4    |- x -|           |- x -|           |- x, validate
              0     .3         1.9  2.2          2.9
    """
    parts = [
        {"path": "up.mp4", "label": "x", "start": 0.0, "end": 0.3},
        {"path": "up.mp4", "label": "x", "start": 1.9, "end": 2.0},
        {"path": "up.mp4", "label": "x", "start": 2.9, "split": "validate"},
        {"path": "down.mp4", "role": "background"},
    ]
    clips = opened(rows(listed, *parts), ("x",), window=4)
    quiet = clips.background("train")
    assert [(clips.stretches[one].first, clips.stretches[one].last) for one in quiet] == [(0, 30), (8, 14)]
    assert [clips.labels[one] for one in quiet] == [-1, -1] and clips.background("validate") == []
    assert len(opened(rows(listed, *parts), ("x",), window=4, implied=False).background("train")) == 1
