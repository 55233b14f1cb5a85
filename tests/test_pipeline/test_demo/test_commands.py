"""The arguments of `actionwire demo`."""

import pytest

from pipeline.demo.commands import _seeds
from pipeline.errors import ConfigurationError


@pytest.mark.parametrize(
    ("text", "seeds"), [(None, [20007]), ("20000-20002", [20000, 20001, 20002]), ("20005", [20005])]
)
def test_seeds_are_a_range(text: str | None, seeds: list[int]) -> None:
    """Both ends count; one seed may stand alone; without the option the seed of --seed is used."""
    assert list(_seeds(text, 20007)) == seeds


@pytest.mark.parametrize("text", ["x", "20000-", "20002-20000", "100-200"])
def test_other_seeds_are_refused(text: str) -> None:
    """What is no range, runs backwards, or touches the model's own seeds is an error that says so."""
    with pytest.raises(ConfigurationError, match=text):
        _seeds(text, 20000)
