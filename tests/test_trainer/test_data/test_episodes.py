"""Episodes: classes, examples and clips to recognise, drawn from labels and groups."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.data.episodes import EpisodeSampler
from trainer.errors import RecipeError
from trainer.recipe import Episodes

LABELS = [label for label in range(6) for _ in range(10)]
GROUPS = [f"recording {clip}" for _ in range(6) for clip in range(10)]  # each shows every label once


@settings(max_examples=50)
@given(st.integers(0, 10_000), st.integers(2, 6), st.integers(1, 3), st.integers(1, 1))
def test_queries_never_share_a_group_with_a_support(number: int, ways: int, shots: int, queries: int) -> None:
    """Every clip has the label of its class, none is taken twice, and what is asked comes from other recordings."""
    drawn = EpisodeSampler(LABELS, GROUPS, range(60), Episodes(ways=ways, shots=shots, queries=queries), 1).draw(number)
    assert drawn.supports.shape == (ways, shots) and drawn.queries.shape == (ways, queries)
    assert len(set(drawn.classes.tolist())) == ways
    for label, supports, asked in zip(drawn.classes, drawn.supports, drawn.queries, strict=True):
        assert {LABELS[clip] for clip in (*supports, *asked)} == {int(label)}
    assert len(set(drawn.supports.flat)) == ways * shots
    assert {GROUPS[clip] for clip in drawn.supports.flat}.isdisjoint(GROUPS[clip] for clip in drawn.queries.flat)


def test_the_same_seed_draws_the_same_episodes() -> None:
    """Whatever order they are asked for in; another seed draws others."""
    first, again, other = (EpisodeSampler(LABELS, GROUPS, range(60), Episodes(queries=1), seed) for seed in (1, 1, 2))
    numbers = [3, 0, 7]
    assert all(np.array_equal(first.draw(n).supports, again.draw(n).supports) for n in reversed(numbers))
    assert any(not np.array_equal(first.draw(n).supports, other.draw(n).supports) for n in numbers)


@pytest.mark.parametrize(
    ("form", "said"),
    [
        (Episodes(ways=7, queries=1), "have 6; lower episodes.ways"),
        (Episodes(ways=3, shots=8, queries=5), "takes 13 clips of a class .* has 10"),
    ],
)
def test_too_few_clips_are_an_error_that_says_what_to_lower(form: Episodes, said: str) -> None:
    """Before the first episode is drawn."""
    with pytest.raises(RecipeError, match=said):
        EpisodeSampler(LABELS, GROUPS, range(60), form, 1)


def test_groups_that_show_everything_leave_nothing_to_learn_from() -> None:
    """One recording of all clips: queries and supports cannot be kept apart, and the message says so."""
    with pytest.raises(RecipeError, match="outside the groups"):
        EpisodeSampler(LABELS, ["one"] * 60, range(60), Episodes(queries=1), 1).draw(0)
