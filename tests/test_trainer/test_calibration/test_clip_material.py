"""Which clips decide and which measure."""

from __future__ import annotations

from trainer.calibration.clip_material import sides
from trainer.data.manifest import Clip


def clips(split: str, **labels: int) -> list[Clip]:
    """So many clips of each label, each of a group of its own."""
    return [
        Clip(f"{split}-{label}-{number}.mp4", label, split=split, group=f"{split}-{number}")
        for label, count in labels.items()
        for number in range(count)
    ]


def test_validate_decides_and_test_measures() -> None:
    """No clip that was trained on takes part."""
    chosen = sides([*clips("train", a=9, b=9), *clips("validate", a=3, b=4), *clips("test", a=1, b=1)], ("a", "b"), 1)

    assert {clip.split for clip in chosen.fit} == {"validate"} and len(chosen.fit) == 7
    assert {clip.split for clip in chosen.measure} == {"test"} and chosen.measured_on == "test"
    assert chosen.labels == ("a", "b") and chosen.uncalibrated == {}


def test_a_label_with_two_clips_is_named_and_measured_no_more() -> None:
    """It gets the thresholds of all labels; its clips would count against a label that nobody fitted."""
    chosen = sides([*clips("validate", a=3, b=2), *clips("test", a=1, b=1)], ("a", "b", "c"), 1)

    assert chosen.labels == ("a",)
    assert chosen.uncalibrated == {"b": "2 clips to fit to, 3 are needed", "c": "0 clips to fit to, 3 are needed"}
    assert [clip.label for clip in chosen.measure] == ["a"]


def test_without_a_test_split_half_of_validate_measures_by_group() -> None:
    """A group is on one side only."""
    chosen = sides(clips("validate", a=8, b=8), ("a", "b"), 1)

    assert chosen.measured_on == "half of validate, by group"
    assert not {clip.group for clip in chosen.fit} & {clip.group for clip in chosen.measure}
    assert chosen.labels == ("a", "b")


def test_few_clips_measure_what_they_decided_and_it_is_said() -> None:
    """Halves of four clips would leave two a label to fit to."""
    chosen = sides(clips("validate", a=4, b=4), ("a", "b"), 1)

    assert chosen.fit == chosen.measure and "the clips that decided" in chosen.measured_on
