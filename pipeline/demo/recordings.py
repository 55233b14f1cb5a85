"""Rendered cameras for the demo: the trainer's own command makes them once per seed, the user's cache keeps them."""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engines.folders import cache_directory
from pipeline import child_process
from pipeline.errors import ActionwireError, ConfigurationError

FRAMES_PER_SECOND = 12
SIZE = "320x240"
_KEPT = 64
"""Recordings that stay in the cache. The least recently used go first."""


@dataclass(frozen=True, slots=True)
class Recording:
    """Some cameras as files, and the truth about what happens in them."""

    folder: Path
    truth: dict[str, Any]
    """As written by `actionwire-trainer scenes render`."""

    @property
    def files(self) -> dict[str, Path]:
        """The video file of each camera."""
        return {camera["id"]: self.folder / camera["file"] for camera in self.truth["cameras"]}


def recording(seed: int, cameras: int, seconds: float, cache: Path | None = None) -> Recording:
    """Take a recording from the cache, or render it with a progress bar.

    Raises ConfigurationError when the trainer's command is not installed, ActionwireError when it fails.
    """
    base = cache or cache_directory() / "recordings"
    folder = base / f"{_renderer_version()}-{seed}-{cameras}x{seconds:g}"
    if not (folder / "truth.json").exists():
        base.mkdir(parents=True, exist_ok=True)
        making = base / f".making-{os.getpid()}-{folder.name}"
        try:
            _render(making, seed, cameras, seconds)
            _put(making, folder)
        finally:
            shutil.rmtree(making, ignore_errors=True)
        _delete_oldest(base)
    with suppress(OSError):  # of another user, or read-only: nothing is deleted there either
        os.utime(folder)
    return Recording(folder, json.loads((folder / "truth.json").read_text()))


def _render(folder: Path, seed: int, cameras: int, seconds: float) -> None:
    command = [
        trainer_command(), "scenes", "render", "--out", str(folder), "--seed", str(seed), "--cameras", str(cameras),
        "--seconds", f"{seconds:g}", "--fps", str(FRAMES_PER_SECOND), "--size", SIZE, "--json",
    ]  # fmt: skip
    # A group of its own: the renderer's pool outlives its parent, so the whole group must be ended.
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, process_group=0)
    try:
        code = process.wait()
    except BaseException:
        child_process.kill_group(process)
        raise
    if code != 0:
        raise ActionwireError(f"rendering the cameras failed with exit code {code}; see the lines above")


def _put(making: Path, folder: Path) -> None:
    """Move a rendered folder to its place, unless another demo was faster: equal arguments give equal files."""
    try:
        making.rename(folder)
    except OSError:
        if not (folder / "truth.json").exists():
            shutil.rmtree(folder, ignore_errors=True)
            making.rename(folder)


def trainer_command() -> str:
    """Path of the `actionwire-trainer` command that is installed beside this one."""
    beside = Path(sys.executable).with_name("actionwire-trainer")
    found = str(beside) if beside.exists() else shutil.which("actionwire-trainer")
    if found is None:
        raise ConfigurationError("the command actionwire-trainer is not installed beside actionwire; install it again")
    return found


@functools.cache
def _renderer_version() -> str:
    """Version of the renderer, so that a newer one does not play old recordings."""
    done = subprocess.run([trainer_command(), "scenes", "version"], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def _delete_oldest(base: Path) -> None:
    kept = sorted((one for one in base.iterdir() if one.is_dir()), key=lambda one: one.stat().st_mtime, reverse=True)
    for one in kept[_KEPT:]:
        shutil.rmtree(one, ignore_errors=True)
