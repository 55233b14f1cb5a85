"""What a window shows, drawn as timelines. One character is a quarter of a second; windows hold eight items at 4/s."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.demo.phrases import PHRASES, Fact
from trainer.demo.targets import describe, events_of, matches, overlaps
from trainer.recipe import Targets
from trainer.scenes.vocabulary import COLOURS, KEYS

FALL, RUN, HUG = (KEYS.index(key) for key in ("fall", "run", "hug"))


def drawn(**lines: str) -> list[tuple[str, float, float, tuple[str | None, ...]]]:
    """Rows of events: every run of # in the line of an action."""
    rows = []
    for key, line in lines.items():
        edges = np.flatnonzero(np.diff([0, *(mark == "#" for mark in line), 0]))
        rows += [(key, a / 4, b / 4, ("red",)) for a, b in zip(edges[::2], edges[1::2], strict=True)]
    return rows


def mass(rows: list, last: float, rules: Targets) -> np.ndarray:
    """Target of the window whose last item is at `last`."""
    return describe(np.array([last]), 8, 4, events_of(rows), (), rules).mass[0]


def test_a_window_in_the_middle_of_an_action_shows_it() -> None:
    """All mass is on the action, none on the background."""
    #                window |------|
    rows = drawn(fall="....##########....")
    found = mass(rows, 3.0, Targets())
    assert found[FALL] == 1.0 and found[-1] == 0.0 and found.sum() == pytest.approx(1.0)


def test_a_window_before_an_action_is_background() -> None:
    """An action that begins after the window has no part in it."""
    #          window |------|
    rows = drawn(run="............####")
    assert mass(rows, 2.0, Targets())[-1] == 1.0


def test_a_window_that_straddles_a_beginning_is_shared() -> None:
    """Between the thresholds the mass is split (soft), or the action is undecided and the window has none (ignore)."""
    #          window |------|
    rows = drawn(run="....############")
    soft = mass(rows, 1.625, Targets(edge="soft"))
    assert 0 < soft[RUN] < 1 and soft[-1] == pytest.approx(1 - soft[RUN])
    hard = describe(np.array([1.625]), 8, 4, events_of(rows), (), Targets(edge="ignore"))
    assert hard.mass[0].sum() == 0 and hard.undecided[0, RUN] and not hard.background[0]


def test_only_the_judged_items_count() -> None:
    """With the first six and the last two of twelve items aside, four in the middle of the second half decide."""
    #            window |----------|
    #            judged       |--|
    rows = drawn(run="......####....")
    rules = Targets(first=6, last=2)
    found = describe(np.array([11 / 4]), 12, 4, events_of(rows), (Fact("run"),), rules)
    assert found.mass[0, RUN] == 1.0 and found.positives[0, 0]
    early = describe(np.array([20 / 4]), 12, 4, events_of(rows), (Fact("run"),), rules)
    assert early.background[0] and not early.positives[0, 0] and not early.open[0, 0]


def test_a_short_action_counts_by_its_own_length() -> None:
    """Overlap is a share of the shorter of window and event, so a brief punch within a long window is whole."""
    share = overlaps(np.array([2.0]), 2.0, events_of([("punch", 0.5, 0.9, ("red", "blue"))]))
    assert share[0, 0] == pytest.approx(1.0)


def test_a_caption_with_the_wrong_colour_is_false() -> None:
    """Red fell: "someone in red falls" and "someone falls" are true, "someone in blue falls" is not."""
    facts = (Fact("fall"), Fact("fall", "red"), Fact("fall", "blue"))
    found = describe(np.array([3.0]), 8, 4, events_of(drawn(fall="....##########....")), facts, Targets())
    assert found.positives[0].tolist() == [True, True, False]


colours = st.sampled_from([None, *COLOURS])


@given(key=st.sampled_from(KEYS), who=st.lists(colours, min_size=1, max_size=2), data=st.data())
def test_columns_match_as_facts_do(key: str, who: list[str | None], data: st.DataObject) -> None:
    """The rule for many events at once is `Fact.matches`, mutual actions included."""
    fact = Fact(
        data.draw(st.sampled_from([key, "walk"])),
        data.draw(st.sampled_from([None, *who, "red"])),
        data.draw(st.sampled_from([None, *who, "blue"])),
    )
    expected = fact.matches(key, who)
    assert bool(matches(events_of([(key, 0.0, 1.0, who)]), (fact,))[0, 0]) == expected


def test_either_of_two_who_hug_may_be_named_first() -> None:
    """A hug is mutual, a kick is not."""
    assert PHRASES["hug"].mutual and not PHRASES["kick"].mutual
    for key, expected in (("hug", True), ("kick", False)):
        columns = events_of([(key, 0.0, 1.0, ("red", "blue"))])
        assert bool(matches(columns, (Fact(key, "blue", "red"),))[0, 0]) is expected


def test_the_colours_of_a_frame_are_those_of_who_acts() -> None:
    """Who is kicked does not count, both who hug do, and a top without a name leaves the row empty."""
    palette = list(COLOURS)
    for key, who, worn in (
        ("kick", ("red", "blue"), {"red": 1.0}),
        ("hug", ("red", "blue"), {"red": 0.5, "blue": 0.5}),
        ("fall", (None,), {}),
    ):
        found = describe(np.array([1.0]), 1, 4, events_of([(key, 0.0, 2.0, who)]), (), Targets()).colours[0]
        assert found.tolist() == [worn.get(colour, 0.0) for colour in palette]
    assert not describe(np.array([1.0]), 1, 4, events_of([]), (), Targets()).colours.any()
