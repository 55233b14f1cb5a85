"""The arguments of `actionwire demo`."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.commands.demo import _seeds
from pipeline.demo import replayed
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


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--seeds", "20000-20002"], "--seeds goes with --replay"),
        (["--replay", "--json", "nowhere/report.json"], "there is no folder .*nowhere"),
        (["--replay", "--json", "."], "cannot be written"),
    ],
)
def test_what_cannot_work_is_said_before_any_work(
    arguments: list[str], reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Minutes of replaying whose figures cannot be written, or an option that would be passed over, are refused."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(replayed, "run_replay", lambda *_: pytest.fail("it began to work"))

    with pytest.raises(ConfigurationError, match=reason):
        CliRunner().invoke(app, ["demo", *arguments], catch_exceptions=False)
