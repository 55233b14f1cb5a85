"""Rendered validation streams and where they are kept."""

from __future__ import annotations

from dataclasses import astuple
from inspect import signature
from pathlib import Path

import pytest

from trainer import cli
from trainer.demo import recordings
from trainer.demo.recordings import Streams, seeds_of
from trainer.errors import CalibrationError, RecipeError


def test_streams_lie_in_the_cache_that_serving_uses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One variable moves everything that can be made again, the trainer's streams included."""
    monkeypatch.setenv("ACTIONWIRE_CACHE", str(tmp_path))
    assert recordings.cache_directory() == tmp_path / "validation"


def test_the_command_names_the_streams_that_are_used() -> None:
    """Its defaults stand in its help, which must not load what `Streams` needs, and are the same."""
    offered = signature(cli.calibrate).parameters
    named = ("seeds", "quiet", "held_back", "held_back_quiet", "cameras", "seconds")
    assert tuple(offered[name].default for name in named) == astuple(Streams())


def test_seeds_that_decide_do_not_measure() -> None:
    """Fitting and held-back seeds must differ, and so must their cameras; all are of the validation range."""
    with pytest.raises(CalibrationError, match="a camera of seed 10134, which seed 10102 has too, would both fit and"):
        Streams(fit="10130-10153", held_back="10100-10105")
    with pytest.raises(CalibrationError, match="seed 10105"):
        Streams(fit="10100-10110", held_back="10105-10106")
    for wrong in ("9999", "20000-20001", "ten", "10005-10001", "19999-20000"):
        with pytest.raises(RecipeError):
            seeds_of(wrong)
    assert list(seeds_of("10100-10102")) == [10100, 10101, 10102]
