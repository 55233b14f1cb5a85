"""Built once, kept, checked at every load."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engines.build_cache import built as built_module
from engines.build_cache.build_lock import locked
from engines.build_cache.built import built, reject
from engines.build_cache.entries import DAMAGED, ENTRY, LOCK, PLAN, BuildInputs
from engines.errors import BuildCacheError

PROCESS = """
import sys, time
from pathlib import Path
from engines.build_cache.built import built
from engines.build_cache.entries import BuildInputs

folder, marks, others = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])

def make(told):
    with (marks / "built").open("a") as file:
        file.write("once\\n")
    while len(list(marks.glob("waits-*"))) < others:
        time.sleep(0.02)
    return b"the plan of one"

def told(what, done):
    if what.startswith("waiting"):
        (marks / f"waits-{sys.argv[4]}").write_text(what)

inputs = BuildInputs("image.onnx", "ab" * 32, "runtime 1", "a device", {}, 1)
print(built(folder, inputs, make, told=told).decode())
"""


def start(folder: Path, marks: Path, others: int, number: int) -> subprocess.Popen[str]:
    """A process that asks for the plan; the one that builds waits until `others` wait for it."""
    command = [sys.executable, "-c", PROCESS, str(folder), str(marks), str(others), str(number)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def wait_for(condition: Callable[[], object]) -> None:
    """Wait until the condition holds, a minute at most."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_the_second_call_builds_nothing(folder: Path, inputs: BuildInputs, maker: Any) -> None:
    """What was built is there, with its inputs in words beside it."""
    assert [built(folder, inputs, maker), built(folder, inputs, maker)] == [b"a plan"] * 2
    assert maker.calls == 1
    said = json.loads((folder / inputs.key / ENTRY).read_text())
    assert said["inputs"]["device"] == inputs.device and said["by"]["process"] == os.getpid()


@pytest.mark.parametrize(
    "other",
    [
        {"network": "head.onnx"},
        {"sha256": "cd" * 32},
        {"runtime": "tensorrt 11.5.0"},
        {"device": "NVIDIA L4, 8.9, driver 13.0"},
        {"settings": {"bucket": 64, "tf32": False}},
        {"settings": {"bucket": 16, "tf32": True}},
        {"builder": 2},
    ],
)
def test_every_input_decides(folder: Path, inputs: BuildInputs, maker: Any, other: dict[str, Any]) -> None:
    """Another network, runtime, device, bucket or flag is another plan."""
    built(folder, inputs, maker)
    built(folder, replace(inputs, **other), maker)
    assert maker.calls == 2


def test_eight_processes_build_once(folder: Path, tmp_path: Path) -> None:
    """Seven wait, each says for whom, and all load what the eighth has built."""
    processes = [start(folder, tmp_path, 7, number) for number in range(8)]
    answers = [process.communicate(timeout=60)[0].strip() for process in processes]
    assert answers == ["the plan of one"] * 8
    assert (tmp_path / "built").read_text().split() == ["once"]
    waiting = [file.read_text() for file in tmp_path.glob("waits-*")]
    builders = {one.split(" on ")[0] for one in waiting}
    assert len(waiting) == 7 and len(builders) == 1 and builders.pop().startswith("waiting: process ")
    assert all("builds image.onnx for a device (runtime 1)" in one for one in waiting)


def test_a_builder_that_is_killed_holds_nobody_up(folder: Path, tmp_path: Path) -> None:
    """The kernel frees its lock, and the next one builds."""
    first = start(folder, tmp_path, 99, 0)
    wait_for((tmp_path / "built").exists)
    second = start(folder, tmp_path, 1, 1)
    wait_for((tmp_path / "waits-1").exists)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    assert second.communicate(timeout=60)[0].strip() == "the plan of one"
    assert (tmp_path / "built").read_text().split() == ["once"] * 2


def cut_short(path: Path) -> None:
    """A disk that was full."""
    (path / PLAN).write_bytes(b"a pl")


def changed(path: Path) -> None:
    """One bit of it."""
    (path / PLAN).write_bytes(b"a plAn")


def of_another_host(path: Path) -> None:
    """A folder that was copied: whole, and of another device."""
    said = json.loads((path / ENTRY).read_text())
    said["inputs"]["device"] = "NVIDIA L4, 8.9, driver 13.0"
    (path / ENTRY).write_text(json.dumps(said))


def without_entry(path: Path) -> None:
    """Nothing says what it is."""
    (path / ENTRY).unlink()


def no_json(path: Path) -> None:
    """Garbage for a description."""
    (path / ENTRY).write_text('{"sha256": ')


def a_list(path: Path) -> None:
    """JSON of another form."""
    (path / ENTRY).write_text("[]")


def a_link(path: Path) -> None:
    """A plan that lies elsewhere, where others may write."""
    elsewhere = path.parent.parent / "elsewhere"
    shutil.move(path / PLAN, elsewhere)
    (path / PLAN).symlink_to(elsewhere)


@pytest.mark.parametrize("damage", [cut_short, changed, of_another_host, without_entry, no_json, a_list, a_link])
def test_what_must_not_be_used_is_set_aside(
    folder: Path, inputs: BuildInputs, maker: Any, damage: Callable[[Path], None]
) -> None:
    """It is built again, and what was found lies beside it for somebody to look at."""
    heard: list[str] = []
    built(folder, inputs, maker)
    damage(folder / inputs.key)
    assert built(folder, inputs, maker, told=lambda what, done: heard.append(what)) == b"a plan"
    assert maker.calls == 2 and "is set aside and built again" in heard[0]
    assert (folder / f"{inputs.key}{DAMAGED}").is_dir()
    assert built(folder, inputs, maker) == b"a plan" and maker.calls == 2


def test_what_the_runtime_refuses_is_set_aside_too(folder: Path, inputs: BuildInputs, maker: Any) -> None:
    """A plan may be whole and all the same not be for this driver."""
    built(folder, inputs, maker)
    reject(folder, inputs)
    built(folder, inputs, maker)
    assert maker.calls == 2 and (folder / f"{inputs.key}{DAMAGED}").is_dir()


def test_an_error_of_the_builder_leaves_nothing(folder: Path, inputs: BuildInputs, maker: Any) -> None:
    """It reaches the caller as it is, also where it is one of the system, and the next call builds."""

    def fail(told: object) -> bytes:
        raise OSError("no memory")

    with pytest.raises(OSError, match="no memory"):
        built(folder, inputs, fail)
    assert [path.name for path in folder.iterdir()] == [f"{inputs.key}{LOCK}"]
    assert built(folder, inputs, maker) == b"a plan"


def test_a_cache_that_cannot_be_written_costs_time_only(tmp_path: Path, inputs: BuildInputs, maker: Any) -> None:
    """A file stands where its folder would be: said, and built each time."""
    heard: list[str] = []
    (tmp_path / "cache").write_text("")
    for _ in range(2):
        plan = built(tmp_path / "cache" / "engines", inputs, maker, told=lambda what, done: heard.append(what))
        assert plan == b"a plan"
    assert maker.calls == 2 and "cannot be written" in heard[0] and "not kept" in heard[0]


def test_a_full_disk_costs_time_only(
    folder: Path, inputs: BuildInputs, maker: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was built is used although it cannot be kept."""

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    heard: list[str] = []
    monkeypatch.setattr(built_module.entries, "save", full)
    assert built(folder, inputs, maker, told=lambda what, done: heard.append(what)) == b"a plan"
    assert heard[-1].endswith("(No space left on device)")


def test_nobody_waits_for_ever(folder: Path, inputs: BuildInputs, maker: Any) -> None:
    """After the given time the error names the process that builds."""
    folder.mkdir(parents=True, mode=0o700)
    refused = pytest.raises(
        BuildCacheError, match=rf"process {os.getpid()} on .* builds image.onnx .* end that process"
    )
    with locked(folder / f"{inputs.key}{LOCK}", "image.onnx", lambda what, done: None, 1.0), refused:
        built(folder, inputs, maker, wait_seconds=0.0)
    assert maker.calls == 0
