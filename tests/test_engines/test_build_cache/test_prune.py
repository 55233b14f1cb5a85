"""What nobody uses leaves."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from engines.build_cache.build_lock import locked
from engines.build_cache.built import built, reject
from engines.build_cache.entries import ENTRY, LOCK, BuildInputs
from engines.build_cache.prune import prune

DAY = 86400.0


def test_what_was_used_stays(folder: Path, inputs: BuildInputs, maker: Any) -> None:
    """A load counts as use: of two entries that are forty days old the one that was loaded stays."""
    other = replace(inputs, sha256="cd" * 32)
    for one in (inputs, other):
        built(folder, one, maker)
        os.utime(folder / one.key / ENTRY, times=(time.time() - 40 * DAY,) * 2)
    built(folder, inputs, maker)
    (removed,) = prune(folder)
    assert removed.what == f"image.onnx for {inputs.device} (tensorrt 11.4.0.106), unused for 40 days"
    assert removed.path.name == other.key and removed.size > len(maker.plan)
    assert {path.name for path in folder.iterdir()} == {inputs.key, f"{inputs.key}{LOCK}"}


def test_zero_days_removes_everything(folder: Path, inputs: BuildInputs, maker: Any) -> None:
    """The next call builds."""
    built(folder, inputs, maker)
    assert len(prune(folder, days=0)) == 1 and not list(folder.iterdir())
    built(folder, inputs, maker)
    assert maker.calls == 2


def test_what_is_no_entry_goes(folder: Path, inputs: BuildInputs, maker: Any) -> None:
    """What was set aside, what was left half-written the day before, and what says nothing about itself."""
    built(folder, inputs, maker)
    reject(folder, inputs)
    for name in (".left.abcd", ".writing.abcd", "nothing"):
        (folder / name).mkdir()
    os.utime(folder / ".left.abcd", times=(time.time() - 2 * DAY,) * 2)
    assert sorted(one.what for one in prune(folder)) == ["is no entry", "was never finished", "was set aside"]
    assert [path.name for path in folder.iterdir()] == [".writing.abcd"]


def test_what_is_being_built_stays(folder: Path, inputs: BuildInputs, maker: Any) -> None:
    """Its lock is held, so neither it nor what it replaces is touched."""
    built(folder, inputs, maker)
    lock = folder / f"{inputs.key}{LOCK}"
    with locked(lock, "image.onnx", lambda what, done: None, 1.0):
        assert prune(folder, days=0) == [] and lock.exists()
    assert len(prune(folder, days=0)) == 1 and not lock.exists()


def test_where_nothing_was_built_nothing_goes(folder: Path) -> None:
    """No folder is made for it."""
    assert prune(folder) == [] and not folder.exists()
