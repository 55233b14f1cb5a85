"""Splits that are drawn by group."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.data.manifest import Clip
from trainer.data.splits import drawn, units_of

GROUPED = [Clip(f"{group}-{label}.mp4", label, group=f"g{group}") for group in range(10) for label in "abc"]
SHARES = {"test": 0.2, "validate": 0.2}


def test_about_the_share_is_drawn_and_labels_are_spread() -> None:
    """Ten groups of three labels: two groups for each of the two splits, and every label everywhere."""
    clips, missing = drawn(GROUPED, SHARES, seed=3)
    assert missing == []
    for split in ("test", "validate"):
        there = [clip for clip in clips if clip.split == split]
        assert len(there) == 6 and {clip.label for clip in there} == {"a", "b", "c"}
    assert drawn(GROUPED, SHARES, seed=3)[0] == clips != drawn(GROUPED, SHARES, seed=4)[0]


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.integers(0, 6), st.sampled_from("abc"), st.integers(0, 8)), min_size=1, max_size=30),
    st.integers(0, 5),
)
def test_no_group_and_no_file_is_on_two_sides_and_every_label_is_trained(
    rows: list[tuple[int, str, int]], seed: int
) -> None:
    """Whatever the list: group 0 stands for none."""
    clips = [Clip(f"{file}.mp4", label, group=str(group or "")) for group, label, file in rows]
    found, _ = drawn(clips, SHARES, seed)
    units = units_of(clips)
    assert {clip.label for clip in found if clip.split == "train"} == {clip.label for clip in clips}
    assert len({(unit, clip.split) for unit, clip in zip(units, found, strict=True)}) == len(set(units))


def test_groups_join_over_files() -> None:
    """Two groups that share a file are one."""
    clips = [Clip("a", "x", group="1"), Clip("a", "x", group="2"), Clip("b", "x", group="2"), Clip("c", "x")]
    units = units_of(clips)
    assert len(set(units[:3])) == 1 and units[3] not in units[:3]


def test_what_cannot_be_drawn_is_told() -> None:
    """A label of one recording stays in training."""
    clips, missing = drawn([Clip("a", "x"), Clip("b", "y")], {"validate": 0.2}, 0)
    assert missing == ["validate"] and {clip.split for clip in clips} == {"train"}
