"""Two publishers at once, and readers meanwhile: no half bundle, no lost history."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from engines.bundle import channels
from engines.bundle.channels import Pointer, change
from engines.bundle.files import load
from engines.bundle.store import publish, resolve
from engines.testing import tiny_bundle

PUBLISHES = int(os.environ.get("ACTIONWIRE_TEST_PUBLISHES", "40"))
"""How often each publisher publishes; a thousand times, run by hand, takes a minute."""

PUBLISHER = """
import sys
from pathlib import Path
from engines.bundle.store import publish

store, one, other, count = Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4])
for number in range(count):
    publish(store, other if number % 2 else one)
"""


def test_two_publishers_forget_nothing_of_each_other(tmp_path: Path) -> None:
    """Each publishes its two bundles in turn. Every publication moves the channel, so the history holds every one.

    first   a b a b ...
    second     c d c d ...        history: some interleaving of both, in which a and b take turns, and c and d
    """
    store = tmp_path / "store"
    bundles = [tiny_bundle(tmp_path / name, version=f"0.{name}", seed=seed) for seed, name in enumerate("1234")]
    publishers = [
        subprocess.Popen([sys.executable, "-c", PUBLISHER, str(store), *map(str, pair), str(PUBLISHES)])
        for pair in (bundles[:2], bundles[2:])
    ]
    seen, deadline = set(), time.monotonic() + 600
    while any(publisher.poll() is None for publisher in publishers):
        assert time.monotonic() < deadline
        if (store / "tiny" / "current.json").exists():  # from its first moment on a reader gets whole bundles
            seen.add(load(resolve("tiny", store)).manifest.version)
        time.sleep(0.001)
    assert [publisher.wait() for publisher in publishers] == [0, 0] and seen
    pointer = channels.read(store, "tiny")
    assert pointer is not None
    told = [*pointer.history, pointer.version]
    assert len(told) == 2 * PUBLISHES
    for pair in (("0.1", "0.2"), ("0.3", "0.4")):
        assert [version for version in told if version in pair] == [pair[number % 2] for number in range(PUBLISHES)]
    assert [path.name for path in (store / "tiny").glob(".*")] == [".lock"]


def test_a_publisher_that_dies_holds_nobody_up(tmp_path: Path) -> None:
    """The kernel frees its lock."""
    code = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from engines.bundle.channels import alone\n"
        "with alone(Path(sys.argv[1]), 'tiny'):\n"
        "    print('held', flush=True)\n"
        "    time.sleep(600)\n"
    )
    holder = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None and holder.stdout.readline() == "held\n"
    holder.kill()
    holder.communicate()
    assert publish(tmp_path, tiny_bundle(tmp_path / "source")).manifest.name == "tiny"


def test_a_step_that_fails_changes_nothing(tmp_path: Path) -> None:
    """Neither the pointer nor the lock."""

    def fail(before: Pointer | None) -> Pointer:
        raise ValueError

    change(tmp_path, "tiny", "stable", lambda before: Pointer("1"))
    for _ in range(2):
        with pytest.raises(ValueError):
            change(tmp_path, "tiny", "stable", fail)
    assert channels.read(tmp_path, "tiny") == Pointer("1")


def test_a_version_that_comes_again_stands_in_the_history_again() -> None:
    """The history is the way back, step by step; the same version twice in a row is one step."""
    pointer = Pointer("1").to("2").to("2").to("1")
    assert pointer == Pointer("1", ("1", "2"))
